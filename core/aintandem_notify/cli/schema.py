"""``aintandem-notify schema``."""

from pathlib import Path

import click


@click.command(epilog="Example:  aintandem-notify schema > config.schema.json")
@click.option(
    "--plugins-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="plugins",
    show_default=True,
    help="Folder of one-file plugins to include.",
)
def schema(plugins_dir: Path) -> None:
    """Print the JSON Schema of the configuration, installed plugins included.

    Editors use it when the configuration begins with "#:schema config.schema.json".
    """
    import json

    from aintandem_notify import loading

    click.echo(json.dumps(loading.config_schema(plugins_dir), indent=2, ensure_ascii=False))
