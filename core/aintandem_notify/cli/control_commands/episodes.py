"""``aintandem-notify episodes``, ``acknowledge`` and ``snooze``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.control_options import (
    config_and_name,
    config_and_names,
    json_option,
    names_argument,
    now,
    show_json,
    user_name,
)
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import config_argument, terminal_width

if TYPE_CHECKING:
    from datetime import datetime

    from aintandem_notify.control.episodes.schemas import EpisodeResponse


@click.group(epilog="Example:  aintandem-notify episodes list config.toml")
def episodes() -> None:
    """Show trouble that is open, and end it by hand.

    An episode is trouble of which somebody was told, and that can end: a failure, a paused workflow, a sandbox
    with an error, or a finding of a watch. Asks the running agent; if none runs, opens its store.
    """


@episodes.command(
    "list", short_help="Show the open ones.", epilog="Example:  aintandem-notify episodes list config.toml --all"
)
@config_argument
@click.option("--all", "with_ended", is_flag=True, help="Also the last ones that have ended.")
@json_option
def list_episodes(config: Path, with_ended: bool, as_json: bool) -> None:
    """List open trouble, the oldest first: since when, who was told, who looks after it, and all that waits.

    If no agent runs, reads CONFIG with its plugins: it has the times of reminders and escalation.
    """
    from aintandem_notify.control.client.backend import open_backend

    with open_backend(config) as backend:
        response = backend.episodes(with_ended=with_ended)
    if as_json:
        show_json(response)
        return
    if not response.count:
        echo("no trouble is open", err=True)
    _show(response.episodes)
    is_listed = sum(episode.ended_at is None for episode in response.episodes)
    if (unlisted := response.count - is_listed) > 0:
        echo(f"and {unlisted} more that are open")
    if response.trouble is not None:
        echo(f"the next reminders and escalations are not known: {response.trouble}", err=True)


def _show(found: tuple[EpisodeResponse, ...]) -> None:
    from aintandem_notify.cli.control_commands.episode_texts import lines, shortest_ids
    from aintandem_notify.cli.tables import hanging_lines

    moment, ids = now(), shortest_ids(episode.id for episode in found)
    for episode in found:
        start = f"{ids[episode.id]}  "
        for text in lines(episode, moment):
            for line in hanging_lines(start, text, terminal_width()):
                echo(line)
            start = " " * len(start)


@episodes.command(
    short_help="End some by hand.", epilog="Example:  aintandem-notify episodes end config.toml ep_3f9a2b"
)
@names_argument("[CONFIG] ID...")
@json_option
def end(arguments: tuple[str, ...], as_json: bool) -> None:
    """End the episodes with these IDs now. Whoever was told of the trouble is told of its end.

    The beginning of an ID is sufficient. If one of several IDs is unknown, none is ended. If no agent runs, the
    next one tells them.
    """
    from aintandem_notify.cli.control_commands.episode_texts import subject
    from aintandem_notify.control.client.backend import open_backend

    config, references = config_and_names(arguments, "ID")
    with open_backend(config) as backend:
        response = backend.end_episodes(references)
    if as_json:
        show_json(response)
        return
    for episode in response.episodes:
        told = f"{', '.join(episode.recipients)} will be told" if episode.recipients else "nobody is told"
        why = f": {episode.untold}" if episode.untold else ""
        echo(f"episode {episode.id} has ended ({subject(episode)}); {told}{why}")


@click.command(
    short_help="Say that you look after some trouble.",
    epilog="Example:  aintandem-notify acknowledge config.toml ep_3f9a2b",
)
@names_argument("[CONFIG] ID...")
@click.option("--by", metavar="NAME", help="Who looks after it; by default your user name.")
@json_option
def acknowledge(arguments: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Say that somebody looks after the episodes with these IDs: nobody is reminded, and nobody else is told.

    `episodes list` shows the IDs; the beginning of one is sufficient. Their ends are told all the same. If one of
    several IDs is unknown, none is acknowledged.
    """
    from aintandem_notify.cli.control_commands.episode_texts import acknowledged, subject
    from aintandem_notify.control.client.backend import open_backend

    config, references = config_and_names(arguments, "ID")
    with open_backend(config) as backend:
        response = backend.acknowledge(references, user_name() if by is None else by)
    if as_json:
        show_json(response)
        return
    for episode in response.episodes:
        verb = "is" if episode.changed else "was already"
        echo(f"episode {episode.id} {verb} {acknowledged(episode, now())} ({subject(episode)})")


@click.command(
    short_help="Silence the task of some trouble for a while.",
    epilog="Example:  aintandem-notify snooze config.toml ep_3f9a2b --for 2h",
)
@names_argument("[CONFIG] ID")
@click.option("--for", "length", metavar="DURATION", required=True, help='How long, as "30m", "2h" or "3d".')
@click.option("--by", metavar="NAME", help="Who silences it; by default your user name.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for others who look at the list.")
@json_option
def snooze(arguments: tuple[str, ...], length: str, by: str | None, reason: str, as_json: bool) -> None:
    """Hold back all notifications about the task, workflow or sandbox of an episode for a while.

    It is a silence: `silences list` shows it, and `silences end` ends it. The end of the trouble is told all the
    same.
    """
    from aintandem_notify.cli.times import local
    from aintandem_notify.control.client.backend import open_backend
    from aintandem_notify.control.episodes.changes import Snooze

    config, reference = config_and_name(arguments, "ID")
    wanted = Snooze(reference, _expiry(length), user_name() if by is None else by, reason)
    with open_backend(config) as backend:
        silence = backend.snooze(wanted)
    if as_json:
        show_json(silence)
        return
    matched = ", ".join(f"{name} {glob}" for name, glob in silence.matchers.items())
    echo(f"silence {silence.id} holds back {matched} until {local(silence.expires_at, now())}")


def _expiry(length: str) -> datetime:
    from aintandem_notify.config import parse_duration

    try:
        return now() + timedelta(seconds=parse_duration(length))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f'{length!r} is no duration; write "30m", "2h" or "3d"', param_hint="--for"
        ) from None
