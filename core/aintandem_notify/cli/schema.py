"""``aintandem-notify schema``."""

from pathlib import Path

import click

from aintandem_notify.cli.echo import echo_json
from aintandem_notify.cli.shared import plugins_dir_option


@click.command(epilog="Example:  aintandem-notify schema > config.schema.json")
@plugins_dir_option
def schema(plugins_dir: Path) -> None:
    """Print the JSON Schema of a configuration.

    It has the keys of every installed plugin, and of those in the folder of one-file plugins. Editors complete
    and check a configuration whose first line is:  #:schema config.schema.json
    """
    import json

    from aintandem_notify import loading

    # Escaped, so that the file is right in whatever encoding the shell writes it.
    echo_json(json.dumps(loading.config_schema(plugins_dir), indent=2))
