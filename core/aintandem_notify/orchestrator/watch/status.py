"""The status of a watched project, and of the search for the projects that globs match."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.frames import FrameReader
from aintandem_notify.orchestrator.link.reconnect_policy import STABLE_AFTER_S, ConnectionTrouble
from aintandem_notify.orchestrator.link.states import ConnectionState, Signal, advance

_STABLE_AFTER: Final = timedelta(seconds=STABLE_AFTER_S)


@dataclass(frozen=True, slots=True)
class UnwatchedProjects:
    """The wanted projects that no agent watches.

    ``projects`` is their number, counted up to a few thousand. There have been any since ``since`` (aware UTC).
    """

    projects: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """The status at one moment. Times are aware UTC.

    ``since`` is the time at which ``state`` began, ``connected_at`` the time at which the open link opened
    (None: no link is open). ``was_connected``: a link has been open since watching began. ``attempts`` counts the
    failed tries since the last stable connection; 0 while connected. ``last_error`` is one line without secrets:
    the reason why it is not connected, or why events cannot be stored; None if there is no error. ``trouble`` is
    the kind of the failure of the last try; None while connected, and before the first failure.
    ``unstable_since``: the time since which no link has been stable, kept over restarts; see ``down_since``.
    ``lookup_error`` is the reason why missed events cannot be looked up, which has failed since
    ``lookup_failed_since``; both are None if nothing is missing.
    ``frames``, ``events`` and ``characters`` count the received ones since the start. ``flaws`` counts by kind the
    frames that were no events, unknown types included. ``restarts`` counts the crashes after which the supervisor
    restarted the project.
    """

    project: Project
    state: ConnectionState
    since: datetime
    connected_at: datetime | None = None
    attempts: int = 0
    last_error: str | None = None
    frames: int = 0
    events: int = 0
    characters: int = 0
    flaws: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    trouble: ConnectionTrouble | None = None
    was_connected: bool = False
    unstable_since: datetime | None = None
    lookup_error: str | None = None
    lookup_failed_since: datetime | None = None

    @property
    def gone(self) -> bool:
        """Whether the orchestrator does not know the project."""
        return self.trouble is ConnectionTrouble.GONE

    @property
    def down_since(self) -> datetime | None:
        """The time since which no link is open, None if one is open.

        A link that is lost before it is stable does not begin a new time: a link that opens and breaks again and
        again has been down since the first break.
        """
        return None if self.state is ConnectionState.CONNECTED else self.unstable_since or self.since

    def following(self, previous: "ProjectStatus") -> "ProjectStatus":
        """This status with the times that go on from ``previous``."""
        was_connected = previous.state is ConnectionState.CONNECTED
        since = previous.unstable_since or (None if was_connected else previous.since)
        if self.state is not ConnectionState.CONNECTED:
            was_stable = was_connected and self.since - previous.since >= _STABLE_AFTER
            since = self.since if was_stable else since or self.since
        return self if since == self.unstable_since else replace(self, unstable_since=since)


@dataclass(frozen=True, slots=True)
class DiscoveryStatus:
    """The state of the search for the projects that globs match. Times are aware UTC.

    ``trouble`` is the reason why the orchestrator's list could not be read last time, in one line, and it could
    not be read since ``since``; both are None if it was read. ``idle_globs`` are the globs that match no project
    of the list, and the time since which each matches none. ``has_listed``: the list has been read since the
    present projects were configured, or is not needed, because there is no glob. ``asked_since`` is the time at
    which they were configured, as long as the list has not been read.
    """

    trouble: str | None = None
    since: datetime | None = None
    idle_globs: Mapping[str, datetime] = field(default_factory=dict)
    has_listed: bool = True
    asked_since: datetime | None = field(default=None, compare=False)


StatusObserver = Callable[[ProjectStatus], None]
"""Gets each new status of a project; must return at once."""


class StatusTracker:
    """The status of a project. ``observe`` gets every change of it, together with the counts of ``reader``."""

    def __init__(self, project: Project, reader: FrameReader, clock: Clock, observe: StatusObserver) -> None:
        self._reader = reader
        self._clock = clock
        self._observe = observe
        self._status = ProjectStatus(project, ConnectionState.DISCONNECTED, clock.now())

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._status.state

    def signal(self, signal: Signal) -> None:
        """Move to the state that follows the signal."""
        state = advance(self._status.state, signal)
        if state is not self._status.state:
            was_connected = self._status.was_connected or state is ConnectionState.CONNECTED
            self.update(state=state, since=self._clock.now(), was_connected=was_connected)

    def note_lookup(self, error: str | None) -> None:
        """Note why missed events could not be looked up; None if nothing is missing any more."""
        since = None if error is None else self._status.lookup_failed_since or self._clock.now()
        if (error, since) != (self._status.lookup_error, self._status.lookup_failed_since):
            self.update(lookup_error=error, lookup_failed_since=since)

    def update(self, **changes: Any) -> None:
        """Change these fields of the status, and update the counts."""
        reader = self._reader
        self._status = replace(
            self._status,
            frames=reader.frames,
            events=reader.events,
            characters=reader.size,
            flaws=dict(reader.flaws),
            **changes,
        )
        self._observe(self._status)
