"""``aintandem-notify destinations``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.control_options import (
    config_and_names,
    json_option,
    names_argument,
    now,
    show_json,
    show_table,
)
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import Decorator, config_argument

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import DestinationResponse

many_names: Decorator = names_argument("[CONFIG] NAME...")


@click.group(epilog="Example:  aintandem-notify destinations pause config.toml slack.team")
def destinations() -> None:
    """List destinations, pause and resume them.

    Asks the running agent; if none runs, changes its store for the next agent.
    """


@destinations.command(
    "list",
    short_help="Show their state and queue.",
    epilog="Example:  aintandem-notify destinations list config.toml",
)
@config_argument
@json_option
def list_destinations(config: Path, as_json: bool) -> None:
    """List the destinations: their state and since when, their queue, the next try and the last error.

    If no agent runs, it lists all plugin instances, since only an agent knows which of them are destinations. The
    state is then empty unless something holds the destination back.
    """
    from aintandem_notify.control.client.backend import open_backend

    with open_backend(config) as backend:
        response = backend.destinations()
    if as_json:
        show_json(response)
        return
    if not response.destinations:
        echo("there are no destinations", err=True)
    columns = ("destination", "state", "since", "queued", "oldest", "next try", "last error")
    show_table(None, columns, map(_row, response.destinations))


def _row(destination: DestinationResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    moment = now()
    since, oldest, next_try = (
        "-" if time is None else ago(time, moment)
        for time in (destination.since, destination.oldest, destination.retry_at)
    )
    state, error = destination.state or "-", destination.last_error or ""
    return (destination.name, state, since, str(destination.queued), oldest, next_try, error)


@destinations.command(
    short_help="Send nothing more for now.",
    epilog="Example:  aintandem-notify destinations pause config.toml slack.team",
)
@many_names
@json_option
def pause(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send nothing more to NAME, as slack.team, until you resume it, even after a restart.

    If one of several NAMEs is unknown, none is paused.
    Deliveries wait meanwhile; those that wait longer than max_age are given up as always.
    """
    _set_paused(arguments, as_json, paused=True)


@destinations.command(
    short_help="Send again.", epilog="Example:  aintandem-notify destinations resume config.toml slack.team"
)
@many_names
@json_option
def resume(arguments: tuple[str, ...], as_json: bool) -> None:
    """Send to NAME again; one that is parked or backs off is tried at once."""
    _set_paused(arguments, as_json, paused=False)


def _set_paused(arguments: tuple[str, ...], as_json: bool, *, paused: bool) -> None:
    from aintandem_notify.control.client.backend import open_backend

    config, names = config_and_names(arguments, "NAME")
    state = "paused" if paused else "resumed"
    with open_backend(config) as backend:
        response = backend.set_paused(names, paused=paused)
    if as_json:
        show_json(response)
        return
    for destination in response.destinations:
        if destination.changed:
            echo(f"{destination.name} is {state}")
        else:
            echo(f"{destination.name} is paused already" if paused else f"nothing held {destination.name} back")
