"""``aintandem-notify rules``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from aintandem_notify.cli.echo import echo, echo_json
from aintandem_notify.cli.options import EXIT_FAILED, EXIT_WRONG


@click.group(epilog="Example:  aintandem-notify rules test scenarios/")
def rules() -> None:
    """Try rules before they are used."""


@rules.command(
    short_help="Play scenario files, and compare who is told with what they expect.",
    epilog="Example:  aintandem-notify rules test --show night.toml",
)
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-v", "--show", is_flag=True, help="Also print the course: who is told when, and who is not.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts; also for a wrong FILE.")
def test(files: tuple[Path, ...], show: bool, as_json: bool) -> None:
    """Play the scenarios in each FILE, and compare the notifications with the expected ones.

    A folder means all files in it that end in .toml. Nothing is sent, nobody waits, and no running agent is asked.
    The secrets of the config need not exist. One-file plugins beside a config are loaded: try none that you do not
    trust.

    Exits with 1 if a notification is not as expected, and with 2 if a FILE is wrong.
    """
    from aintandem_notify import log
    from aintandem_notify.cli.scenario_report import report_json, result_lines, summary
    from aintandem_notify.plugins import Catalog
    from aintandem_notify.scenarios import run_file

    paths = list(_scenario_files(files))
    log.configure("warning", "text")  # shows the rules' problems
    catalog = Catalog()
    results = []
    for path in paths:
        result = run_file(path, catalog)
        results.append(result)
        if not as_json:
            for line in result_lines(result, with_course=show):
                echo(line)
    if as_json:
        echo_json(report_json(results))
    else:
        echo(summary(results))
    if any(result.played is None for result in results):
        sys.exit(EXIT_WRONG)
    if not all(result.is_right for result in results):
        sys.exit(EXIT_FAILED)


def _scenario_files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and those in the folders."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(path.glob("*.toml"))
        if not files:
            raise click.UsageError(f"the folder {path} has no file that ends in .toml")
        yield from files
