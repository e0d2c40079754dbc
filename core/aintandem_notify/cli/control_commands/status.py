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
        HealthResponse,
        PeerResponse,
        ProjectResponse,
        StatusResponse,
        UnwatchedResponse,
    )

MAX_PROJECTS: Final = 20
"""Up to this number, all projects are listed. Of more, the connected ones are only counted."""

MAX_REASONS: Final = 20
"""Up to this number, the reasons why the agent is not well are listed."""


@click.command(
    short_help="Show the state of the agent of CONFIG.", epilog="Example:  aintandem-notify status config.toml"
)
@config_argument
@json_option
@click.option("--alive", is_flag=True, help="Only check that it needs no restart; see the exit code.")
@click.option(
    "--ready",
    is_flag=True,
    help="Only check that it does its job: it is not failing and not starting; see the exit code.",
)
def status(config: Path, as_json: bool, alive: bool, ready: bool) -> None:
    """Show the state of the agent of CONFIG: projects, plugins, destinations, store, and its other agents.

    CONFIG is config.toml by default. Exits with 1 if no agent runs or it does not answer; with --alive or --ready
    also if it is not well. Use --alive as a container's health check.
    """
    from aintandem_notify.control.client.backend import NoStore, open_backend, status_without_store

    if alive or ready:
        _print_health(config, "/readyz" if ready else "/healthz")
        return
    try:
        with open_backend(config) as backend:
            report = backend.status()
    except NoStore as reason:
        report = status_without_store(config, str(reason))
    if as_json:
        show_json(report)
    else:
        _show(report)
    if report.agent is None:
        sys.exit(EXIT_FAILED)


def _print_health(config: Path, path: str) -> None:
    from aintandem_notify.control.client.backend import check_health

    answer = check_health(config, path)
    echo(answer.health, err=not answer.ok)
    if not answer.ok:
        sys.exit(EXIT_FAILED)


def _show(report: StatusResponse) -> None:
    from aintandem_notify.cli.times import ago

    agent, moment = report.agent, now()
    if agent is not None:
        since = ago(agent.started_at, moment)
        echo(f"aintandem-notify {agent.version}, {agent.state}, started {since}", bold=True)
    if report.health is None and report.trouble is not None:
        echo(report.trouble, fg="yellow")
    if report.health is not None:
        _show_health(report.health)
    show_facts(
        [
            ("config", report.config),
            ("store", report.store.name if report.store else None),
            ("open trouble", f"{report.episodes}, see episodes list" if report.episodes else None),
            ("control", f"{agent.address}, process {agent.pid}" if agent else None),
        ]
    )
    show_table("Projects", ("project", "state", "since", "events", "trouble"), _projects(report))
    show_table(
        "Plugins",
        ("instance", "state", "since", "trouble"),
        [
            (instance.name, instance.state, ago(instance.since, moment), instance.reason or "")
            for instance in report.plugins
        ],
    )
    show_table(
        "Destinations",
        ("destination", "state", "queued", "oldest", "next try", "last error"),
        map(_destination, report.destinations),
    )
    show_table(
        "Held by the rules",
        ("destination", "stage", "held", "until"),
        [(held.destination, held.stage, str(held.count), ago(held.until, moment)) for held in report.held],
    )
    show_table(
        "Other agents on this store",
        ("agent", "version", "projects", "last seen", "trouble"),
        map(_peer, report.peers),
    )


def _show_health(health: HealthResponse) -> None:
    from aintandem_notify.cli.times import ago

    echo(health.state, fg={"well": "green", "degraded": "yellow"}.get(health.state, "red"), bold=True)
    for reason in health.reasons[:MAX_REASONS]:
        echo(f"  {reason.text} ({reason.id}, {ago(reason.since, now())})")
    if (unlisted := len(health.reasons) - MAX_REASONS) > 0:
        echo(f"  and {unlisted} more; --json lists all")


def _projects(report: StatusResponse) -> Iterator[tuple[str, ...]]:
    """Yields the rows of disconnected projects first. Of many projects, only counts the connected ones."""
    is_connected = {project.id: project.state == "connected" for project in report.projects}
    listed = sorted(report.projects, key=lambda project: is_connected[project.id])
    if len(listed) > MAX_PROJECTS:
        listed = [project for project in listed if not is_connected[project.id]]
    yield from map(_project, listed)
    if (unlisted := len(report.projects) - len(listed)) > 0:
        yield (f"{unlisted} more", "connected", "", "", "")
    if report.unwatched is not None:
        yield _unwatched(report.unwatched)


def _project(project: ProjectResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    name = project.id if project.name == project.id else f"{project.name} ({project.id})"
    state = "gone" if project.gone else project.state
    return (name, state, ago(project.since, now()), str(project.events), project.last_error or "")


def _unwatched(unwatched: UnwatchedResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    trouble = "every agent watches as many as its limit of open files allows"
    return (f"{unwatched.projects} of no agent", "unwatched", ago(unwatched.since, now()), "", trouble)


def _destination(destination: DestinationResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    moment = now()
    oldest = ago(destination.oldest, moment) if destination.oldest else "-"
    next_try = ago(destination.retry_at, moment) if destination.retry_at else "-"
    return (
        destination.name,
        destination.state or "-",
        str(destination.queued),
        oldest,
        next_try,
        destination.last_error or "",
    )


def _peer(peer: PeerResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    trouble = "lost; the others take over its work" if peer.lost else ""
    projects = str(peer.projects) if peer.places is None else f"{peer.projects} of {peer.places}"
    return (peer.name, peer.version, projects, ago(peer.seen_at, now()), trouble)
