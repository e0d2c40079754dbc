"""Shared by the commands that ask a running agent: their arguments, and how a response is printed."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from aintandem_notify.cli.echo import echo, echo_json
from aintandem_notify.cli.options import Decorator, terminal_width
from aintandem_notify.cli.prompts import confirm

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import ResponseModel
    from aintandem_notify.store import DeliveryFilter

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_CONFIG = "config.toml"

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for scripts; errors are sentences on stderr."
)
"""The option ``--json``."""


def names_argument(metavar: str) -> Callable[[F], F]:
    """The argument ``arguments`` for ``config_and_names``. Shells complete it with files, for the config."""
    return click.argument("arguments", nargs=-1, metavar=metavar, shell_complete=_complete_file)


def _complete_file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def filter_options(states: Iterable[str]) -> Callable[[F], F]:
    """Adds the options that select deliveries by destination, run, time and state (one or more of ``states``)."""
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
            "--task",
            metavar="NAME",
            callback=_reject_empty,
            help="Only those about this task, workflow or sandbox: its id or name, or a glob.",
        ),
        click.option(
            "--project",
            metavar="NAME",
            callback=_reject_empty,
            help="Only those about this project: its id or name, or a glob.",
        ),
        click.option(
            "--destination",
            metavar="NAME",
            callback=_reject_empty,
            help="Only those to this destination, as slack.team.",
        ),
    )

    def with_options(command: F) -> F:
        for option in options:
            command = option(command)
        return command

    return with_options


def _reject_empty(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value == "":  # probably from an unset shell variable; it must not select all
        raise click.BadParameter("it is empty; leave the option out to mean all")
    return value


def config_and_names(arguments: Sequence[str], metavar: str) -> tuple[Path, tuple[str, ...]]:
    """Splits ``[CONFIG] NAME...`` into the config and the names. Raises click's UsageError.

    The config is the first argument that ends in .toml or is a file, at any position. If a config after the names
    were taken for a name, the command would ask another agent. ``metavar`` names the names in an error; empty if
    there may be none.
    """
    names = list(arguments)
    config = next(filter(_is_config, names), None)
    if config is not None:
        names.remove(config)
    if metavar and not names:
        raise click.UsageError(f"Missing argument '{metavar}'.")
    return Path(config or DEFAULT_CONFIG), tuple(names)


def _is_config(argument: str) -> bool:
    # Path.is_file raises for a name that is too long.
    return argument.endswith(".toml") or os.path.isfile(argument)  # noqa: PTH113


def config_and_name(arguments: Sequence[str], metavar: str) -> tuple[Path, str]:
    """As ``config_and_names``, for exactly one name."""
    config, names = config_and_names(arguments, metavar)
    if len(names) > 1:
        raise click.UsageError(f"One {metavar} at a time.")
    return config, names[0]


def parse_time_option(text: str | None, option: str) -> datetime | None:
    """Returns the time in an option's value. Raises click's UsageError."""
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
    destination: str | None,
    since: str | None,
    until: str | None,
    project: str | None = None,
    task: str | None = None,
    states: Iterable[str] = (),
) -> DeliveryFilter:
    """Returns the filter that the options describe."""
    from aintandem_notify.store import DeliveryFilter, DeliveryState

    return DeliveryFilter(
        destination=destination,
        project=project,
        task=task,
        states=tuple(DeliveryState(state) for state in states),
        since=parse_time_option(since, "--since"),
        until=parse_time_option(until, "--until"),
    )


def now() -> datetime:
    """Returns the current time: aware, UTC."""
    return datetime.now(UTC)


def user_name() -> str:
    """Returns the name of the user who runs the command; empty for one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def show_json(response: ResponseModel) -> None:
    """Prints the response as JSON, for scripts."""
    echo_json(response.to_json(indent=2))


def show_table(title: str | None, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Prints a table under its title; nothing if there are no rows."""
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
    """Prints names and values; skips those without a value."""
    from aintandem_notify.cli.tables import table_lines

    for line in table_lines([(name, value) for name, value in rows if value], terminal_width()):
        echo(line)


def require_confirmation(question: str) -> None:
    """Asks the user to confirm. Raises Abort if they decline, and UsageError if there is no terminal to ask on."""
    if not (sys.stdin and sys.stdin.isatty()):
        raise click.UsageError(f"{question} Nobody can be asked here; say --yes.")
    confirm(question, abort=True)
