"""``aintandem-notify status``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from aintandem_notify.cli.control_options import json_option, now, show_facts, show_json, show_table
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import EXIT_FAILED, config_argument

if TYPE_CHECKING:
    from aintandem_notify.control.schemas import (
        DestinationResponse,
        PeerResponse,
        ProjectResponse,
        StatusResponse,
        UnwatchedResponse,
    )

MOST_PROJECTS: Final = 20
"""Projects that are listed in any case; of more, those that are connected are only counted."""


@click.command(
    short_help="Show how the agent of CONFIG does.", epilog="Example:  aintandem-notify status config.toml"
)
@config_argument
@json_option
@click.option("--alive", is_flag=True, help="Only tell by the exit code whether it needs no restart.")
@click.option("--ready", is_flag=True, help="Only tell by the exit code whether all of it works.")
def status(config: Path, as_json: bool, alive: bool, ready: bool) -> None:
    """Show how the agent of CONFIG does: projects, plugins, destinations, store, and who shares that.

    CONFIG is config.toml if it is left out. Exits with 1 when no agent runs, or it does not answer. With
    --alive or --ready also when it is not well; a container's health check is --alive.
    """
    from aintandem_notify.control.client.backend import NoStore, open_backend, status_without_store

    if alive or ready:
        _tell_health(config, "/readyz" if ready else "/healthz")
        return
    try:
        with open_backend(config) as backend:
            found = backend.status()
    except NoStore as reason:
        found = status_without_store(config, str(reason))
    if as_json:
        show_json(found)
    else:
        _show(found)
    if found.agent is None:
        sys.exit(EXIT_FAILED)


def _tell_health(config: Path, path: str) -> None:
    from aintandem_notify.control.client.backend import check_health

    reason = check_health(config, path)
    echo("well" if reason is None else reason, err=reason is not None)
    if reason is not None:
        sys.exit(EXIT_FAILED)


def _show(found: StatusResponse) -> None:
    from aintandem_notify.cli.times import ago

    agent, moment = found.agent, now()
    if agent is not None:
        since = ago(agent.started_at, moment)
        echo(f"aintandem-notify {agent.version}, {agent.state}, started {since}", bold=True)
    if found.trouble is not None:
        echo(found.trouble, fg="yellow")
    show_facts(
        [
            ("config", found.config),
            ("store", found.store.name if found.store else None),
            ("control", f"{agent.address}, process {agent.pid}" if agent else None),
        ]
    )
    show_table("Projects", ("project", "state", "since", "events", "trouble"), _projects(found))
    show_table(
        "Plugins",
        ("instance", "state", "since", "trouble"),
        [(one.name, one.state, ago(one.since, moment), one.reason or "") for one in found.plugins],
    )
    show_table(
        "Destinations",
        ("destination", "state", "queued", "oldest", "next try", "last error"),
        map(_destination, found.destinations),
    )
    show_table(
        "Other agents on this store",
        ("agent", "version", "projects", "heard of", "trouble"),
        map(_peer, found.peers),
    )


def _projects(found: StatusResponse) -> Iterator[tuple[str, ...]]:
    """What is not as it should be first; many that are well become a number."""
    is_well = {one.id: one.state == "connected" for one in found.projects}
    shown = sorted(found.projects, key=lambda one: is_well[one.id])
    if len(shown) > MOST_PROJECTS:
        shown = [one for one in shown if not is_well[one.id]]
    yield from map(_project, shown)
    if (rest := len(found.projects) - len(shown)) > 0:
        yield (f"{rest} more", "connected", "", "", "")
    if found.unwatched is not None:
        yield _unwatched(found.unwatched)


def _project(one: ProjectResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    name = one.id if one.name == one.id else f"{one.name} ({one.id})"
    state = "gone" if one.gone else one.state
    return (name, state, ago(one.since, now()), str(one.events), one.last_error or "")


def _unwatched(one: UnwatchedResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    trouble = "every agent watches as many as its limit of open files allows"
    return (f"{one.projects} of no agent", "unwatched", ago(one.since, now()), "", trouble)


def _destination(one: DestinationResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    moment = now()
    oldest = ago(one.oldest, moment) if one.oldest else "-"
    next_try = ago(one.retry_at, moment) if one.retry_at else "-"
    return (one.name, one.state or "-", str(one.queued), oldest, next_try, one.last_error or "")


def _peer(one: PeerResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    trouble = "lost; the others take over what it has" if one.lost else ""
    projects = str(one.projects) if one.places is None else f"{one.projects} of {one.places}"
    return (one.name, one.version, projects, ago(one.seen_at, now()), trouble)
