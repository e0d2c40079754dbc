"""What the commands that ask a running agent share: their arguments, and how an answer is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aintandem_notify.cli.echo import echo, echo_json
from aintandem_notify.cli.options import terminal_width
from aintandem_notify.cli.prompts import confirm

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import ResponseModel
    from aintandem_notify.store import DeliveryFilter

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_CONFIG = "config.toml"

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for scripts; errors are sentences on stderr."
)
"""For every command that answers."""


def filter_options(states: Iterable[str]) -> Callable[[F], F]:
    """Which deliveries are meant: by destination and time, and by state, which can be one of ``states``."""
    options = (
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice(tuple(states)),
            help="Only these; may be given several times.",
        ),
        click.option("--until", metavar="TIME", help="Only those that were queued before."),
        click.option(
            "--since",
            metavar="TIME",
            help='Only those that were queued since then: "2h" ago, or "2026-03-01T12:00".',
        ),
        click.option(
            "--destination",
            metavar="NAME",
            callback=_not_empty,
            help="Only those to this destination, as slack.team.",
        ),
    )

    def with_options(command: F) -> F:
        for option in options:
            command = option(command)
        return command

    return with_options


def _not_empty(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value == "":  # of a variable that is not set; nobody means all by it
        raise click.BadParameter("it is empty; leave the option out to mean all")
    return value


def config_and_names(arguments: Sequence[str], what: str) -> tuple[Path, tuple[str, ...]]:
    """The config, which may be left out, and the names beside it: ``[CONFIG] NAME...``.

    The config is the first that ends in .toml or is a file, wherever it stands: were one behind the names taken
    for a name, another agent would be asked. Raises click's UsageError.
    """
    names = list(arguments)
    config = next(filter(_is_config, names), None)
    if config is not None:
        names.remove(config)
    if what and not names:
        raise click.UsageError(f"Missing argument '{what}'.")
    return Path(config or DEFAULT_CONFIG), tuple(names)


def _is_config(argument: str) -> bool:
    # Path.is_file raises for what is too long to be a name of a file.
    return argument.endswith(".toml") or os.path.isfile(argument)  # noqa: PTH113


def config_and_name(arguments: Sequence[str], what: str) -> tuple[Path, str]:
    """As ``config_and_names``, for exactly one name."""
    config, names = config_and_names(arguments, what)
    if len(names) > 1:
        raise click.UsageError(f"One {what} at a time.")
    return config, names[0]


def parse_time_option(text: str | None, option: str) -> datetime | None:
    """The moment that an option names; raises click's UsageError."""
    from aintandem_notify.cli.times import parse_time

    if text is None:
        return None
    try:
        return parse_time(text, now())
    except ValueError:
        raise click.BadParameter(
            f'{text!r} is no time; write "2h" for two hours ago, or "2026-03-01T12:00"', param_hint=option
        ) from None


def filter_from_options(
    destination: str | None, since: str | None, until: str | None, states: Iterable[str] = ()
) -> DeliveryFilter:
    """The filter that the options name."""
    from aintandem_notify.store import DeliveryFilter, DeliveryState

    return DeliveryFilter(
        destination=destination,
        states=tuple(DeliveryState(state) for state in states),
        since=parse_time_option(since, "--since"),
        until=parse_time_option(until, "--until"),
    )


def now() -> datetime:
    """Aware, UTC."""
    return datetime.now(UTC)


def show_json(answer: ResponseModel) -> None:
    """The answer as it is, for scripts."""
    echo_json(answer.to_json(indent=2))


def show_table(title: str | None, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A table under its title; nothing where there are no rows."""
    from aintandem_notify.cli.tables import table_lines

    rows = list(rows)
    if not rows:
        return
    if title is not None:
        echo()
        echo(title, bold=True)
    header, *lines = table_lines([columns, *rows], terminal_width())
    echo(header, dim=True)
    for line in lines:
        echo(line)


def show_facts(rows: Iterable[tuple[str, str | None]]) -> None:
    """Names and values; those without a value are left out."""
    from aintandem_notify.cli.tables import table_lines

    for line in table_lines([(name, value) for name, value in rows if value], terminal_width()):
        echo(line)


def require_confirmation(question: str) -> None:
    """Ask whoever sits there; where nobody does, ``--yes`` must have been given. Raises UsageError and Abort."""
    if not (sys.stdin and sys.stdin.isatty()):
        raise click.UsageError(f"{question} Nobody can be asked here; say --yes.")
    confirm(question, abort=True)
