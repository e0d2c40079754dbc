"""``aintandem-notify plugins``."""

import sys
from pathlib import Path

import click

from aintandem_notify.cli.shared import EXIT_FAILED


@click.group()
def plugins() -> None:
    """Show what plugins there are, and how they do."""


@plugins.command("list", epilog="Example:  aintandem-notify plugins list config.toml")
@click.argument("config", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
def list_plugins(config: Path | None) -> None:
    """List the plugins that are installed or, with CONFIG, how each instance in it comes up.

    With CONFIG each instance is set up and torn down again; nothing is sent. Plugins in the folder "plugins"
    are listed too.
    """
    if config is None:
        _list_installed()
    else:
        _list_instances(config)


def _list_installed() -> None:
    from aintandem_notify.cli.tables import show_table
    from aintandem_notify.errors import PluginError
    from aintandem_notify.plugins import Catalog

    catalog, folder = Catalog(), Path("plugins")
    rows = []
    for name in catalog.names(folder):
        try:
            found = catalog.find(name, folder)
        except PluginError as error:
            rows.append((name, "cannot be used", error.reason))
            continue
        hooks = (["deliver"] if found.delivers else []) + sorted(found.live_hooks)
        rows.append((name, found.origin, ", ".join(hooks)))
    show_table(("plugin", "from", "hooks"), rows)


def _list_instances(config: Path) -> None:
    import trio

    from aintandem_notify import log
    from aintandem_notify.cli.tables import show_table
    from aintandem_notify.loading import load
    from aintandem_notify.plugins import InstanceState
    from aintandem_notify.trial import bring_up

    loaded = load(config)
    log.configure("error")
    statuses = trio.run(bring_up, loaded)
    show_table(
        ("instance", "state", "destination", "reason"),
        [
            (status.name, status.state, "yes" if status.destination else "no", status.reason or "")
            for status in statuses
        ],
    )
    if any(status.state is not InstanceState.LOADED for status in statuses):
        sys.exit(EXIT_FAILED)
