"""``aintandem-notify plugins``."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from aintandem_notify.cli.shared import EXIT_FAILED, plugins_dir_option, run_interruptible, terminal_width


@click.group(epilog="Example:  aintandem-notify plugins list config.toml")
def plugins() -> None:
    """Show what plugins there are, and how they do."""


@plugins.command(
    "list",
    short_help="List the installed plugins, or how those of CONFIG come up.",
    epilog="Example:  aintandem-notify plugins list config.toml",
)
@click.argument("config", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@plugins_dir_option
def list_plugins(config: Path | None, plugins_dir: Path) -> None:
    """List the plugins that are installed or, with CONFIG, how each instance in it comes up.

    With CONFIG each instance is set up and torn down again; nothing is sent. One-file plugins are looked for
    in the folder that CONFIG names. Exits with 1 when an instance does not come up.
    """
    if config is None:
        _list_installed(plugins_dir)
    else:
        _list_instances(config)


def _list_installed(folder: Path) -> None:
    from aintandem_notify.errors import PluginError
    from aintandem_notify.plugins import Catalog

    catalog = Catalog()
    rows = []
    for name in catalog.names(folder):
        try:
            found = catalog.find(name, folder)
        except PluginError as error:
            rows.append((name, "cannot be used", error.reason))
            continue
        hooks = (["deliver"] if found.delivers else []) + sorted(found.live_hooks)
        rows.append((name, found.origin, ", ".join(hooks)))
    _show(("plugin", "from", "hooks"), rows)


def _list_instances(config: Path) -> None:
    from aintandem_notify import log
    from aintandem_notify.loading import load
    from aintandem_notify.plugins import InstanceState
    from aintandem_notify.trial import bring_up

    loaded = load(config)
    log.silence()  # what there is to say is shown below
    statuses = run_interruptible(bring_up, loaded)
    if not statuses:
        click.echo(f"{config} has no plugins; add a table like [plugins.console.me]")
        return
    _show(
        ("instance", "state", "destination", "reason"),
        [
            (status.name, status.state, "yes" if status.destination else "no", status.reason or "")
            for status in statuses
        ],
    )
    if any(status.state is not InstanceState.LOADED for status in statuses):
        sys.exit(EXIT_FAILED)


def _show(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from aintandem_notify.cli.tables import table_lines

    header, *lines = table_lines([columns, *rows], terminal_width())
    click.secho(header, bold=True)
    for line in lines:
        click.echo(line)
