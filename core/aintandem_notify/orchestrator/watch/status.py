"""The status of a watched project."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aintandem_notify.domain.notification import Project
from aintandem_notify.orchestrator.link.states import ConnectionState


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
    (None: no link is open). ``was_connected``: a link has been open since watching began. ``gone``: the
    orchestrator does not know the project. ``attempts`` counts the failed tries since the last stable
    connection; 0 while connected. ``last_error`` is one line without secrets, None if there is no error.
    ``frames``, ``events`` and ``characters`` count the received ones since the start. ``flaws`` counts by kind
    the frames that were no events, unknown types included. ``restarts`` counts the crashes after which the
    supervisor restarted the project.
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
    gone: bool = False
    was_connected: bool = False
