"""Says in a sentence how the watching stands: the projects, the connection, the runs, and since when it is quiet.

A project in which nothing happens shows no line, and looks like a connection that is down. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import local_time
from aintandem_notify.rules import formats

QUIET_AFTER_S: Final = 10.0
"""Seconds without an event that count as quiet."""

_NAMED: Final = 3
"""Projects that are named; more are counted."""
_NAME_CHARACTERS: Final = 60


@dataclass(slots=True)
class Activity:
    """The watched projects, and the time at which the last event arrived; ``task_id``: only those of this task."""

    started_at: datetime
    is_connected: Callable[[str], bool]
    task_id: str | None = None
    projects: dict[str, Project] = field(default_factory=dict)
    last_event_at: datetime | None = None

    def sentence(self, now: datetime, running: int, zone: tzinfo | None = None) -> str:
        """The sentence at ``now`` with ``running`` runs under way; its times are in ``zone``, None for ours."""
        runs = "1 active run" if running == 1 else f"{running or 'no'} active runs"
        return f"Watching {self._subject()}: {self._connection()}, {runs}, {self._quiet(now, zone)}"

    def _subject(self) -> str:
        names = [formats.one_line(project.name, _NAME_CHARACTERS) for project in self.projects.values()]
        if self.task_id is not None:
            return f"task {formats.one_line(self.task_id, _NAME_CHARACTERS)} of {', '.join(names)}"
        if len(names) > _NAMED:
            return f"{len(names)} projects"
        return ", ".join(names) or "no project yet"

    def _connection(self) -> str:
        count, connected = len(self.projects), sum(map(self.is_connected, self.projects))
        if connected == count:
            return "all connected" if count > 1 else "connected" if count else "logged in"
        return f"{connected} of {count} connected" if count > 1 else "not connected"

    def _quiet(self, now: datetime, zone: tzinfo | None) -> str:
        since = self.last_event_at or self.started_at
        seconds = max(0.0, (now - since).total_seconds())
        time = f"{local_time(since, zone):%H:%M:%S}"
        if seconds < QUIET_AFTER_S:
            return "no event yet" if self.last_event_at is None else f"last event {time}"
        whole = seconds - seconds % (1 if seconds < 60 else 60)
        return f"quiet since {time} ({formats.duration(whole)})"
