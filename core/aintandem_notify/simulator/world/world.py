"""What tasks, workflows and sandboxes have in common: projects, time, chance, ids, and the events they cause.

Nothing here knows of HTTP or sockets: an event is handed to ``publish`` as the text of its frame.
"""

import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Protocol

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.foundation.clock import Clock

HISTORY_LIMIT: Final = 10_000
"""How many of the events that were sent are remembered for tests; ours."""

Publish = Callable[[str, str], None]
"""Takes a project's id and a frame's text; never blocks."""


class StartSoon(Protocol):
    """Starts something that goes on by itself, as ``nursery.start_soon`` does."""

    def __call__(self, act: Callable[..., Awaitable[object]], /, *args: Any) -> None:
        """Call ``act(*args)`` in the background."""
        ...


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """A project that the world knows."""

    id: str
    name: str
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """As REST answers it."""
        return {"id": self.id, "name": self.name, "status": "active", "createdAt": iso(self.created_at)}


def iso(moment: datetime | None) -> str | None:
    """As JavaScript writes it: milliseconds and Z."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def progress_json(done: int, total: int, things: str) -> dict[str, Any]:
    """How far something is that takes ``total`` things, as REST answers it."""
    return {
        "current": done,
        "total": total,
        "percentage": round(100 * done / total),
        "message": f"{done} of {total} {things}",
    }


def not_found(kind: str, identity: str) -> ApiError:
    """The error for an id that nobody knows; ``kind`` is ``task``, ``execution`` …"""
    return ApiError(f"{kind.capitalize()} {identity} not found", status=404, code=f"{kind.upper()}_NOT_FOUND")


def wrong_state(kind: str, identity: str, status: str, action: str) -> ApiError:
    """The error for a wish that does not go with the object's state."""
    return ApiError(f"{kind.capitalize()} {identity} is {status}: cannot {action} it", status=409, code="CONFLICT")


class World:
    """Time, chance and projects. ``speed`` is how much faster than life things go.

    Plans depend on the seed, the project and how many plans the project had before: what one project does
    leaves the others as they are. Ids are new in every world.
    """

    def __init__(self, *, clock: Clock, seed: int, speed: float, publish: Publish, spawn: StartSoon) -> None:
        self.clock = clock
        self.speed = speed
        self.spawn = spawn
        self.projects: dict[str, ProjectRecord] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_LIMIT)
        self.emitted = 0
        """Events sent since the beginning, whoever heard them."""
        self._seed = seed
        self._plans: dict[str, int] = {}
        self._publish = publish
        self._last_stamp = clock.now()

    def project(self, project_id: str) -> ProjectRecord:
        """The project of that id; one that was unknown comes to life."""
        if project_id not in self.projects:
            name = project_id.replace("-", " ").replace("_", " ").strip().capitalize() or project_id
            self.projects[project_id] = ProjectRecord(project_id, name, self.clock.now())
        return self.projects[project_id]

    def chance(self, project_id: str) -> Random:
        """The source of chance for the next plan of the project."""
        number = self._plans[project_id] = self._plans.get(project_id, 0) + 1
        return Random(f"{self._seed}/{project_id}/{number}")  # noqa: S311  # believable is all it must be

    def new_id(self, kind: str) -> str:
        """An id that was never there before, as ``task-5f0c9a1be2d4``."""
        return f"{kind}-{secrets.token_hex(6)}"

    def now(self) -> datetime:
        """The next moment, in whole milliseconds, later than every one before.

        Two events in the same millisecond with the same content could not be told apart by anybody.
        """
        now = self.clock.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._last_stamp = max(now, self._last_stamp + timedelta(milliseconds=1))
        return self._last_stamp

    async def pause(self, seconds: float) -> None:
        """Let ``seconds`` of life go by."""
        await trio.sleep(seconds / self.speed)

    def emit(self, project_id: str, event_type: str, **fields: Any) -> datetime:
        """Send an event to whoever watches the project; fields that are None are left out. Returns its time."""
        moment = self.now()
        frame = {"type": event_type, "timestamp": iso(moment), "projectId": project_id}
        frame |= {name: value for name, value in fields.items() if value is not None}
        self.history.append(frame)
        self.emitted += 1
        self._publish(project_id, json.dumps(frame, ensure_ascii=False))
        return moment
