"""Whether the agent does its work, as pure functions of what its parts say about themselves."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.orchestrator import ConnectionState, ProjectStatus, UnwatchedProjects
from aintandem_notify.store import StoreHealth

STUCK_AFTER_S: Final = 30.0
"""Seconds without an answer after which the store's thread counts as stuck; no transaction takes so long."""

MAX_DISCONNECTED: Final = timedelta(minutes=5)
"""How long a project may be without its link before that is more than a restart of the orchestrator."""


def store_trouble(store: StoreHealth) -> str | None:
    """What keeps the store from its work; None when nothing does."""
    if store.silent_s > STUCK_AFTER_S:
        return f"the store has not answered for {store.silent_s:.0f} s"
    return store.trouble


def unconnected(projects: Iterable[ProjectStatus], *, lost_before: datetime) -> list[ProjectStatus]:
    """Those without a link since before that moment, except those that the orchestrator does not know."""
    return [
        status
        for status in projects
        if status.state is not ConnectionState.CONNECTED and not status.gone and status.since <= lost_before
    ]


def trouble(
    projects: Iterable[ProjectStatus],
    store: StoreHealth,
    now: datetime,
    unwatched: UnwatchedProjects | None = None,
) -> str | None:
    """Why somebody should look after the agent, in a sentence; None when all is well."""
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
    """How many projects nobody watches, for people."""
    return f"projects that no agent on the store has a place for: {unwatched.projects}"


def reason_not_to_ping(
    projects: Sequence[ProjectStatus],
    store: StoreHealth,
    now: datetime,
    unwatched: UnwatchedProjects | None = None,
) -> str | None:
    """Why no heartbeat should be sent; None when all is well.

    Beyond ``trouble``, the first connection is waited for: an agent that is restarted again and again with its
    orchestrator out of reach must not look well.
    """
    if (problem := trouble(projects, store, now, unwatched)) is not None:
        return problem
    watched = [status for status in projects if not status.gone]
    if watched and not any(status.was_connected for status in watched):
        return "no project has been connected yet"
    return None
