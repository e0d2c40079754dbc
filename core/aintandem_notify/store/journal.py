"""What ingest writes and asks: events, runs, notifications with their deliveries, and how far a project is seen.

All of it happens inside a transaction of ``Store``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection, Executable, RowMapping, bindparam, func, insert, select, tuple_, update

from aintandem_notify.events import Event, Family
from aintandem_notify.notification import Notification
from aintandem_notify.runs import Run, RunRef, RunState
from aintandem_notify.store import schema
from aintandem_notify.store.outbox import DeliveryState

# Few enough for every database's limit on parameters, a run's name taking three.
_ASKED_AT_ONCE: Final = 500


@dataclass(slots=True)
class Changes:
    """What one batch of events leads to."""

    events: list[Event] = field(default_factory=list)
    new_runs: list[Run] = field(default_factory=list)
    moved_runs: list[Run] = field(default_factory=list)
    notifications: list[tuple[Notification, Sequence[str]]] = field(default_factory=list)
    """Each with its destinations."""
    seen_until: dict[str, datetime] = field(default_factory=dict)
    """For projects that have a row already."""
    new_projects: dict[str, datetime] = field(default_factory=dict)


_runs: Final = schema.runs.c
_KNOWN_KEYS: Final = select(schema.events.c.key).where(schema.events.c.key.in_(bindparam("keys", expanding=True)))
_LATEST: Final = (
    select(_runs.project_id, _runs.kind, _runs.id, func.max(_runs.attempt))
    .where(tuple_(_runs.project_id, _runs.kind, _runs.id).in_(bindparam("refs", expanding=True)))
    .group_by(_runs.project_id, _runs.kind, _runs.id)
)
_LATEST_RUNS: Final = select(schema.runs).where(
    tuple_(_runs.project_id, _runs.kind, _runs.id, _runs.attempt).in_(_LATEST)
)
_ADD_EVENTS: Final = insert(schema.events)
_ADD_RUNS: Final = insert(schema.runs)
_MOVE_RUNS: Final = (
    update(schema.runs)
    .where(
        _runs.project_id == bindparam("run_project_id"),
        _runs.kind == bindparam("run_kind"),
        _runs.id == bindparam("run_id"),
        _runs.attempt == bindparam("run_attempt"),
    )
    .values({column.name: bindparam(column.name) for column in schema.runs.columns if not column.primary_key})
)
_ADD_NOTIFICATIONS: Final = insert(schema.notifications)
_ADD_DELIVERIES: Final = insert(schema.deliveries)
_ADD_PROJECTS: Final = insert(schema.projects)
_SEE_PROJECTS: Final = (
    update(schema.projects)
    .where(schema.projects.c.id == bindparam("project"))
    .values(seen_until=bindparam("seen_until"))
)


class Journal:
    """The ingest side of the store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known_keys(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that are journaled."""
        known: set[str] = set()
        for some in _portions(keys):
            known.update(self._connection.execute(_KNOWN_KEYS, {"keys": some}).scalars())
        return known

    def latest_runs(self, refs: Iterable[RunRef]) -> dict[RunRef, Run]:
        """The latest attempt of each; what was never seen is left out."""
        found: dict[RunRef, Run] = {}
        for some in _portions((ref.project_id, ref.kind.value, ref.id) for ref in refs):
            for row in self._connection.execute(_LATEST_RUNS, {"refs": some}).mappings():
                run = _run(row)
                found[run.ref] = run
        return found

    def seen_until(self) -> dict[str, datetime]:
        """Per project, the time up to which nothing is missing."""
        rows = self._connection.execute(select(schema.projects.c.id, schema.projects.c.seen_until))
        return {row.id: row.seen_until for row in rows}

    def write(self, changes: Changes, now: datetime) -> None:
        """Add and change it all; ``now`` is when it was received and from when deliveries are due."""
        self._many(_ADD_EVENTS, [_event_row(event, now) for event in changes.events])
        self._many(_ADD_RUNS, [_run_row(run) for run in changes.new_runs])
        self._many(_MOVE_RUNS, [_moved_row(run) for run in changes.moved_runs])
        self._many(_ADD_NOTIFICATIONS, [_notification_row(sent, now) for sent, _ in changes.notifications])
        self._many(
            _ADD_DELIVERIES,
            [_delivery_row(sent, name, now) for sent, names in changes.notifications for name in names],
        )
        self._many(_ADD_PROJECTS, [{"id": k, "seen_until": v} for k, v in changes.new_projects.items()])
        self._many(_SEE_PROJECTS, [{"project": k, "seen_until": v} for k, v in changes.seen_until.items()])

    def _many(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self._connection.execute(statement, rows)


def _portions(items: Iterable[Any]) -> Iterable[list[Any]]:
    rest = iter(items)
    while portion := list(islice(rest, _ASKED_AT_ONCE)):
        yield portion


def _event_row(event: Event, now: datetime) -> dict[str, Any]:
    return {
        "key": event.key,
        "project_id": event.project_id,
        "type": event.type,
        "family": event.family.value,
        "run_id": event.run_id,
        "occurred_at": event.timestamp,
        "received_at": now,
        "caught_up": event.caught_up,
        "wire": to_json(event.wire()).decode(),
    }


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "project_id": run.project_id,
        "kind": run.kind.value,
        "id": run.id,
        "attempt": run.attempt,
    } | _state_of(run)


def _moved_row(run: Run) -> dict[str, Any]:
    return {
        "run_project_id": run.project_id,
        "run_kind": run.kind.value,
        "run_id": run.id,
        "run_attempt": run.attempt,
    } | _state_of(run)


def _state_of(run: Run) -> dict[str, Any]:
    return {
        "state": run.state.value,
        "name": run.name,
        "workflow_id": run.workflow_id,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "updated_at": run.updated_at,
        "step": run.step,
        "progress": run.progress,
        "output_tail": run.output_tail,
    }


def _run(row: RowMapping) -> Run:
    return Run(**{**row, "kind": Family(row["kind"]), "state": RunState(row["state"])})


def _notification_row(notification: Notification, now: datetime) -> dict[str, Any]:
    return {
        "id": notification.id,
        "event_key": notification.event.key,
        "rule": notification.rule,
        "created_at": now,
        "content": notification.model_dump_json(exclude={"event", "previous"}),
    }


def _delivery_row(notification: Notification, destination: str, now: datetime) -> dict[str, Any]:
    return {
        "notification_id": notification.id,
        "destination": destination,
        "thread": notification.thread,
        "state": DeliveryState.QUEUED.value,
        "due_at": now,
        "attempts": 0,
        "fault_count": 0,
        "created_at": now,
    }
