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
    """List the problems of CONFIG, or show who is notified.

    CONFIG is config.toml by default. One-file plugins beside it are code; they are loaded only if you give CONFIG.
    Exits with 2 if CONFIG is wrong, and with 1 if the orchestrator or a plugin does not answer.
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
        echo_lines("\nWho is notified\n", bold=True)
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
    """Returns the warning that the agent would log. Counts each glob as one project."""
    from aintandem_notify.foundation.open_files import describe_shortage, raise_file_limit

    config = loaded.config
    return describe_shortage(len(config.projects), raise_file_limit(), embedded=config.orchestrator.embedded)


def _connect(loaded: LoadedConfig) -> None:
    from aintandem_notify import log
    from aintandem_notify.cli.tables import table_lines
    from aintandem_notify.diagnostics import check_all

    echo_lines("\nDoes everything answer?\n", bold=True)
    log.silence()  # the results are printed below
    results = run_interruptible(check_all, loaded)
    rows = [("yes" if result.is_ok else "NO", result.name, result.detail) for result in results]
    for line in table_lines(rows, terminal_width()):
        echo(line)
    if not all(result.is_ok for result in results):
        sys.exit(EXIT_FAILED)
