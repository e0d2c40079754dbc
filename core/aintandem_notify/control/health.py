"""Decides whether the agent is healthy. Pure functions of the snapshots that its parts give.

For the status, the health endpoints and the dead man's switch (``server``).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.orchestrator import ConnectionState, ProjectStatus, UnwatchedProjects
from aintandem_notify.store import LivenessReport

STUCK_AFTER_S: Final = 30.0
"""Seconds without an answer after which the store's worker thread is stuck. No transaction takes that long."""

MAX_DISCONNECTED: Final = timedelta(minutes=5)
"""Time that a project may be disconnected; longer than a restart of the orchestrator takes."""


def store_trouble(store: LivenessReport) -> str | None:
    """Returns the reason why the store does not work; None if it works."""
    if store.silent_s > STUCK_AFTER_S:
        return f"the store has not answered for {store.silent_s:.0f} s"
    return store.trouble


def unconnected(projects: Iterable[ProjectStatus], *, lost_before: datetime) -> list[ProjectStatus]:
    """Returns the projects disconnected since ``lost_before`` or earlier, except those that are gone."""
    return [
        status
        for status in projects
        if status.state is not ConnectionState.CONNECTED and not status.gone and status.since <= lost_before
    ]


def trouble(
    projects: Iterable[ProjectStatus],
    store: LivenessReport,
    now: datetime,
    unwatched: UnwatchedProjects | None = None,
) -> str | None:
    """Returns the reason why a person should look after the agent, as a sentence; None if it is healthy."""
    if (problem := store_trouble(store)) is not None:
        return problem
    lost = unconnected(projects, lost_before=now - MAX_DISCONNECTED)
    if not lost:
        return (
            unwatched_text(unwatched)
            if unwatched is not None and unwatched.since <= now - MAX_DISCONNECTED
            else None
        )
    names = ", ".join(status.project.id for status in lost[:3])
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return f"not connected for more than {MAX_DISCONNECTED.seconds // 60} min: {names}{more}"


def unwatched_text(unwatched: UnwatchedProjects) -> str:
    """Returns a sentence with the number of projects that no agent watches."""
    return f"projects that no agent on the store has a place for: {unwatched.projects}"


def reason_not_to_ping(
    projects: Sequence[ProjectStatus],
    store: LivenessReport,
    now: datetime,
    unwatched: UnwatchedProjects | None = None,
) -> str | None:
    """Returns the reason why the dead man's switch must not ping; None if it may.

    Stricter than ``trouble``: it also waits for the first connection. Otherwise an agent that restarts again and
    again while its orchestrator is unreachable would look healthy.
    """
    if (problem := trouble(projects, store, now, unwatched)) is not None:
        return problem
    watched = [status for status in projects if not status.gone]
    if watched and not any(status.was_connected for status in watched):
        return "no project has been connected yet"
    return None
