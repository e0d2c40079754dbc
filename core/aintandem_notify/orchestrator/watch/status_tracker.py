"""Tracks the status of a watched project, and passes each change on."""

from dataclasses import replace
from typing import Any

from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.frames import FrameReader
from aintandem_notify.orchestrator.link.states import ConnectionState, Signal, advance
from aintandem_notify.orchestrator.watch.settings import StatusObserver
from aintandem_notify.orchestrator.watch.status import ProjectStatus


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
