"""``aintandem-notify check``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.shared import EXIT_FAILED, config_argument

if TYPE_CHECKING:
    from aintandem_notify.rules import Route


@click.command(epilog="Example:  aintandem-notify check --connect config.toml")
@config_argument
@click.option("--connect", is_flag=True, help="Also try the orchestrator and every plugin; nothing is sent.")
def check(config: Path, connect: bool) -> None:
    """Tell what is wrong with CONFIG, or who gets told what.

    Exits with 2 when CONFIG is wrong and with 1 when something does not answer.
    """
    from aintandem_notify.cli.tables import show_table
    from aintandem_notify.loading import load

    loaded = load(config)
    click.echo(f"{config} is right. Who gets told what:\n")
    show_table(
        ("event", "severity", "rule", "to", "only"),
        [
            (route.event_type, route.severity, route.rule, ", ".join(route.destinations), _only(route))
            for route in loaded.router.routes_table()
        ],
    )
    warnings = loaded.router.warnings()
    if warnings:
        click.echo()
    for warning in warnings:
        click.echo(f"warning: {warning}")
    if connect:
        _connect(config)


def _only(route: Route) -> str:
    projects = f"projects {', '.join(route.projects)}" if route.projects else ""
    return "; ".join(filter(None, (projects, f"when {route.when}" if route.when else "")))


def _connect(config: Path) -> None:
    import trio

    from aintandem_notify import log
    from aintandem_notify.cli.tables import show_table
    from aintandem_notify.loading import load
    from aintandem_notify.trial import try_all

    log.configure("error")
    trials = trio.run(try_all, load(config))
    click.echo("\nDoes everything answer?\n")
    show_table(("", "answer", ""), [(trial.name, "yes" if trial.fine else "NO", trial.detail) for trial in trials])
    if not all(trial.fine for trial in trials):
        sys.exit(EXIT_FAILED)
