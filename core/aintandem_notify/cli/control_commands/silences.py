"""``aintandem-notify silences``."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aintandem_notify.cli.control_options import (
    config_and_names,
    json_option,
    names_argument,
    now,
    show_json,
    show_table,
    user_name,
)
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import config_argument

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import SilenceResponse

_MATCHERS = (
    ("project", "its id or name"),
    ("task", "its id or name"),
    ("workflow", "its id, or that of an execution; its tasks are silenced, too"),
    ("sandbox", "its id or name"),
    ("rule", "the name of a rule"),
    ("destination", "as slack.team"),
    ("type", "the type of the event, as task_failed or task/*; needed for events of the agent itself"),
)


@click.group(epilog='Example:  aintandem-notify silences add config.toml --task "train-*" --for 2h')
def silences() -> None:
    """Hold notifications back for a while.

    When a silence ends, each destination gets one message about all that it held.
    Asks the running agent; if none runs, changes its store for the next agent.
    """


def _matcher_options(command: Any) -> Any:
    for name, meaning in reversed(_MATCHERS):
        command = click.option(f"--{name}", metavar="GLOB", help=f"{meaning[0].upper()}{meaning[1:]}.")(command)
    return command


@silences.command(
    short_help="Hold notifications back.",
    epilog='Example:  aintandem-notify silences add config.toml --project sales --for 2h --reason "a migration"',
)
@config_argument
@_matcher_options
@click.option("--for", "length", metavar="DURATION", help='How long, as "30m", "2h" or "3d".')
@click.option("--until", metavar="TIME", help='Until then, as "2026-03-01T12:00"; local time without a zone.')
@click.option("--owner", metavar="NAME", help="Who silences; by default your user name.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for others who look at the list.")
@json_option
def add(
    config: Path,
    length: str | None,
    until: str | None,
    owner: str | None,
    reason: str,
    as_json: bool,
    **matchers: str | None,
) -> None:
    """Hold back all notifications that match all of the given globs, until the time is over.

    Events of the agent itself are held only if --type names them.
    """
    from aintandem_notify.cli.times import local
    from aintandem_notify.control.client.backend import open_backend

    expires_at = _expiry(length, until)
    given = {name: glob for name, glob in matchers.items() if glob is not None}
    with open_backend(config) as backend:
        silence = backend.add_silence(given, expires_at=expires_at, owner=owner or user_name(), reason=reason)
    if as_json:
        show_json(silence)
    else:
        echo(f"silence {silence.id} holds back {_describe(silence)} until {local(silence.expires_at, now())}")


def _expiry(length: str | None, until: str | None) -> datetime:
    from aintandem_notify.cli.times import parse_time
    from aintandem_notify.config import parse_duration

    if (length is None) == (until is None):
        raise click.UsageError('Say how long: --for 2h, or --until "2026-03-01T12:00".')
    try:
        if length is not None:
            return now() + timedelta(seconds=parse_duration(length))
        assert until is not None  # noqa: S101  # one of the two is given
        return parse_time(until, now())
    except (ValueError, OverflowError):
        option = "--for" if until is None else "--until"
        example = '"30m", "2h" or "3d"' if until is None else '"2026-03-01T12:00"'
        raise click.BadParameter(f"{length or until!r} is no time; write {example}", param_hint=option) from None


def _describe(silence: SilenceResponse) -> str:
    return ", ".join(f"{name} {glob}" for name, glob in silence.matchers.items())


@silences.command(
    "list", short_help="Show the active ones.", epilog="Example:  aintandem-notify silences list config.toml"
)
@config_argument
@json_option
def list_silences(config: Path, as_json: bool) -> None:
    """List the active silences: their globs, the number of held notifications, their end, owner and reason."""
    from aintandem_notify.control.client.backend import open_backend

    with open_backend(config) as backend:
        response = backend.silences()
    if as_json:
        show_json(response)
        return
    if not response.silences:
        echo("nothing is silenced", err=True)
    show_table(None, ("id", "ends", "holds", "owner", "matches", "reason"), map(_row, response.silences))


def _row(silence: SilenceResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    ends, held = ago(silence.expires_at, now()), str(silence.held)
    return (silence.id, ends, held, silence.owner or "-", _describe(silence), silence.reason)


@silences.command(
    short_help="End some early.", epilog="Example:  aintandem-notify silences end config.toml 3f9a2b1c"
)
@names_argument("[CONFIG] ID...")
@json_option
def end(arguments: tuple[str, ...], as_json: bool) -> None:
    """End the silences with these IDs now. Their held notifications are sent.

    If one of several IDs is unknown, none is ended.
    """
    from aintandem_notify.control.client.backend import open_backend

    config, silence_ids = config_and_names(arguments, "ID")
    with open_backend(config) as backend:
        response = backend.end_silences(silence_ids)
    if as_json:
        show_json(response)
        return
    for silence in response.silences:
        echo(f"silence {silence.id} has ended; it held {silence.held} notifications")
