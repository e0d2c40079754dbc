"""``aintandem-notify plugins``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.control_options import (
    config_and_name,
    json_option,
    names_argument,
    now,
    show_facts,
    show_json,
)
from aintandem_notify.cli.echo import echo, echo_json
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
    """Show the installed plugins, and the state of instances."""


@plugins.command(
    "list",
    short_help="List the installed plugins, or set up those of CONFIG.",
    epilog="Example:  aintandem-notify plugins list config.toml",
)
@click.argument("config", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@plugins_dir_option
@json_option
def list_plugins(config: Path | None, plugins_dir: Path, as_json: bool) -> None:
    """List the installed plugins or, with CONFIG, its instances and the result of their set-up.

    With CONFIG each instance is set up and torn down again; nothing is sent. One-file plugins come from the folder
    that CONFIG names. Without CONFIG they are listed, and loaded only if you give --plugins-dir. Exits with 1 if
    the set-up of an instance fails.
    """
    if config is None:
        _list_installed(plugins_dir, as_json=as_json)
    else:
        _list_instances(config, as_json=as_json)


@plugins.command(
    short_help="Show an instance of the running agent.",
    epilog="Example:  aintandem-notify plugins show config.toml slack.team",
)
@names_argument("[CONFIG] NAME")
@json_option
def show(arguments: tuple[str, ...], as_json: bool) -> None:
    """Show the state of the running agent's instance NAME, as slack.team, and the facts that its plugin gives.

    Exits with 1 if no agent runs, or if the plugin gives no facts because it is not loaded or fails.
    """
    from aintandem_notify.control.client.backend import open_backend

    config, name = config_and_name(arguments, "NAME")
    with open_backend(config) as backend:
        detail = backend.plugin(name)
    if as_json:
        show_json(detail)
    else:
        _show_detail(detail)
    if detail.silence is not None:
        sys.exit(EXIT_FAILED)


def _show_detail(detail: PluginDetailResponse) -> None:
    from aintandem_notify.cli.times import local

    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in detail.facts.items()}
    show_facts(
        [
            ("instance", detail.name),
            ("state", detail.state),
            ("since", local(detail.since, now())),
            ("trouble", detail.reason),
            ("destination", "yes" if detail.destination else "no"),
            ("missed live events", str(detail.dropped_events) if detail.dropped_events else None),
            ("failed hooks", str(detail.hook_errors) if detail.hook_errors else None),
            ("no facts", detail.silence),
            *facts.items(),
        ]
    )


def _list_installed(folder: Path, *, as_json: bool) -> None:
    from aintandem_notify.errors import PluginError
    from aintandem_notify.plugins import Catalog

    catalog = Catalog(file_policy=plugin_file_policy("plugins_dir"))
    rows, entries, not_imported = [], [], catalog.not_imported(folder)
    for name in catalog.names(folder):
        origin: str | None = None
        problem: str | None = None
        hooks: list[str] = []
        if name in not_imported:
            origin = not_imported[name].origin
            problem = f"not loaded; if you trust it: --plugins-dir {folder}"
        else:
            try:
                plugin = catalog.find(name, folder)
                origin = plugin.origin
                hooks = ["deliver"] * plugin.delivers + sorted(plugin.live_hooks)
            except PluginError as error:
                problem = error.reason
        rows.append((name, origin or "cannot be used", problem or ", ".join(hooks)))
        entries.append({"name": name, "from": origin, "hooks": hooks, "problem": problem})
    if as_json:
        echo_json(json.dumps({"plugins": entries}, indent=2))
    else:
        _show(("plugin", "from", "hooks"), rows)


def _list_instances(config: Path, *, as_json: bool) -> None:
    from aintandem_notify import log
    from aintandem_notify.diagnostics import start_instances
    from aintandem_notify.plugins import InstanceState
    from aintandem_notify.plugins.config_loading import load

    loaded = load(config)
    log.silence()  # the states are printed below
    statuses = run_interruptible(start_instances, loaded)
    if as_json:
        entries = [
            {
                "name": status.name,
                "state": status.state,
                "destination": status.destination,
                "reason": status.reason,
            }
            for status in statuses
        ]
        echo_json(json.dumps({"config": str(config.absolute()), "instances": entries}, indent=2))
    elif not statuses:
        echo(f"{config} has no plugins; add a table like [plugins.console.me]")
    else:
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
