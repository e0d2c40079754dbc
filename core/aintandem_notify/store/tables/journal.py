"""Ingest's side of the store: events, runs, notifications with their deliveries, and each project's progress.

Every method is called inside a transaction of ``Store``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    Connection,
    CursorResult,
    RowMapping,
    Text,
    and_,
    bindparam,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Notification, Severity
from aintandem_notify.domain.runs import TERMINAL_STATES, Run, RunRef, RunState
from aintandem_notify.domain.subjects import subject_of
from aintandem_notify.log import secrets_generation
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.bulk_statement import Row as BulkRow
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.event_keys import NEVER, bare_keys_until, key_of, keys_have_times, timed_key
from aintandem_notify.store.tables.notification_cache import NotificationCache

# Small enough for every database's limit on parameters; the key of a run takes three.
_MAX_BATCH: Final = 500


@dataclass(slots=True)
class JournalChanges:
    """The rows to insert and update for one batch of events."""

    events: list[Event] = field(default_factory=list)
    new_runs: list[Run] = field(default_factory=list)
    updated_runs: list[Run] = field(default_factory=list)
    notifications: list[tuple[Notification, Sequence[str]]] = field(default_factory=list)
    """Each notification with the names of its destinations."""
    seen_until: dict[str, datetime] = field(default_factory=dict)
    """New values of ``seen_until`` for projects that are watched already."""
    new_projects: dict[str, datetime] = field(default_factory=dict)
    """Projects that are watched for the first time, each with the time from which."""
    secrets: str = field(default_factory=secrets_generation)
    """Make these changes before the notifications are rendered: a secret may be registered meanwhile."""


class WatchProgress(NamedTuple):
    """No event before ``seen_until`` is missing; runs that ended before ``since`` are never reported."""

    seen_until: datetime
    since: datetime


runs_c: Final = schema.runs.c
# One parameter for all keys: as many parameters as keys cost twice as much.
_JOURNALED_KEYS: Final = text("SELECT key FROM events WHERE key IN (SELECT value FROM json_each(:keys))")
_JOURNALED_KEYS_IN_POSTGRES: Final = text("SELECT key FROM events WHERE key = ANY(:keys)").bindparams(
    bindparam("keys", type_=ARRAY(Text))
)
_LATEST_ATTEMPTS: Final = (
    select(runs_c.project_id, runs_c.kind, runs_c.id, func.max(runs_c.attempt))
    .where(tuple_(runs_c.project_id, runs_c.kind, runs_c.id).in_(bindparam("refs", expanding=True)))
    .group_by(runs_c.project_id, runs_c.kind, runs_c.id)
)
_LATEST_RUNS: Final = select(schema.runs).where(
    tuple_(runs_c.project_id, runs_c.kind, runs_c.id, runs_c.attempt).in_(_LATEST_ATTEMPTS)
)
# SQLite would read the whole index of all runs for a list of tuples. With JSON it looks each run up.
_REFS: Final = func.json_each(bindparam("refs")).table_valued("value")
_later_runs_c: Final = schema.runs.alias("later").c
_LATEST_RUNS_IN_SQLITE: Final = (
    select(schema.runs)
    .select_from(_REFS)
    .join(
        schema.runs,
        and_(
            runs_c.project_id == func.json_extract(_REFS.c.value, "$[0]"),
            runs_c.kind == func.json_extract(_REFS.c.value, "$[1]"),
            runs_c.id == func.json_extract(_REFS.c.value, "$[2]"),
        ),
    )
    .where(
        runs_c.attempt
        == select(func.max(_later_runs_c.attempt))
        .where(
            _later_runs_c.project_id == runs_c.project_id,
            _later_runs_c.kind == runs_c.kind,
            _later_runs_c.id == runs_c.id,
        )
        .scalar_subquery()
    )
)
_RUN_KEY: Final = ("project_id", "kind", "id", "attempt")
_RUN_STATE: Final = (
    "state",
    "name",
    "workflow_id",
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "step",
    "progress",
    "output_tail",
    "progressed_at",
    "subject",
)
_ADD_EVENTS: Final = BulkStatement(
    insert(schema.events),
    (
        "key",
        "project_id",
        "type",
        "family",
        "run_id",
        "occurred_at",
        "received_at",
        "caught_up",
        "wire",
    ),
)
_ADD_RUNS: Final = BulkStatement(insert(schema.runs), (*_RUN_KEY, *_RUN_STATE))
_UPDATE_RUNS: Final = BulkStatement(
    update(schema.runs)
    .where(*(schema.runs.c[name] == bindparam(f"run_{name}") for name in _RUN_KEY))
    .values({name: bindparam(name) for name in _RUN_STATE}),
    (*_RUN_STATE, *(f"run_{name}" for name in _RUN_KEY)),
)
_ADD_NOTIFICATIONS: Final = BulkStatement(
    insert(schema.notifications), ("id", "event_key", "rule", "created_at", "content")
)
_ADD_DELIVERIES: Final = BulkStatement(
    insert(schema.deliveries),
    (
        "notification_id",
        "destination",
        "thread",
        "state",
        "due_at",
        "attempts",
        "fault_count",
        "created_at",
        "severity",
        "variant",
        "node",
    ),
)
_OPEN_RUNS: Final = (
    select(schema.runs)
    .where(
        runs_c.project_id == bindparam("project"), runs_c.state.not_in([state.value for state in TERMINAL_STATES])
    )
    .order_by(runs_c.updated_at.desc())
    .limit(bindparam("limit"))
)
# A shared store has a row for a project before any agent watches it.
_START_PROJECT: Final = update(schema.projects).where(schema.projects.c.id == bindparam("project"))
_UPDATE_SEEN_UNTIL: Final = BulkStatement(
    update(schema.projects)
    .where(schema.projects.c.id == bindparam("project"))
    .values(seen_until=bindparam("seen_until")),
    ("seen_until", "project"),
)


class Journal:
    """The ingest side of the store.

    ``placement`` returns the settings (a hash) and the only agent that a destination's deliveries are meant for.
    """

    def __init__(
        self,
        connection: Connection,
        notification_cache: NotificationCache,
        placement: Callable[[str], BulkRow],
    ) -> None:
        self._connection = connection
        self._notification_cache = notification_cache
        self._placement = placement
        self._keys_have_times = keys_have_times(connection)
        self._bare_keys_until: float | None = None

    def journaled_keys(self, events: Sequence[Event]) -> set[str]:
        """The keys of those ``events`` that are in the journal."""
        connection = self._connection
        if not self._keys_have_times:
            bare_keys = [event.key for event in events]
            return set(connection.execute(_JOURNALED_KEYS_IN_POSTGRES, {"keys": bare_keys}).scalars())
        if self._bare_keys_until is None:
            self._bare_keys_until = bare_keys_until(connection)
        keys = [timed_key(event) for event in events]
        if (until := self._bare_keys_until) != NEVER:
            keys += [event.key for event in events if to_microseconds(event.timestamp) <= until]
        stored_keys = connection.execute(_JOURNALED_KEYS, {"keys": json.dumps(keys)}).scalars()
        return {key_of(stored_key) for stored_key in stored_keys}

    def latest_runs(self, refs: Iterable[RunRef]) -> dict[RunRef, Run]:
        """The latest attempt of each run; omits runs that are unknown."""
        runs: dict[RunRef, Run] = {}
        for batch in _batches((ref.project_id, ref.kind.value, ref.id) for ref in refs):
            for row in self._select_latest(batch).mappings():
                run = _run(row)
                runs[run.ref] = run
        return runs

    def _select_latest(self, refs: Sequence[tuple[str, str, str]]) -> CursorResult[Any]:
        in_json = json.dumps(refs)
        # SQLite ends a text in JSON at a NUL.
        if self._connection.dialect.name != "sqlite" or "\\u0000" in in_json:
            return self._connection.execute(_LATEST_RUNS, {"refs": refs})
        return self._connection.execute(_LATEST_RUNS_IN_SQLITE, {"refs": in_json})

    def open_runs(self, project_id: str, limit: int) -> list[Run]:
        """The project's runs that are not known to have ended; at most ``limit``, most recently updated first."""
        rows = self._connection.execute(_OPEN_RUNS, {"project": project_id, "limit": limit}).mappings()
        return [_run(row) for row in rows]

    def watch_progress(self, project_ids: Iterable[str]) -> dict[str, WatchProgress]:
        """The progress of each project; omits projects that were never watched."""
        columns = schema.projects.c
        progress: dict[str, WatchProgress] = {}
        for batch in _batches(project_ids):
            query = select(schema.projects).where(columns.id.in_(batch), columns.watched_since.is_not(None))
            progress |= {
                row.id: WatchProgress(row.seen_until, row.watched_since) for row in self._connection.execute(query)
            }
        return progress

    def _start_project(self, project: str, moment: datetime) -> None:
        seen = {"seen_until": moment, "watched_since": moment}
        changed = self._connection.execute(_START_PROJECT.values(seen), {"project": project})
        if changed.rowcount == 0:
            self._connection.execute(insert(schema.projects), {"id": project, **seen})

    def write(self, changes: JournalChanges, now: datetime) -> int:
        """Writes all changes; ``now`` is the time of receipt, from which the deliveries are due.

        Returns the number of notifications that were cached for the destination with the most of them.
        """
        connection, at_us = self._connection, to_microseconds(now)
        stored_key: Callable[[Event], str] = timed_key if self._keys_have_times else attrgetter("key")
        events = [_event_row(event, stored_key(event), at_us) for event in changes.events]
        stored = {event.key: (event, key) for event, (key, *_) in zip(changes.events, events, strict=True)}
        notifications = []
        for notification, _ in changes.notifications:
            # The event of a rule that was asked later is stored already.
            event, key = stored.get(notification.event.key, (None, ""))
            key = key or stored_key(notification.event)
            notifications.append(_notification_row(notification, event, key, at_us, changes.secrets))
        _ADD_EVENTS.run(connection, events)
        _ADD_RUNS.run(connection, [_run_key(run) + _run_state(run) for run in changes.new_runs])
        _UPDATE_RUNS.run(connection, [_run_state(run) + _run_key(run) for run in changes.updated_runs])
        _ADD_NOTIFICATIONS.run(connection, notifications)
        _ADD_DELIVERIES.run(
            connection,
            [
                _delivery_row(notification, name, at_us) + self._placement(name)
                for notification, names in changes.notifications
                for name in names
            ],
        )
        for project, moment in changes.new_projects.items():
            self._start_project(project, moment)
        _UPDATE_SEEN_UNTIL.run(
            connection,
            [(at_us, project) for project, at_us in _with_microseconds(changes.seen_until)],
        )
        wires = {key: len(wire) for key, *_, wire in events}
        cached: Counter[str] = Counter()
        for (notification, names), (_, key, *_, content) in zip(changes.notifications, notifications, strict=True):
            for name in names:
                size = wires.get(key, 0) + len(content)
                cached[name] += self._notification_cache.add(name, notification, size, changes.secrets)
        return max(cached.values(), default=0)

    def add_deliveries(self, deliveries: Iterable[tuple[str, str, str, Severity | None]], now: datetime) -> None:
        """Queue stored notifications: each with its id, destination, thread and severity.

        Those without a severity are never folded into a summary.

        A destination that has the notification already, as a fallback for another one, does not get it again.
        """
        rows = [
            {
                "notification_id": notification_id,
                "destination": destination,
                "thread": thread,
                "state": DeliveryState.QUEUED.value,
                "at": to_microseconds(now),
                "severity": None if severity is None else severity.value,
                **dict(zip(("variant", "node"), self._placement(destination), strict=True)),
            }
            for notification_id, destination, thread, severity in deliveries
        ]
        if rows:
            self._connection.execute(_ADD_DELIVERIES_ONCE, rows)


_ADD_DELIVERIES_ONCE: Final = text(
    "INSERT INTO deliveries (notification_id, destination, thread, state, due_at, attempts, fault_count, "
    "created_at, severity, variant, node) "
    "VALUES (:notification_id, :destination, :thread, :state, :at, 0, 0, :at, :severity, :variant, :node) "
    "ON CONFLICT (notification_id, destination) DO NOTHING"
)


def _batches(items: Iterable[Any]) -> Iterable[list[Any]]:
    remaining = iter(items)
    while portion := list(islice(remaining, _MAX_BATCH)):
        yield portion


def _with_microseconds(moments: Mapping[str, datetime]) -> Iterable[tuple[str, int]]:
    return [(project, to_microseconds(moment)) for project, moment in moments.items()]


def _event_row(event: Event, key: str, at_us: int) -> BulkRow:
    return (
        key,
        event.project_id,
        event.type,
        event.family.value,
        event.run_id,
        to_microseconds(event.timestamp),
        at_us,
        event.caught_up,
        event.wire_json,
    )


def _run_key(run: Run) -> BulkRow:
    return (run.project_id, run.kind.value, run.id, run.attempt)


def _run_state(run: Run) -> BulkRow:
    return (
        run.state.value,
        run.name,
        run.workflow_id,
        _since_1970(run.created_at),
        _since_1970(run.started_at),
        _since_1970(run.ended_at),
        _since_1970(run.updated_at),
        run.step,
        run.progress,
        run.output_tail,
        _since_1970(run.progressed_at),
        subject_of(run.project_id, run.kind.value, run.name),
    )


def _since_1970(moment: datetime | None) -> int | None:
    return None if moment is None else to_microseconds(moment)


def _run(row: RowMapping) -> Run:
    values = {**row, "kind": Family(row["kind"]), "state": RunState(row["state"])}
    del values["subject"]  # it follows from the others
    return Run(**values)


def _notification_row(
    notification: Notification, stored: Event | None, key: str, at_us: int, secrets: str
) -> BulkRow:
    # The journal has the event as it arrived, so only a redacted one is stored with the notification, too.
    content = notification.content_json(with_event=notification.event is not stored, secrets=secrets)
    return (notification.id, key, notification.rule, at_us, content)


def _delivery_row(notification: Notification, destination: str, at_us: int) -> BulkRow:
    return (
        notification.id,
        destination,
        notification.thread,
        DeliveryState.QUEUED.value,
        at_us,
        0,
        0,
        at_us,
        # Neither the end of trouble nor an event of a watch is ever folded into a summary.
        None
        if notification.fixed_after is not None or notification.event.family is Family.WATCH
        else notification.severity.value,
    )
