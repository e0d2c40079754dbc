"""``aintandem-notify schema``."""

from pathlib import Path

import click

from aintandem_notify.cli.echo import echo, echo_json
from aintandem_notify.cli.options import plugin_file_policy, plugins_dir_option


@click.command(epilog="Example:  aintandem-notify schema > config.schema.json")
@plugins_dir_option
def schema(plugins_dir: Path) -> None:
    """Print the JSON Schema of a configuration.

    It has the keys of every installed plugin, and of one-file plugins if you give --plugins-dir. Editors complete
    and check a configuration whose first line is:  #:schema config.schema.json
    """
    import json

    from aintandem_notify.plugins import Catalog, config_loading

    # Escaped, so that the file is right in any encoding of the shell.
    catalog = Catalog(file_policy=plugin_file_policy("plugins_dir"))
    echo_json(json.dumps(config_loading.config_schema(plugins_dir, catalog), indent=2))
    for file in catalog.not_imported(plugins_dir).values():
        echo(f"{file.path} is not in it: it is code; if you trust it, give --plugins-dir {plugins_dir}", err=True)
