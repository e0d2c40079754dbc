"""``aintandem-notify check``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.check_report import problems_report, report_json, valid_report
from aintandem_notify.cli.echo import echo, echo_json, echo_lines
from aintandem_notify.cli.options import (
    EXIT_FAILED,
    EXIT_WRONG,
    config_argument,
    plugin_file_policy,
    run_interruptible,
    terminal_width,
)
from aintandem_notify.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aintandem_notify.config import NewStore
    from aintandem_notify.diagnostics import CheckResult
    from aintandem_notify.plugins.config_loading import LoadedConfig


MIN_NAME_WIDTH, MAX_NAME_WIDTH = 20, 40
"""Columns of the names in the results. A longer name shifts the rest of its line: the projects that match a glob
are not known when the first line is printed."""


@click.command(epilog="Example:  aintandem-notify check --connect config.toml")
@config_argument
@click.option(
    "--connect",
    is_flag=True,
    help="Also try the store, the orchestrator, each project and each plugin; changes and sends nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts; also for a wrong CONFIG.")
def check(config: Path, connect: bool, as_json: bool) -> None:
    """List the problems of CONFIG, or show who is notified.

    CONFIG is config.toml by default. One-file plugins beside it are code; they are loaded only if you give CONFIG.
    Exits with 2 if CONFIG is wrong, and with 1 if --connect finds anything that does not work.
    """
    from aintandem_notify.plugins.config_loading import load

    try:
        loaded = load(config, file_policy=plugin_file_policy("config"))
    except ConfigError as error:
        if not as_json:
            raise
        echo_json(report_json(problems_report(error)))
        sys.exit(EXIT_WRONG)
    warnings = _warnings(loaded)
    if not as_json:
        _describe(loaded, warnings)
    results = _connect(loaded, as_json=as_json) if connect else None
    if as_json:
        echo_json(report_json(valid_report(loaded.config, loaded.router.routes_table(), warnings, results)))
    if results is not None and not all(result.is_ok for result in results):
        sys.exit(EXIT_FAILED)


def _describe(loaded: LoadedConfig, warnings: Sequence[Problem]) -> None:
    from aintandem_notify.cli.overview import config_lines, routing_lines

    width, source = terminal_width(), str(loaded.config.source)
    echo(f"{source} is right.")
    echo()
    for line in config_lines(loaded.config, width):
        echo(line)
    routes = loaded.router.routes_table()
    if routes:
        echo_lines("\nWho is notified\n", bold=True)
    for line in routing_lines(loaded.config, routes, width):
        echo(line)
    if (new := _new_store(loaded)) is not None and new.older is None:
        echo()
        echo(new.sentence)
    if warnings:
        echo()
    for warning in warnings:
        # A warning about the whole config needs no place.
        sentence = warning.describe(source) if warning.key else warning.message
        echo(f"warning: {sentence}", fg="yellow")


def _warnings(loaded: LoadedConfig) -> list[Problem]:
    new = _new_store(loaded)
    of_all = (_too_few_files(loaded), None if new is None or new.older is None else new.sentence)
    return loaded.warnings() + [Problem(sentence) for sentence in of_all if sentence is not None]


def _new_store(loaded: LoadedConfig) -> NewStore | None:
    """Returns the store that the next start creates; None if it exists, or if its place is unknown."""
    from aintandem_notify.config import new_store
    from aintandem_notify.errors import StoreError

    config = loaded.config
    try:
        return new_store(config.source, config.store, embedded=config.orchestrator.embedded)
    except StoreError:  # no home folder: ``run`` and --connect say so
        return None


def _too_few_files(loaded: LoadedConfig) -> str | None:
    """Returns the warning that the agent would log. Counts each glob as one project."""
    from aintandem_notify.foundation.open_files import describe_shortage, raise_file_limit

    config = loaded.config
    return describe_shortage(len(config.projects), raise_file_limit(), embedded=config.orchestrator.embedded)


def _connect(loaded: LoadedConfig, *, as_json: bool) -> Sequence[CheckResult]:
    """Tries everything, and prints each result as soon as it is known; prints nothing if ``as_json``."""
    from aintandem_notify import log
    from aintandem_notify.cli.tables import GAP, hanging_lines
    from aintandem_notify.diagnostics import check_all

    results: list[CheckResult] = []
    config, width = loaded.config, terminal_width()
    names = ["orchestrator", *(f"project {project.id}" for project in config.projects), *config.instances]
    name_width = min(max(MIN_NAME_WIDTH, *map(len, names)), MAX_NAME_WIDTH)

    def report(result: CheckResult) -> None:
        results.append(result)
        if not as_json:
            start = result.word.ljust(len("yes")) + GAP + result.name.ljust(name_width) + GAP
            for line in hanging_lines(start, result.detail, width):
                echo(line)

    if not as_json:
        echo_lines("\nDoes everything answer?\n", bold=True)
    log.silence()  # the results are printed here
    run_interruptible(check_all, loaded, report)
    return results
