"""``python -m benchmarks``: measures all parts and prints the table."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Final

import click
import trio

from benchmarks import (
    backlog,
    catching_up,
    dead,
    delivering,
    flood,
    ingesting,
    latency,
    many_projects,
    memory,
    parsing,
    report,
    sharing,
    stages,
    startup,
    throughput,
)
from benchmarks.figures import FULL, QUICK, Figure, LogProgress, Size
from benchmarks.machine import Machine, load_average

Measure = Callable[[Size, LogProgress], Awaitable[list[Figure]]]

PARTS: Final = MappingProxyType[str, Measure](
    {
        "throughput": throughput.measure,
        "flood": flood.measure,
        "parsing": parsing.measure,
        "memory": memory.measure,
        "many_projects": many_projects.measure,
        "catching_up": catching_up.measure,
        "startup": startup.measure,
        "latency": latency.measure,
        "ingest": ingesting.measure,
        "stages": stages.measure,
        "backlog": backlog.measure,
        "dead": dead.measure,
        "delivering": delivering.measure,
        "sharing": sharing.measure,
    }
)


@click.command()
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md.")
@click.option(
    "--quick", is_flag=True, help="Small numbers: checks that the benchmarks run; the figures mean nothing."
)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Measure this part alone; repeatable.")
def main(write: bool, quick: bool, only: Sequence[str]) -> None:
    """Measure the agent's throughput, memory and latency."""
    if write and (quick or only):
        raise click.UsageError("the page holds all figures at full size: --write goes with nothing else")
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the benchmarks read /proc, so they run on Linux only")
    before = load_average()
    figures = trio.run(_measure, only or list(PARTS), QUICK if quick else FULL)
    machine = Machine.here()
    report.show(figures, machine)
    if write:
        click.echo(f"written to {report.write(figures, machine, (before, load_average()))}")


async def _measure(parts: Sequence[str], size: Size) -> list[Figure]:
    figures: list[Figure] = []
    for name in parts:
        figures += await PARTS[name](size, lambda text: click.echo(f"  {text}", err=True))
    return figures


if __name__ == "__main__":
    main()
