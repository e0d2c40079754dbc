"""``aintandem-notify check``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.echo import echo, echo_lines
from aintandem_notify.cli.options import (
    EXIT_FAILED,
    config_argument,
    plugin_file_policy,
    run_interruptible,
    terminal_width,
)

if TYPE_CHECKING:
    from aintandem_notify.plugins.config_loading import LoadedConfig


@click.command(epilog="Example:  aintandem-notify check --connect config.toml")
@config_argument
@click.option("--connect", is_flag=True, help="Also try the orchestrator and every plugin; nothing is sent.")
def check(config: Path, connect: bool) -> None:
    """Tell what is wrong with CONFIG, or who gets told what.

    CONFIG is config.toml if it is left out. Plugins that are files beside it are code, and are loaded only where
    CONFIG is given. Exits with 2 when it is wrong, and with 1 when something does not answer.
    """
    from aintandem_notify.plugins.config_loading import load

    loaded = load(config, file_policy=plugin_file_policy("config"))
    _describe(loaded)
    if connect:
        _connect(loaded)


def _describe(loaded: LoadedConfig) -> None:
    from aintandem_notify.cli.overview import config_lines, routing_lines

    width = terminal_width()
    echo(f"{loaded.config.source} is right.")
    echo()
    for line in config_lines(loaded.config, width):
        echo(line)
    routes = loaded.router.routes_table()
    if routes:
        echo_lines("\nWho gets told what\n", bold=True)
    for line in routing_lines(loaded.config, routes, width):
        echo(line)
    warnings = [*loaded.warnings()]
    if (few := _too_few_files(loaded)) is not None:
        warnings.append(few)
    if warnings:
        echo()
    for warning in warnings:
        echo(f"warning: {warning}", fg="yellow")


def _too_few_files(loaded: LoadedConfig) -> str | None:
    """As the start of the agent says it; globs stand for projects that only the orchestrator knows."""
    from aintandem_notify.foundation.open_files import describe_shortage, raise_file_limit

    config = loaded.config
    return describe_shortage(len(config.projects), raise_file_limit(), embedded=config.orchestrator.embedded)


def _connect(loaded: LoadedConfig) -> None:
    from aintandem_notify import log
    from aintandem_notify.cli.tables import table_lines
    from aintandem_notify.diagnostics import check_all

    echo_lines("\nDoes everything answer?\n", bold=True)
    log.silence()  # what there is to say is shown below
    trials = run_interruptible(check_all, loaded)
    rows = [("yes" if trial.is_ok else "NO", trial.name, trial.detail) for trial in trials]
    for line in table_lines(rows, terminal_width()):
        echo(line)
    if not all(trial.is_ok for trial in trials):
        sys.exit(EXIT_FAILED)
