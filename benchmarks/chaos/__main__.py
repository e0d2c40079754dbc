"""``python -m benchmarks.chaos``: makes one run and prints its table. Exits with 1 when a promise was broken."""

import sys
from pathlib import Path
from typing import Final

import click
import trio
from rich.console import Console
from rich.table import Table

from benchmarks.chaos.run import ChaosResult, RunSettings, run
from benchmarks.chaos.schedule import Kind
from benchmarks.machine import Machine

KINDS: Final = [kind.value for kind in Kind]
SECONDS_PER_KILL: Final = 2.5
"""Seconds for each kill if ``--minutes`` is not given: enough for a start and some work after it."""


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0.01), help="Minutes of faults; after them everything settles."
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same faults.")
@click.option(
    "--kills", type=click.IntRange(min=1), help="Number of kills, evenly spread; by default one in 10 s."
)
@click.option("--events", type=click.IntRange(min=1), help="Minimum number of events; by default 250 a second.")
@click.option("--agents", default=1, show_default=True, help="Number of agents; several share a PostgreSQL store.")
@click.option("--projects", default=8, show_default=True, help="Number of projects that all agents watch.")
@click.option("--store", help="A postgresql:// URL, or embedded to start one; else SQLite.")
@click.option("--only", multiple=True, type=click.Choice(KINDS), help="Only this kind of fault; repeatable.")
@click.option("--without", multiple=True, type=click.Choice(KINDS), help="Not this kind of fault; repeatable.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep logs and stores here.")
def main(
    minutes: float | None,
    seed: int,
    kills: int | None,
    events: int | None,
    agents: int,
    projects: int,
    store: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    keep: Path | None,
) -> None:
    """Run real agents under random faults; count lost and repeated notifications, and measure the recovery."""
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the benchmarks read /proc, so they run on Linux only")
    if agents > 1 and store is None:
        raise click.UsageError("several agents share a store: give --store postgresql://… or --store embedded")
    if minutes is None and kills is None:
        raise click.UsageError("give --minutes or --kills")
    excluded = {*without, *([Kind.FULL_DISK.value] if store else [])}
    kinds = [Kind(kind) for kind in only or KINDS if kind not in excluded]
    seconds = minutes * 60 if minutes is not None else (kills or 0) * SECONDS_PER_KILL
    if keep is not None:
        keep.mkdir(parents=True)
    settings = RunSettings(seconds, seed, kinds, kills, events, agents, projects, store)
    result = trio.run(run, settings, lambda text: click.echo(f"  {text}", err=True), keep)
    show(result, settings)
    for violation in result.violations:
        click.echo(f"broken: {violation}", err=True)
    sys.exit(1 if result.violations else 0)


def show(result: ChaosResult, settings: RunSettings) -> None:
    """Print the tables."""
    console = Console(width=120)
    table = Table(title=Machine.here().describe(), title_justify="left")
    for heading in ("", "deliveries", "lost", "kept", "came twice", "may", "told twice", "worst recovery"):
        table.add_column(heading, justify="right" if heading else "left")
    for account in result.accounts:
        table.add_row(
            account.destination,
            f"{account.deliveries:,}",
            f"{len(account.lost)}",
            f"{account.in_store}",
            f"{account.repeats}",
            f"{result.bound(account)}",
            f"{len(account.notified_twice)}",
            f"{account.worst_recovery_s:.1f} s",
        )
    console.print(table)
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(result.fault_counts.items()))
    console.print(
        f"seed {settings.seed}, {settings.seconds:.0f} s, {settings.agents} agents, {settings.projects} projects; "
        f"{result.events:,} events, {result.matched:,} matched; {result.kills} kills, {result.starts} starts, "
        f"peak memory {result.peak_kb / 1024:.0f} MiB",
        highlight=False,
    )
    console.print(f"faults: {faults}", highlight=False)


if __name__ == "__main__":
    main()
