"""Deletes old history a few rows at a time, in portable SQL; ``maintenance.pruning`` calls it at intervals.

Each step looks at a bounded number of rows and returns the position at which the next step continues. Rows that a
queued delivery needs stay, and so does every run that has not ended. Every method is called inside a transaction
of ``Store``.
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
"""Age at which ``output`` events are deleted once their deliveries have ended; there may be millions."""

OUTPUT_TAIL_RETENTION: Final = timedelta(days=1)
"""Age at which an ended run loses its last lines of output; a late event may still need them until then."""

BLIND_TIME_RETENTION: Final = timedelta(days=62)
"""Age at which the times in which nothing was heard are deleted, at the earliest: twice the longest silence of a
watch."""

SEEN_MARGIN: Final = timedelta(hours=1)
"""A run is deleted only if it ended this long before its project's ``seen_until``. Then catching up treats the run
as old, even if REST goes on listing it."""

LONGEST_SETTLE: Final = timedelta(days=31)
"""The longest time for which a failure may settle: a start within it may still count."""

PRUNE_LOCK: Final = int.from_bytes(b"AINTprun", "big") >> 1
"""The advisory lock with which agents that share a PostgreSQL take turns."""

_TERMINAL: Final = tuple(state.value for state in TERMINAL_STATES)
deliveries_c: Final = schema.deliveries.c
notifications_c: Final = schema.notifications.c
events_c: Final = schema.events.c
runs_c: Final = schema.runs.c
receipts_c: Final = schema.receipts.c
gates_c: Final = schema.gates.c
episodes_c: Final = schema.episodes.c
_RUN_REF: Final = (runs_c.project_id, runs_c.kind, runs_c.id)
_IS_QUEUED: Final = deliveries_c.state == DeliveryState.QUEUED.value
# Each DELETE repeats these conditions: in a shared store another agent may just have queued an ended delivery
# again.
held_c: Final = schema.held.c
_IS_NEEDED: Final = or_(
    exists().where(deliveries_c.notification_id == notifications_c.id),
    exists().where(held_c.notification_id == notifications_c.id, held_c.due_at.is_not(None)),
)
_HAS_NOTIFICATION: Final = exists().where(notifications_c.event_key == events_c.key)
# A literal, so that SQLite sees that the partial index on these events is sufficient.
_IS_OUTPUT: Final[ColumnElement[bool]] = events_c.type == literal_column("'output'")


def _last_activity(of: Any) -> ColumnElement[datetime]:
    """The time of an attempt's last event; NULL if no event of it had a time."""
    return func.coalesce(of.ended_at, of.updated_at, of.started_at, of.created_at, type_=schema.UtcTimestamp)


def _between(name: ColumnElement[Any], rows: Sequence[Any]) -> ColumnElement[bool]:
    return and_(name >= tuple_(*rows[0]), name <= tuple_(*rows[-1]))


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """Rows older than ``keep`` are deleted; each step looks at no more than ``batch_size`` rows."""

    now: datetime
    keep: timedelta
    batch_size: int = 200

    @property
    def before(self) -> datetime:
        """Rows that ended before this time are deleted."""
        return self.now - self.keep


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The result of a step.

    ``removed``: number of deleted rows of its own table; ``after``: where the next step begins, None at the end.
    """

    removed: int
    after: Any = None


class Retention:
    """The steps, each for one table. Begin with ``after`` None, and repeat until the result's is None."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def try_prune_lock(self) -> bool:
        """Locks out other agents until the transaction ends; False if another agent is pruning now."""
        if self._connection.dialect.name != "postgresql":
            return True
        return bool(self._connection.execute(text(f"SELECT pg_try_advisory_xact_lock({PRUNE_LOCK})")).scalar())

    def prune_outputs(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Deletes ``output`` events whose deliveries have ended, with these deliveries and their notifications."""
        page = select(events_c.id, events_c.key).where(
            _IS_OUTPUT, events_c.id > (after or 0), events_c.received_at < limits.now - OUTPUT_RETENTION
        )
        rows = self._rows(page.order_by(events_c.id).limit(limits.batch_size))
        keys = [row.key for row in rows]
        query = select(notifications_c.id, notifications_c.event_key).where(notifications_c.event_key.in_(keys))
        notifications = self._rows(query)
        ids = [notification.id for notification in notifications]
        waiting = select(deliveries_c.notification_id).where(deliveries_c.notification_id.in_(ids), _IS_QUEUED)
        held = select(held_c.notification_id).where(held_c.notification_id.in_(ids), held_c.due_at.is_not(None))
        queued_ids = {*self._connection.execute(waiting).scalars(), *self._connection.execute(held).scalars()}
        open_keys = {notification.event_key for notification in notifications if notification.id in queued_ids}
        ended = [notification.id for notification in notifications if notification.event_key not in open_keys]
        self._delete(schema.deliveries, and_(deliveries_c.notification_id.in_(ended), ~_IS_QUEUED))
        self._delete(schema.notifications, and_(notifications_c.id.in_(ended), ~_IS_NEEDED))
        closed_keys = [key for key in keys if key not in open_keys]
        removed = self._delete(schema.events, and_(events_c.key.in_(closed_keys), ~_HAS_NOTIFICATION))
        return PruneResult(removed, _resume_after(rows, limits, lambda row: row.id))

    def prune_deliveries(self, limits: PruneLimits, after: Any) -> PruneResult:  # noqa: ARG002  # as each step has it
        """Deletes deliveries that ended, with notifications and events that only they needed."""
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
                ~_IS_NEEDED,
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

    def prune_held(self, limits: PruneLimits, after: Any) -> PruneResult:  # noqa: ARG002  # as each step has it
        """Deletes the traces of held and dropped notifications, old windows and silences."""
        page = select(held_c.id, held_c.notification_id).where(held_c.settled_at < limits.before)
        rows = self._rows(page.order_by(held_c.settled_at).limit(limits.batch_size))
        removed = self._delete(schema.held, held_c.id.in_([row.id for row in rows]))
        ids = {row.notification_id for row in rows if row.notification_id is not None}
        self._delete(schema.notifications, and_(notifications_c.id.in_(ids), ~_IS_NEEDED))
        if len(rows) < limits.batch_size:
            self._delete(schema.stage_windows, schema.stage_windows.c.ends_at < limits.before)
            self._delete(schema.silences, schema.silences.c.expires_at < limits.before)
            # A watch may look back as far.
            oldest = limits.now - max(limits.keep, BLIND_TIME_RETENTION)
            self._delete(schema.blind_times, schema.blind_times.c.ended_at < oldest)
        return PruneResult(removed, _resume_after(rows, limits, lambda _row: True))

    def prune_episodes(self, limits: PruneLimits, after: Any) -> PruneResult:  # noqa: ARG002  # as each step has it
        """Deletes episodes without trouble for long, also those that have no end, and who was told of them."""
        page = select(episodes_c.id).where(episodes_c.last_at < limits.before).order_by(episodes_c.last_at)
        rows = self._rows(page.limit(limits.batch_size))
        ids = [row.id for row in rows]
        self._delete(schema.episode_recipients, schema.episode_recipients.c.episode.in_(ids))
        removed = self._delete(schema.episodes, and_(episodes_c.id.in_(ids), episodes_c.last_at < limits.before))
        if len(rows) < limits.batch_size:
            self._delete(schema.subject_starts, schema.subject_starts.c.begun_at < limits.before - LONGEST_SETTLE)
        return PruneResult(removed, _resume_after(rows, limits, lambda _row: True))

    def prune_events(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Deletes events without a notification."""
        page = select(events_c.id, events_c.received_at).where(events_c.id > (after or 0))
        rows = self._rows(page.order_by(events_c.id).limit(limits.batch_size))
        old = [row.id for row in rows if row.received_at < limits.before]
        has_no_notification = ~exists().where(notifications_c.event_key == events_c.key)
        removed = self._delete(schema.events, and_(events_c.id.in_(old), has_no_notification)) if old else 0
        # Ids ascend with the time of receipt: if no event of this page is old, no later one is.
        return PruneResult(removed, _resume_after(rows, limits, lambda row: row.id) if old else None)

    def prune_runs(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Deletes attempts of runs that ended, and the last output of those that ended more recently."""
        page = select(*_RUN_REF, runs_c.attempt).order_by(*_RUN_REF, runs_c.attempt).limit(limits.batch_size)
        if after is not None:
            page = page.where(tuple_(*_RUN_REF, runs_c.attempt) > after)
        rows = self._rows(page)
        removed = 0
        if rows:
            in_page = _between(tuple_(*_RUN_REF, runs_c.attempt), rows)
            removed = self._delete_runs(in_page, limits.before)
            is_tail_old = _last_activity(runs_c) < limits.now - OUTPUT_TAIL_RETENTION
            has_old_tail = and_(in_page, runs_c.state.in_(_TERMINAL), is_tail_old, runs_c.output_tail != "")
            self._connection.execute(update(schema.runs).where(has_old_tail).values(output_tail=""))
        return PruneResult(removed, _resume_after(rows, limits, tuple))

    def _delete_runs(self, in_page: ColumnElement[bool], before: datetime) -> int:
        """Deletes attempts of runs whose attempts all ended before ``before`` and before ``SEEN_MARGIN``."""
        other, project = schema.runs.alias("other").c, schema.projects.c
        same = and_(*(other[column.name] == column for column in _RUN_REF))
        has_recent_attempt = exists().where(
            same, or_(other.state.not_in(_TERMINAL), _last_activity(other) >= before)
        )
        margin: ColumnElement[int] = literal_column(str(SEEN_MARGIN // timedelta(microseconds=1)))
        is_within_seen_margin = exists().where(
            project.id == runs_c.project_id, project.seen_until <= _last_activity(runs_c) + margin
        )
        ended = and_(runs_c.state.in_(_TERMINAL), _last_activity(runs_c) < before)
        return self._delete(schema.runs, and_(in_page, ended, ~has_recent_attempt, ~is_within_seen_margin))

    def prune_receipts(self, limits: PruneLimits, after: Any) -> PruneResult:
        """Deletes receipts of threads without queued deliveries."""
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
        """Deletes the gates of destinations that no agent has configured and that have no queue; there are few."""
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
    """The position of the next step; None if this page was not full."""
    return position_of(rows[-1]) if len(rows) == limits.batch_size else None


PruneStep = Callable[[Retention, PruneLimits, Any], PruneResult]

PRUNE_STEPS: Final[Mapping[str, PruneStep]] = {
    "outputs": Retention.prune_outputs,
    "held": Retention.prune_held,
    "episodes": Retention.prune_episodes,
    "deliveries": Retention.prune_deliveries,
    "events": Retention.prune_events,
    "runs": Retention.prune_runs,
    "receipts": Retention.prune_receipts,
}
"""The steps in order: rows that a later step deletes may still be needed by rows that an earlier one deletes."""
