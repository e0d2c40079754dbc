"""``aintandem-notify plugins``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.control_options import config_and_name, json_option, now, show_facts, show_json
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import (
    EXIT_FAILED,
    plugin_file_policy,
    plugins_dir_option,
    run_interruptible,
    terminal_width,
)

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import PluginDetailResponse


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
    in the folder that CONFIG names; without it they are listed, and loaded only from a --plugins-dir that is
    given. Exits with 1 when an instance does not come up.
    """
    if config is None:
        _list_installed(plugins_dir)
    else:
        _list_instances(config)


@plugins.command(
    short_help="Show what an instance of the running agent says of itself.",
    epilog="Example:  aintandem-notify plugins show config.toml slack.team",
)
@click.argument("arguments", nargs=-1, metavar="[CONFIG] NAME")
@json_option
def show(arguments: tuple[str, ...], as_json: bool) -> None:
    """Show how the instance NAME, as slack.team, of the running agent does, and the facts that its plugin gives.

    Exits with 1 when no agent runs, or the plugin gives none because it is not loaded or fails.
    """
    from aintandem_notify.control.client.backend import open_backend

    config, name = config_and_name(arguments, "NAME")
    with open_backend(config) as backend:
        found = backend.plugin(name)
    if as_json:
        show_json(found)
    else:
        _show_detail(found)
    if found.silence is not None:
        sys.exit(EXIT_FAILED)


def _show_detail(found: PluginDetailResponse) -> None:
    from aintandem_notify.cli.times import local

    facts = {name: one if isinstance(one, str) else json.dumps(one) for name, one in found.facts.items()}
    show_facts(
        [
            ("instance", found.name),
            ("state", found.state),
            ("since", local(found.since, now())),
            ("trouble", found.reason),
            ("destination", "yes" if found.destination else "no"),
            ("missed live events", str(found.dropped_events) if found.dropped_events else None),
            ("failed hooks", str(found.hook_errors) if found.hook_errors else None),
            ("no facts", found.silence),
            *facts.items(),
        ]
    )


def _list_installed(folder: Path) -> None:
    from aintandem_notify.errors import PluginError
    from aintandem_notify.plugins import Catalog

    catalog = Catalog(file_policy=plugin_file_policy("plugins_dir"))
    rows, not_imported = [], catalog.not_imported(folder)
    for name in catalog.names(folder):
        if name in not_imported:
            rows.append((name, not_imported[name].origin, f"not loaded; if you trust it: --plugins-dir {folder}"))
            continue
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
    from aintandem_notify.diagnostics import start_instances
    from aintandem_notify.plugins import InstanceState
    from aintandem_notify.plugins.config_loading import load

    loaded = load(config)
    log.silence()  # what there is to say is shown below
    statuses = run_interruptible(start_instances, loaded)
    if not statuses:
        echo(f"{config} has no plugins; add a table like [plugins.console.me]")
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
    echo(header, bold=True)
    for line in lines:
        echo(line)
