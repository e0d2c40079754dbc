"""The common parts of tasks, workflows and sandboxes: projects, time, chance, ids, and events.

Nothing here depends on HTTP or sockets: ``publish`` gets an event as the text of its frame.
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
"""Sent events that are remembered for tests; our choice."""

Publish = Callable[[str, str], None]
"""Takes a project's id and a frame's text; never blocks."""


class StartSoon(Protocol):
    """Starts a background task, as ``nursery.start_soon`` does."""

    def __call__(self, function: Callable[..., Awaitable[object]], /, *args: Any) -> None:
        """Call ``function(*args)`` in the background."""
        ...


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """A project of the world."""

    id: str
    name: str
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The record in REST's form."""
        return {"id": self.id, "name": self.name, "status": "active", "createdAt": iso(self.created_at)}


def iso(moment: datetime | None) -> str | None:
    """The time as JavaScript writes it: with milliseconds and Z."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def progress_json(done: int, total: int, unit: str) -> dict[str, Any]:
    """Progress in REST's form: ``done`` of ``total``, counted in ``unit``."""
    return {
        "current": done,
        "total": total,
        "percentage": round(100 * done / total),
        "message": f"{done} of {total} {unit}",
    }


def not_found(kind: str, identity: str) -> ApiError:
    """The error for an unknown id; ``kind`` is ``task``, ``execution`` …"""
    return ApiError(f"{kind.capitalize()} {identity} not found", status=404, code=f"{kind.upper()}_NOT_FOUND")


def wrong_state(kind: str, identity: str, status: str, action: str) -> ApiError:
    """The error for an action that the object's status does not allow."""
    return ApiError(f"{kind.capitalize()} {identity} is {status}: cannot {action} it", status=409, code="CONFLICT")


class World:
    """Time, chance and projects. ``speed`` is the factor by which the world is faster than real time.

    A plan depends on the seed, the project and the number of its earlier plans. So one project does not affect the
    plans of another. Ids differ in every world.
    """

    def __init__(self, *, clock: Clock, seed: int, speed: float, publish: Publish, spawn: StartSoon) -> None:
        self.clock = clock
        self.speed = speed
        self.spawn = spawn
        self.projects: dict[str, ProjectRecord] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_LIMIT)
        self.emitted: int = 0
        """Events sent since the start, with or without subscribers."""
        self._seed = seed
        self._plans: dict[str, int] = {}
        self._publish = publish
        self._last_stamp = clock.now()

    def project(self, project_id: str) -> ProjectRecord:
        """The project with that id, created if it is unknown."""
        if project_id not in self.projects:
            name = project_id.replace("-", " ").replace("_", " ").strip().capitalize() or project_id
            self.projects[project_id] = ProjectRecord(project_id, name, self.clock.now())
        return self.projects[project_id]

    def chance(self, project_id: str) -> Random:
        """The source of chance for the next plan of the project."""
        number = self._plans[project_id] = self._plans.get(project_id, 0) + 1
        return Random(f"{self._seed}/{project_id}/{number}")  # noqa: S311  # needs no security

    def new_id(self, kind: str) -> str:
        """A new unique id, as ``task-5f0c9a1be2d4``."""
        return f"{kind}-{secrets.token_hex(6)}"

    def now(self) -> datetime:
        """The present time in whole milliseconds, later than every time returned before.

        Otherwise two events with the same content in one millisecond could not be distinguished.
        """
        now = self.clock.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._last_stamp = max(now, self._last_stamp + timedelta(milliseconds=1))
        return self._last_stamp

    async def pause(self, seconds: float) -> None:
        """Sleep for ``seconds`` of the world."""
        await trio.sleep(seconds / self.speed)

    def emit(self, project_id: str, event_type: str, **fields: Any) -> datetime:
        """Send an event to the project's sockets, without fields that are None. Returns its time."""
        moment = self.now()
        frame = {"type": event_type, "timestamp": iso(moment), "projectId": project_id}
        frame |= {name: value for name, value in fields.items() if value is not None}
        self.history.append(frame)
        self.emitted += 1
        self._publish(project_id, json.dumps(frame, ensure_ascii=False))
        return moment
