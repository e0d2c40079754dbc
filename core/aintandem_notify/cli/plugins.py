"""``aintandem-notify plugins``."""

from pathlib import Path

import click


@click.group()
def plugins() -> None:
    """What plugins there are, and how they do."""


@plugins.command("list", epilog="Example:  aintandem-notify plugins list config.toml")
@click.argument("config", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
def list_plugins(config: Path | None) -> None:
    """List the plugins that are installed or, with CONFIG, how each instance in it comes up.

    With CONFIG each instance is set up and torn down again; nothing is sent.
    """
    from aintandem_notify.cli import plugin_tables

    click.echo(plugin_tables.installed() if config is None else plugin_tables.instances(config))
