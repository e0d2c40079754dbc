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

OUTPUT_RETENTION: Final = timedelta(hours=1)
"""How long an ``output`` event stays in the journal once its deliveries have ended; there may be millions."""

OUTPUT_TAIL_RETENTION: Final = timedelta(days=1)
"""How long an ended run keeps its last lines of output; a late event of it may still want them."""

SEEN_MARGIN: Final = timedelta(hours=1)
"""A run is forgotten only when it ended this long before the moment up to which its project has been seen: then
REST can list it for ever, and catching up takes it for old."""

PRUNE_LOCK: Final = int.from_bytes(b"AINTprun", "big") >> 1
"""The advisory lock under which agents that share a PostgreSQL take turns."""

_TERMINAL: Final = tuple(state.value for state in TERMINAL_STATES)
deliveries_c: Final = schema.deliveries.c
notifications_c: Final = schema.notifications.c
events_c: Final = schema.events.c
runs_c: Final = schema.runs.c
receipts_c: Final = schema.receipts.c
gates_c: Final = schema.gates.c
_RUN_REF: Final = (runs_c.project_id, runs_c.kind, runs_c.id)
_IS_QUEUED: Final = deliveries_c.state == DeliveryState.QUEUED.value
# What is deleted is asked for these once more: where several agents share the store, somebody may just have queued
# again what had ended.
_HAS_DELIVERY: Final = exists().where(deliveries_c.notification_id == notifications_c.id)
_HAS_NOTIFICATION: Final = exists().where(notifications_c.event_key == events_c.key)
# Written out, so that SQLite sees that the index of these events alone will do.
_IS_OUTPUT: Final[ColumnElement[bool]] = events_c.type == literal_column("'output'")


def _last_activity(of: Any) -> ColumnElement[datetime]:
    """When an attempt was heard of last; NULL when no event of it told the time."""
    return func.coalesce(of.ended_at, of.updated_at, of.started_at, of.created_at, type_=schema.UtcTimestamp)


def _between(name: ColumnElement[Any], rows: Sequence[Any]) -> ColumnElement[bool]:
    return and_(name >= tuple_(*rows[0]), name <= tuple_(*rows[-1]))


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """What is older than ``keep`` goes; at most ``batch_size`` rows are looked at in a step."""

    now: datetime
    keep: timedelta
    batch_size: int = 200

    @property
    def before(self) -> datetime:
        """What was over by then is forgotten."""
        return self.now - self.keep


@dataclass(frozen=True, slots=True)
class PruneResult:
    """``removed`` rows of those that the step is about; ``after``: where the next one goes on, None at the end."""

    removed: int
    after: Any = None


class Retention:
    """The steps, each over one kind of row. Begin with ``after`` None, and go on until it is None again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def try_prune_lock(self) -> bool:
        """Whether no other agent is at it in this moment; until the end of the transaction none will be."""
        if self._connection.dialect.name != "postgresql":
            return True
        return bool(self._connection.execute(text(f"SELECT pg_try_advisory_xact_lock({PRUNE_LOCK})")).scalar())

    def prune_outputs(self, limits: PruneLimits, after: Any) -> PruneResult:
        """``output`` events whose deliveries have ended, with those and their notifications."""
        page = select(events_c.id, events_c.key).where(
            _IS_OUTPUT, events_c.id > (after or 0), events_c.received_at < limits.now - OUTPUT_RETENTION
        )
        rows = self._rows(page.order_by(events_c.id).limit(limits.batch_size))
        keys = [row.key for row in rows]
        of_these = select(notifications_c.id, notifications_c.event_key).where(notifications_c.event_key.in_(keys))
        notes = self._rows(of_these)
        ids = [note.id for note in notes]
        waiting = select(deliveries_c.notification_id).where(deliveries_c.notification_id.in_(ids), _IS_QUEUED)
        queued_ids = set(self._connection.execute(waiting).scalars())
        busy = {note.event_key for note in notes if note.id in queued_ids}
        over = [note.id for note in notes if note.event_key not in busy]
        self._delete(schema.deliveries, and_(deliveries_c.notification_id.in_(over), ~_IS_QUEUED))
        self._delete(schema.notifications, and_(notifications_c.id.in_(over), ~_HAS_DELIVERY))
        free = [key for key in keys if key not in busy]
        removed = self._delete(schema.events, and_(events_c.key.in_(free), ~_HAS_NOTIFICATION))
        return PruneResult(removed, _resume_after(rows, limits, lambda row: row.id))

    def prune_deliveries(self, limits: PruneLimits, after: Any) -> PruneResult:  # noqa: ARG002  # what was there is gone
        """Deliveries that ended, and what only they needed: notifications and their events."""
        page = select(deliveries_c.id, deliveries_c.notification_id).where(
            deliveries_c.settled_at < limits.before, ~_IS_QUEUED
        )
        rows = self._rows(page.order_by(deliveries_c.settled_at).limit(limits.batch_size))
        if not rows:
            return PruneResult(0)
        removed = self._delete(schema.deliveries, and_(deliveries_c.id.in_([row.id for row in rows]), ~_IS_QUEUED))
        orphans = self._rows(
            select(notifications_c.id, notifications_c.event_key).where(
                notifications_c.id.in_({row.notification_id for row in rows}),
                ~_HAS_DELIVERY,
            )
        )
        self._delete(schema.notifications, notifications_c.id.in_([row.id for row in orphans]))
        self._delete(
            schema.events,
            and_(
                events_c.key.in_({row.event_key for row in orphans}),
                events_c.received_at < limits.before,
                ~_HAS_NOTIFICATION,
            ),
        )
        return PruneResult(removed, _resume_after(rows, limits, lambda _row: True))

    def prune_events(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Events that led to no notification, or to none that is still there."""
        page = select(events_c.id, events_c.received_at).where(events_c.id > (after or 0))
        rows = self._rows(page.order_by(events_c.id).limit(limits.batch_size))
        old = [row.id for row in rows if row.received_at < limits.before]
        unneeded = ~exists().where(notifications_c.event_key == events_c.key)
        removed = self._delete(schema.events, and_(events_c.id.in_(old), unneeded)) if old else 0
        # They came in the order of their ids: where none is old, none behind it is.
        return PruneResult(removed, _resume_after(rows, limits, lambda row: row.id) if old else None)

    def prune_runs(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Attempts of runs that ended, and the last output of those that ended not so long ago."""
        page = select(*_RUN_REF, runs_c.attempt).order_by(*_RUN_REF, runs_c.attempt).limit(limits.batch_size)
        if after is not None:
            page = page.where(tuple_(*_RUN_REF, runs_c.attempt) > after)
        rows = self._rows(page)
        removed = 0
        if rows:
            within = _between(tuple_(*_RUN_REF, runs_c.attempt), rows)
            removed = self._delete_runs(within, limits.before)
            tail_over = _last_activity(runs_c) < limits.now - OUTPUT_TAIL_RETENTION
            tailed = and_(within, runs_c.state.in_(_TERMINAL), tail_over, runs_c.output_tail != "")
            self._connection.execute(update(schema.runs).where(tailed).values(output_tail=""))
        return PruneResult(removed, _resume_after(rows, limits, tuple))

    def _delete_runs(self, within: ColumnElement[bool], before: datetime) -> int:
        """The attempts of runs that ended before then with all their attempts, and well before they were seen."""
        other, project = schema.runs.alias("other").c, schema.projects.c
        same = and_(*(other[column.name] == column for column in _RUN_REF))
        goes_on = exists().where(same, or_(other.state.not_in(_TERMINAL), _last_activity(other) >= before))
        margin: ColumnElement[int] = literal_column(str(SEEN_MARGIN // timedelta(microseconds=1)))
        unseen = exists().where(
            project.id == runs_c.project_id, project.seen_until <= _last_activity(runs_c) + margin
        )
        over = and_(runs_c.state.in_(_TERMINAL), _last_activity(runs_c) < before)
        return self._delete(schema.runs, and_(within, over, ~goes_on, ~unseen))

    def prune_receipts(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Receipts of threads that have nothing more to send."""
        name = tuple_(receipts_c.destination, receipts_c.thread)
        page = select(receipts_c.destination, receipts_c.thread).order_by(*name.clauses).limit(limits.batch_size)
        if after is not None:
            page = page.where(name > after)
        rows = self._rows(page)
        if not rows:
            return PruneResult(0)
        waiting = exists().where(
            deliveries_c.destination == receipts_c.destination,
            deliveries_c.thread == receipts_c.thread,
            _IS_QUEUED,
        )
        old = and_(_between(name, rows), receipts_c.updated_at < limits.before, ~waiting)
        return PruneResult(self._delete(schema.receipts, old), _resume_after(rows, limits, tuple))

    def prune_gates(self, limits: PruneLimits, configured: Collection[str]) -> PruneResult:
        """How destinations stood that nobody has configured any more and that have no queue; there are few."""
        agent_destinations_c = schema.agent_destinations.c
        shared = exists().where(
            agent_destinations_c.destination == gates_c.destination,
            agent_destinations_c.variant == gates_c.variant,
        )
        used = or_(and_(gates_c.variant == "", gates_c.destination.in_(configured)), shared)
        waiting = exists().where(deliveries_c.destination == gates_c.destination, _IS_QUEUED)
        return PruneResult(self._delete(schema.gates, and_(gates_c.updated_at < limits.before, ~used, ~waiting)))

    def _rows(self, query: Any) -> Sequence[Any]:
        return self._connection.execute(query).all()

    def _delete(self, table: Any, where: ColumnElement[bool]) -> int:
        return self._connection.execute(delete(table).where(where)).rowcount


def _resume_after(rows: Sequence[Any], limits: PruneLimits, position_of: Callable[[Any], Any]) -> Any:
    """Where to go on; None when this page was not full."""
    return position_of(rows[-1]) if len(rows) == limits.batch_size else None


PruneStep = Callable[[Retention, PruneLimits, Any], PruneResult]

PRUNE_STEPS: Final[Mapping[str, PruneStep]] = {
    "outputs": Retention.prune_outputs,
    "deliveries": Retention.prune_deliveries,
    "events": Retention.prune_events,
    "runs": Retention.prune_runs,
    "receipts": Retention.prune_receipts,
}
"""What goes first makes the rest free."""
