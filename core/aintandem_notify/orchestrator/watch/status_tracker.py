"""How a watched project stands, as whoever watches the watching sees it."""

from dataclasses import replace
from typing import Any

from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.frames import FrameReader
from aintandem_notify.orchestrator.link.states import ConnectionState, Signal, advance
from aintandem_notify.orchestrator.watch.settings import StatusObserver
from aintandem_notify.orchestrator.watch.status import ProjectStatus


class StatusTracker:
    """The status of a project; every change of it is shown to ``observe``, with what ``reader`` has counted."""

    def __init__(self, project: Project, reader: FrameReader, clock: Clock, observe: StatusObserver) -> None:
        self._reader = reader
        self._clock = clock
        self._observe = observe
        self._status = ProjectStatus(project, ConnectionState.DISCONNECTED, clock.now())

    @property
    def state(self) -> ConnectionState:
        """Where the connection stands."""
        return self._status.state

    def signal(self, signal: Signal) -> None:
        """Go on to the state that follows."""
        state = advance(self._status.state, signal)
        if state is not self._status.state:
            was_connected = self._status.was_connected or state is ConnectionState.CONNECTED
            self.update(state=state, since=self._clock.now(), was_connected=was_connected)

    def update(self, **changes: Any) -> None:
        """Change these fields of the status, and count anew."""
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
