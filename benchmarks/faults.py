"""``python -m benchmarks.faults``: runs the fault suite with long counts, and prints the result of each test.

It selects the tests that take their counts from ``support.fault_counts``: most of them in ``tests/faults``, with
the agent as a process, and one in virtual time. The names of the tests are the promises. A test fails when
something is lost, so the table shows 0 lost for each that passed.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.machine import Machine

ROOT: Final = Path(__file__).parents[1]
TEST_PATHS: Final = ("tests/faults", "tests/contract/delivery/backlog/test_digest.py")
VARIABLE: Final = "AINTANDEM_NOTIFY_FAULTS"
"""The variable that the tests read."""


COPIES: Final = "copies at "
"""Prefix of figures with the number of copies at a destination, and the number that the kills allow."""


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one test; ``figures`` are those that it has recorded."""

    name: str
    passed: bool
    seconds: float
    figures: Mapping[str, object]


@dataclass
class RowCollector:
    """A pytest plugin that selects the tests with the fixture ``counts``, and collects their results."""

    rows: list[Row] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "counts" in getattr(item, "fixturenames", ())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            name = report.location[2].removeprefix("test_").replace("_", " ")
            self.rows.append(Row(name, report.passed, report.duration, dict(report.user_properties)))


@click.command()
@click.option("--short", is_flag=True, help="The counts of every run of the tests: shows that it works.")
@click.option("--only", help="Tests that match this expression, as pytest's -k.")
def main(short: bool, only: str | None) -> None:
    """Cause each fault often and for long, and print the results. Exits with 1 when a promise was broken."""
    os.environ[VARIABLE] = "short" if short else "long"
    rows = RowCollector()
    chosen = () if only is None else ("-k", only)
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={ROOT}",
        *chosen,
        *(str(ROOT / place) for place in TEST_PATHS),
    ]
    code = pytest.main(arguments, plugins=[rows])
    show(rows.rows)
    sys.exit(code)


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title=Machine.here().describe(), title_justify="left")
    for heading in ("trouble", "how much", "due", "lost", "copies (may)", "memory", "descriptors", "took"):
        table.add_column(heading, justify="left" if heading in {"trouble", "how much"} else "right")
    for row in rows:
        table.add_row(*map(escape, cells(row)), style=None if row.passed else "red")
    Console(width=150).print(table)


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a table row; empty where the test has no such figure."""
    figures = row.figures
    copies_texts = [
        f"{name.removeprefix(COPIES)} {copies}" for name, copies in figures.items() if name.startswith(COPIES)
    ]
    return (
        row.name,
        str(figures.get("count", "")),
        f"{figures['due']:,}" if "due" in figures else "",
        "0" if row.passed else "broken",
        ", ".join(copies_texts) or ("0" if "due" in figures else ""),
        f"{figures['peak_mib']} MiB" if "peak_mib" in figures else "",
        str(figures.get("descriptors", "")),
        f"{row.seconds:.0f} s",
    )


if __name__ == "__main__":
    main()
