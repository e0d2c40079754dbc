"""What can be said about a watched project at any moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aintandem_notify.domain.notification import Project
from aintandem_notify.orchestrator.link.states import ConnectionState


@dataclass(frozen=True, slots=True)
class UnwatchedProjects:
    """How many wanted projects no agent watches, counted up to some thousand, and since when (aware UTC)."""

    projects: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """A snapshot. Times are aware UTC.

    ``since`` is when ``state`` began, ``connected_at`` when the link that is up was opened (None: it is not), and
    ``was_connected`` whether there has been one since the project is watched.
    ``gone``: the orchestrator does not know the project.
    ``attempts`` counts the failed tries since the last stable connection, 0 while connected. ``last_error`` is
    one line without secrets, None when all is well. ``frames``, ``events`` and ``characters`` count what arrived
    since the start; ``flaws`` counts by kind the frames that were no events, unknown types included.
    ``restarts`` counts how often the project's supervisor had to start it anew.
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
