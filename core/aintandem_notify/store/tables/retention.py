"""Forgets what is over and old, a few rows at a time, in portable SQL.

Each step looks at a bounded number of rows and gives back where the next one goes on. What an open delivery
needs stays, and so does every run that has not ended. All of it happens inside a transaction of ``Store``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)

from aintandem_notify.domain.runs import TERMINAL_STATES
from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.delivery_states import DeliveryState

OUTPUT_KEPT: Final = timedelta(hours=1)
"""How long an ``output`` event stays in the journal once its deliveries have ended; there may be millions."""

TAIL_KEPT: Final = timedelta(days=1)
"""How long an ended run keeps its last lines of output; a late event of it may still want them."""

SEEN_MARGIN: Final = timedelta(hours=1)
"""A run is forgotten only when it ended this long before the moment up to which its project has been seen: then
REST can list it for ever, and catching up takes it for old."""

PRUNE_LOCK: Final = int.from_bytes(b"AINTprun", "big") >> 1
"""The advisory lock under which agents that share a PostgreSQL take turns."""

_OVER: Final = tuple(state.value for state in TERMINAL_STATES)
_deliveries: Final = schema.deliveries.c
_notifications: Final = schema.notifications.c
_events: Final = schema.events.c
_runs: Final = schema.runs.c
_receipts: Final = schema.receipts.c
_gates: Final = schema.gates.c
_REF: Final = (_runs.project_id, _runs.kind, _runs.id)
_QUEUED: Final = _deliveries.state == DeliveryState.QUEUED.value
# What is deleted is asked for these once more: where several agents share the store, somebody may just have queued
# again what had ended.
_HAS_DELIVERY: Final = exists().where(_deliveries.notification_id == _notifications.id)
_HAS_NOTIFICATION: Final = exists().where(_notifications.event_key == _events.key)
# Written out, so that SQLite sees that the index of these events alone will do.
_IS_OUTPUT: Final[ColumnElement[bool]] = _events.type == literal_column("'output'")


def _moved(of: Any) -> ColumnElement[datetime]:
    """When an attempt was heard of last; NULL when no event of it told the time."""
    return func.coalesce(of.ended_at, of.updated_at, of.started_at, of.created_at, type_=schema.UtcTimestamp)


def _between(name: ColumnElement[Any], rows: Sequence[Any]) -> ColumnElement[bool]:
    return and_(name >= tuple_(*rows[0]), name <= tuple_(*rows[-1]))


@dataclass(frozen=True, slots=True)
class Limits:
    """What is older than ``keep`` goes; at most ``most`` rows are looked at in a step."""

    now: datetime
    keep: timedelta
    most: int = 200

    @property
    def before(self) -> datetime:
        """What was over by then is forgotten."""
        return self.now - self.keep


@dataclass(frozen=True, slots=True)
class Page:
    """``removed`` rows of those that the step is about; ``after``: where the next one goes on, None at the end."""

    removed: int
    after: Any = None


class Retention:
    """The steps, each over one kind of row. Begin with ``after`` None, and go on until it is None again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_our_turn(self) -> bool:
        """Whether no other agent is at it in this moment; until the end of the transaction none will be."""
        if self._connection.dialect.name != "postgresql":
            return True
        return bool(self._connection.execute(text(f"SELECT pg_try_advisory_xact_lock({PRUNE_LOCK})")).scalar())

    def outputs(self, limits: Limits, after: Any) -> Page:
        """``output`` events whose deliveries have ended, with those and their notifications."""
        page = select(_events.id, _events.key).where(
            _IS_OUTPUT, _events.id > (after or 0), _events.received_at < limits.now - OUTPUT_KEPT
        )
        rows = self._rows(page.order_by(_events.id).limit(limits.most))
        keys = [row.key for row in rows]
        of_these = select(_notifications.id, _notifications.event_key).where(_notifications.event_key.in_(keys))
        notes = self._rows(of_these)
        ids = [note.id for note in notes]
        waiting = select(_deliveries.notification_id).where(_deliveries.notification_id.in_(ids), _QUEUED)
        held = set(self._connection.execute(waiting).scalars())
        busy = {note.event_key for note in notes if note.id in held}
        over = [note.id for note in notes if note.event_key not in busy]
        self._delete(schema.deliveries, and_(_deliveries.notification_id.in_(over), ~_QUEUED))
        self._delete(schema.notifications, and_(_notifications.id.in_(over), ~_HAS_DELIVERY))
        free = [key for key in keys if key not in busy]
        removed = self._delete(schema.events, and_(_events.key.in_(free), ~_HAS_NOTIFICATION))
        return Page(removed, _next(rows, limits, lambda row: row.id))

    def deliveries(self, limits: Limits, after: Any) -> Page:  # noqa: ARG002  # what was there is gone
        """Deliveries that ended, and what only they needed: notifications and their events."""
        page = select(_deliveries.id, _deliveries.notification_id).where(
            _deliveries.settled_at < limits.before, ~_QUEUED
        )
        rows = self._rows(page.order_by(_deliveries.settled_at).limit(limits.most))
        if not rows:
            return Page(0)
        removed = self._delete(schema.deliveries, and_(_deliveries.id.in_([row.id for row in rows]), ~_QUEUED))
        orphans = self._rows(
            select(_notifications.id, _notifications.event_key).where(
                _notifications.id.in_({row.notification_id for row in rows}),
                ~_HAS_DELIVERY,
            )
        )
        self._delete(schema.notifications, _notifications.id.in_([row.id for row in orphans]))
        self._delete(
            schema.events,
            and_(
                _events.key.in_({row.event_key for row in orphans}),
                _events.received_at < limits.before,
                ~_HAS_NOTIFICATION,
            ),
        )
        return Page(removed, _next(rows, limits, lambda _row: True))

    def events(self, limits: Limits, after: Any) -> Page:
        """Events that led to no notification, or to none that is still there."""
        page = select(_events.id, _events.received_at).where(_events.id > (after or 0))
        rows = self._rows(page.order_by(_events.id).limit(limits.most))
        old = [row.id for row in rows if row.received_at < limits.before]
        unneeded = ~exists().where(_notifications.event_key == _events.key)
        removed = self._delete(schema.events, and_(_events.id.in_(old), unneeded)) if old else 0
        # They came in the order of their ids: where none is old, none behind it is.
        return Page(removed, _next(rows, limits, lambda row: row.id) if old else None)

    def runs(self, limits: Limits, after: Any) -> Page:
        """Attempts of runs that ended, and the last output of those that ended not so long ago."""
        page = select(*_REF, _runs.attempt).order_by(*_REF, _runs.attempt).limit(limits.most)
        if after is not None:
            page = page.where(tuple_(*_REF, _runs.attempt) > after)
        rows = self._rows(page)
        removed = 0
        if rows:
            within = _between(tuple_(*_REF, _runs.attempt), rows)
            removed = self._forget_runs(within, limits.before)
            tail_over = _moved(_runs) < limits.now - TAIL_KEPT
            tailed = and_(within, _runs.state.in_(_OVER), tail_over, _runs.output_tail != "")
            self._connection.execute(update(schema.runs).where(tailed).values(output_tail=""))
        return Page(removed, _next(rows, limits, tuple))

    def _forget_runs(self, within: ColumnElement[bool], before: datetime) -> int:
        """The attempts of runs that ended before then with all their attempts, and well before they were seen."""
        other, project = schema.runs.alias("other").c, schema.projects.c
        same = and_(*(other[column.name] == column for column in _REF))
        goes_on = exists().where(same, or_(other.state.not_in(_OVER), _moved(other) >= before))
        margin: ColumnElement[int] = literal_column(str(SEEN_MARGIN // timedelta(microseconds=1)))
        unseen = exists().where(project.id == _runs.project_id, project.seen_until <= _moved(_runs) + margin)
        over = and_(_runs.state.in_(_OVER), _moved(_runs) < before)
        return self._delete(schema.runs, and_(within, over, ~goes_on, ~unseen))

    def receipts(self, limits: Limits, after: Any) -> Page:
        """Receipts of threads that have nothing more to send."""
        name = tuple_(_receipts.destination, _receipts.thread)
        page = select(_receipts.destination, _receipts.thread).order_by(*name.clauses).limit(limits.most)
        if after is not None:
            page = page.where(name > after)
        rows = self._rows(page)
        if not rows:
            return Page(0)
        waiting = exists().where(
            _deliveries.destination == _receipts.destination, _deliveries.thread == _receipts.thread, _QUEUED
        )
        old = and_(_between(name, rows), _receipts.updated_at < limits.before, ~waiting)
        return Page(self._delete(schema.receipts, old), _next(rows, limits, tuple))

    def gates(self, limits: Limits, configured: Collection[str]) -> Page:
        """How destinations stood that nobody has configured any more and that have no queue; there are few."""
        theirs = schema.agent_destinations.c
        shared = exists().where(theirs.destination == _gates.destination, theirs.variant == _gates.variant)
        used = or_(and_(_gates.variant == "", _gates.destination.in_(configured)), shared)
        waiting = exists().where(_deliveries.destination == _gates.destination, _QUEUED)
        return Page(self._delete(schema.gates, and_(_gates.updated_at < limits.before, ~used, ~waiting)))

    def _rows(self, query: Any) -> Sequence[Any]:
        return self._connection.execute(query).all()

    def _delete(self, table: Any, where: ColumnElement[bool]) -> int:
        return self._connection.execute(delete(table).where(where)).rowcount


def _next(rows: Sequence[Any], limits: Limits, place: Callable[[Any], Any]) -> Any:
    """Where to go on; None when this page was not full."""
    return place(rows[-1]) if len(rows) == limits.most else None


Walk = Callable[[Retention, Limits, Any], Page]

WALKS: Final[Mapping[str, Walk]] = {
    "outputs": Retention.outputs,
    "deliveries": Retention.deliveries,
    "events": Retention.events,
    "runs": Retention.runs,
    "receipts": Retention.receipts,
}
"""What goes first makes the rest free."""
