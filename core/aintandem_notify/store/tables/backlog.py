"""Reduces a destination's backlog: expires deliveries, moves them to a fallback, or folds them into a summary.

Deliveries in flight are left alone. Every method is called inside a transaction of ``Store``.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Connection, Select, and_, bindparam, exists, func, insert, or_, select, update

from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.delivery_states import (
    NOTIFICATION_CONTENTS,
    QUEUED_AT_DESTINATION,
    DeliveryState,
    mark_dead,
)
from aintandem_notify.store.tables.notification_cache import NotificationCache
from aintandem_notify.store.tables.outbox import exists_for_each


@dataclass(frozen=True, slots=True)
class BacklogSummary:
    """The contents of some deliveries: their number by event type, the number of threads, and some names.

    ``oldest`` and ``newest``: times of the earliest and the latest event.
    """

    first_notification_id: str
    types: Mapping[str, int]
    threads: int
    names: Sequence[str]
    oldest: datetime
    newest: datetime


deliveries_c: Final = schema.deliveries.c
_FIRST_OVERDUE: Final = (
    select(deliveries_c.id)
    .where(QUEUED_AT_DESTINATION, deliveries_c.created_at < bindparam("older_than"))
    .order_by(deliveries_c.id)
    .limit(1)
)
_FALLBACK_CANDIDATES: Final = (
    select(
        deliveries_c.id,
        deliveries_c.notification_id,
        deliveries_c.destination,
        deliveries_c.thread,
        deliveries_c.instead_of,
        deliveries_c.severity,
    )
    .where(
        deliveries_c.id.in_(bindparam("ids", expanding=True)),
        deliveries_c.claimed_by.is_(None),
        # In a shared store another agent may have delivered it meanwhile.
        deliveries_c.state.in_([DeliveryState.QUEUED.value, DeliveryState.DEAD.value]),
    )
    .order_by(deliveries_c.id)
)
_SUMMARY_ROWS: Final = (
    select(deliveries_c.notification_id, deliveries_c.thread, schema.events.c.type, schema.events.c.occurred_at)
    .join_from(schema.deliveries, schema.notifications, schema.notifications.c.id == deliveries_c.notification_id)
    .join(schema.events, schema.events.c.key == schema.notifications.c.event_key)
    .where(deliveries_c.id.in_(bindparam("ids", expanding=True)))
    .order_by(deliveries_c.id)
)
_EXISTING: Final = select(deliveries_c.notification_id).where(
    deliveries_c.destination == bindparam("name"),
    deliveries_c.notification_id.in_(bindparam("notifications", expanding=True)),
)
_MAX_BATCH: Final = 500


class Backlog:
    """The queued deliveries of a store with one owner; ``placement`` as in ``Journal``."""

    def __init__(
        self,
        connection: Connection,
        notification_cache: NotificationCache,
        placement: Callable[[str], tuple[str | None, str | None]],
    ) -> None:
        self._connection = connection
        self._notification_cache = notification_cache
        self._placement = placement

    def expire(
        self,
        destination: str,
        *,
        older_than: datetime,
        now: datetime,
        reason: str,
        exclude_ids: Collection[int] = (),
    ) -> int:
        """Marks deliveries dead that were queued before ``older_than``, except some ids; returns their number."""
        if not self._has_waited_since(destination, older_than):
            return 0
        self._notification_cache.remove_all(destination)
        return self._connection.execute(
            update(schema.deliveries)
            .where(
                deliveries_c.destination == destination,
                deliveries_c.state == DeliveryState.QUEUED.value,
                deliveries_c.created_at < older_than,
                deliveries_c.id.not_in(exclude_ids),
            )
            .values(state=DeliveryState.DEAD.value, reason=reason, settled_at=now)
        ).rowcount

    def overdue_ids(
        self,
        destination: str,
        *,
        older_than: datetime,
        exclude_ids: Collection[int],
        exclude_thread: str,
        limit: int,
        behind_older_than: datetime | None = None,
    ) -> list[int]:
        """The first ``limit`` ids of unclaimed deliveries that were queued before ``older_than``.

        One was, too, if a later one of its thread was: the clock may have been set back in between. Omits the ids
        in ``exclude_ids`` and the deliveries of the thread ``exclude_thread``. Behind one of ``exclude_ids`` or a
        claimed one of their thread, they must have been queued before ``behind_older_than``.
        """
        if not self._has_waited_since(destination, older_than):
            return []
        under_way = schema.deliveries.alias("under_way")
        is_behind = exists().where(
            under_way.c.destination == deliveries_c.destination,
            under_way.c.thread == deliveries_c.thread,
            under_way.c.state == DeliveryState.QUEUED.value,
            under_way.c.id < deliveries_c.id,
            or_(under_way.c.id.in_(exclude_ids), under_way.c.claimed_by.is_not(None)),
        )
        overdue = (QUEUED_AT_DESTINATION, deliveries_c.created_at < older_than)
        later = schema.deliveries.alias("later")
        is_before_overdue = exists_for_each(
            later.c.destination == deliveries_c.destination,
            later.c.thread == deliveries_c.thread,
            later.c.state == DeliveryState.QUEUED.value,
            later.c.id > deliveries_c.id,
            later.c.created_at < older_than,
            later.c.node.is_not_distinct_from(deliveries_c.node),
        )
        last_overdue = select(func.max(deliveries_c.id)).where(*overdue).correlate(None).scalar_subquery()
        waiting = (
            select(deliveries_c.id)
            .where(
                QUEUED_AT_DESTINATION,
                # The comparison of ids decides nearly always, and spares a look at the whole thread.
                or_(deliveries_c.created_at < older_than, and_(deliveries_c.id < last_overdue, is_before_overdue)),
                deliveries_c.thread != exclude_thread,
                deliveries_c.id.not_in(exclude_ids),
                or_(deliveries_c.created_at < (behind_older_than or older_than), ~is_behind),
            )
            .order_by(deliveries_c.id)
            .limit(limit)
        )
        return self._select_unclaimed(destination, waiting)

    def move_to_fallback(self, reasons: Mapping[int, str], target: str, now: datetime) -> None:
        """Marks the deliveries in ``reasons`` dead, and queues their notifications at ``target``.

        ``target`` gets a delivery for each notification that it does not have already. Each dead delivery's reason
        names ``target``. The caller limits their number, since databases limit the parameters of a statement.
        """
        if not reasons:
            return
        rows = self._connection.execute(_FALLBACK_CANDIDATES, {"ids": list(reasons)}).all()
        existing = set(
            self._connection.execute(
                _EXISTING, {"name": target, "notifications": [row.notification_id for row in rows]}
            ).scalars()
        )
        variant, node = self._placement(target)
        fresh = [_fallback_row(row, target, now) for row in rows if row.notification_id not in existing]
        if fresh:
            self._connection.execute(insert(schema.deliveries).values(variant=variant, node=node), fresh)
        for row in rows:
            outcome = f"{target} has it already" if row.notification_id in existing else f"{target} took over"
            self._notification_cache.remove(row.destination, row.notification_id)
            mark_dead(self._connection, [row.id], now, f"{reasons[row.id]}; {outcome}", target)

    def count_if_over(self, destination: str, *, threshold: int, older_than: datetime) -> int | None:
        """The queue's length; None unless it is above ``threshold`` and some were queued before ``older_than``."""
        beyond = (
            select(deliveries_c.id)
            .where(QUEUED_AT_DESTINATION)
            .order_by(deliveries_c.id)
            .offset(threshold)
            .limit(1)
        )
        if self._connection.execute(beyond, {"name": destination}).scalar_one_or_none() is None:
            return None
        if not self._has_waited_since(destination, older_than):
            return None
        waiting = select(func.count()).select_from(schema.deliveries).where(QUEUED_AT_DESTINATION)
        return self._connection.execute(waiting, {"name": destination}).scalar_one()

    def foldable(self, destination: str, severities: Sequence[str], *, limit: int) -> list[tuple[int, str]]:
        """The ids and severities of the first ``limit`` unclaimed deliveries that have one of ``severities``."""
        waiting = (
            select(deliveries_c.id)
            .where(QUEUED_AT_DESTINATION, deliveries_c.severity.in_(severities))
            .order_by(deliveries_c.id)
            .limit(limit)
        )
        levels: dict[int, str] = {}
        for batch in _batches(self._select_unclaimed(destination, waiting)):
            rows = self._connection.execute(
                select(deliveries_c.id, deliveries_c.severity).where(deliveries_c.id.in_(batch))
            )
            levels.update((row.id, row.severity) for row in rows)
        return sorted(levels.items())

    def summarize(self, ids: Sequence[int], *, max_names: int) -> BacklogSummary:
        """The summary of these deliveries, whose ids are in ascending order."""
        types: Counter[str] = Counter()
        first: dict[str, str] = {}
        moments: list[datetime] = []
        for batch in _batches(ids):
            for row in self._connection.execute(_SUMMARY_ROWS, {"ids": batch}):
                types[row.type] += 1
                first.setdefault(row.thread, row.notification_id)
                moments.append(row.occurred_at)
        named_ids = list(first.values())[:max_names]
        contents = self._connection.execute(NOTIFICATION_CONTENTS, {"ids": named_ids})
        names = {row.id: _display_name(from_json(row.content)) for row in contents}
        return BacklogSummary(
            first_notification_id=named_ids[0],
            types=types,
            threads=len(first),
            names=list(dict.fromkeys(names[named_id] for named_id in named_ids if named_id in names)),
            oldest=min(moments),
            newest=max(moments),
        )

    def fold(self, destination: str, ids: Sequence[int], summary: str, now: datetime) -> None:
        """Folds these deliveries into the notification with id ``summary``. Its delivery takes the first id."""
        for batch in _batches(ids):
            ended = {"state": DeliveryState.FOLDED.value, "reason": f"in the summary {summary}", "settled_at": now}
            self._connection.execute(update(schema.deliveries).where(deliveries_c.id.in_(batch)).values(ended))
        self._notification_cache.remove_all(destination)
        first_id = ids[0]
        summary_id = self._connection.execute(
            select(deliveries_c.id).where(
                deliveries_c.notification_id == summary, deliveries_c.destination == destination
            )
        ).scalar_one()
        # Deliveries are sent in the order of their ids, so the two swap theirs.
        for old_id, new_id in ((first_id, -summary_id), (summary_id, first_id), (-summary_id, summary_id)):
            self._connection.execute(update(schema.deliveries).where(deliveries_c.id == old_id).values(id=new_id))
        # Without a severity a summary is never folded into another one.
        self._connection.execute(
            update(schema.deliveries).where(deliveries_c.id == first_id).values(severity=None)
        )

    def _select_unclaimed(self, destination: str, waiting: Select[Any]) -> list[int]:
        """The unclaimed ids that ``waiting`` selects; no other agent can claim them during this transaction."""
        return list(self._connection.execute(waiting, {"name": destination}).scalars())

    def _has_waited_since(self, destination: str, older_than: datetime) -> bool:
        # Looks at all, if it must: deliveries that were retried by hand are new but have low ids, and so have
        # summaries. Usually the first one decides.
        parameters = {"name": destination, "older_than": older_than}
        return self._connection.execute(_FIRST_OVERDUE, parameters).first() is not None


def _display_name(content: Mapping[str, Any]) -> str:
    """The name of a stored notification's run, else its title."""
    run = content.get("run")
    return str(run["name"] if run else content.get("title", ""))


def _batches(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    """Batches small enough for every database's limit on parameters."""
    return (ids[start : start + _MAX_BATCH] for start in range(0, len(ids), _MAX_BATCH))


def _fallback_row(row: Any, target: str, now: datetime) -> dict[str, Any]:
    return {
        "notification_id": row.notification_id,
        "destination": target,
        "thread": row.thread,
        "state": DeliveryState.QUEUED.value,
        "due_at": now,
        "attempts": 0,
        "fault_count": 0,
        "created_at": now,
        # The destination that the rule named, even after several fallbacks.
        "instead_of": row.instead_of or row.destination,
        "severity": row.severity,
    }
