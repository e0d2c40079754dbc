"""The delivery workers' side of the store: claims the next deliveries of a destination and records their results.

Here a claim is only a read. The store has one owner and a destination has one worker, so the worker knows in
memory which deliveries are in flight. Those that were in flight when the agent was killed are claimed again.
``sharing.shared_outbox`` stores claims for several agents. Every method is called inside a transaction of
``Store``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, and_, bindparam, exists, func, insert, literal_column, or_, select, update

from aintandem_notify.domain.event_redaction import redact_event, redact_notification, strip_texts
from aintandem_notify.domain.events import restore_event, restore_event_json
from aintandem_notify.domain.notification import SECRETS_FIELD, Notification
from aintandem_notify.log import get_logger, may_hold_secret, secrets_generation
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.bulk_statement import Row as BulkRow
from aintandem_notify.store.tables.delivery_states import (
    NOTIFICATION_CONTENTS,
    QUEUED_AT_DESTINATION,
    DeliveryState,
    mark_dead,
)
from aintandem_notify.store.tables.event_keys import key_of
from aintandem_notify.store.tables.notification_cache import NotificationCache

WINDOW: Final = 1000
"""Queued deliveries that are read at most to find the first ones of threads."""

log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery to be sent now. ``attempts``, ``fault``, ``fault_count`` and ``blame`` describe earlier tries.

    ``plain``: this is the last try, as plain text. ``instead_of``: the destination that this is the fallback
    for.
    """

    id: int
    destination: str
    notification: Notification
    created_at: datetime
    attempts: int = 0
    fault: str | None = None
    fault_count: int = 0
    plain: bool = False
    instead_of: str | None = None
    blame: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """The state of a claimed delivery after a try. A ``receipt`` is stored for its thread.

    ``due_at``: time of the next try of a queued delivery; ``plain``: whether that try is plain text.
    """

    claim: Claim
    state: DeliveryState
    at: datetime
    due_at: datetime
    attempts: int = 0
    fault: str | None = None
    fault_count: int = 0
    plain: bool = False
    reason: str | None = None
    receipt: Mapping[str, Any] | None = None
    blame: int = 0


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The number of queued deliveries at a destination; ``oldest``: when the oldest of them was queued."""

    destination: str
    queued: int
    oldest: datetime


deliveries_c: Final = schema.deliveries.c
earlier_deliveries: Final = schema.deliveries.alias("earlier")


def _is_not_due(columns: Any) -> Any:
    """Whether a delivery is not due yet. A due time after ``horizon`` is due.

    No pause is that long, so the clock was set back after the due time was stored.
    """
    return and_(columns.due_at > bindparam("now"), columns.due_at <= bindparam("horizon"))


def exists_for_each(*conditions: Any) -> Any:
    """True for a row of the query around it if there is a row with these conditions.

    PostgreSQL would join a plain EXISTS. As long as it has no statistics of a new table, it then reads the whole
    queue for each row of the queue, which takes seconds. The offset of nothing forbids the join.
    """
    return exists(select(literal_column("1")).where(*conditions).offset(0))


_IS_BLOCKED: Final = exists_for_each(
    earlier_deliveries.c.destination == deliveries_c.destination,
    earlier_deliveries.c.thread == deliveries_c.thread,
    earlier_deliveries.c.state == DeliveryState.QUEUED.value,
    earlier_deliveries.c.id < deliveries_c.id,
    _is_not_due(earlier_deliveries.c),
)
QUEUED_DUE: Final = (
    select(
        deliveries_c.id,
        deliveries_c.notification_id,
        deliveries_c.created_at,
        deliveries_c.attempts,
        deliveries_c.fault,
        deliveries_c.fault_count,
        deliveries_c.plain,
        deliveries_c.instead_of,
        deliveries_c.blame,
        schema.receipts.c.receipt,
    )
    .select_from(
        schema.deliveries.outerjoin(
            schema.receipts,
            and_(
                schema.receipts.c.destination == deliveries_c.destination,
                schema.receipts.c.thread == deliveries_c.thread,
            ),
        )
    )
    .where(
        QUEUED_AT_DESTINATION,
        or_(deliveries_c.due_at <= bindparam("now"), deliveries_c.due_at > bindparam("horizon")),
    )
    .order_by(deliveries_c.id)
    .limit(bindparam("limit"))
)
DUE_DELIVERIES: Final = QUEUED_DUE.where(~_IS_BLOCKED)
MAX_ID: Final = 2**63 - 1


def first_of_threads(
    is_first: Any, ids_under_way: Callable[[Any], Any], is_claimable: Any = None
) -> dict[str, Any]:
    """The queries for due deliveries that are the first of their thread, by the parameter that each needs.

    "window": only the first so many queued ones are read. Otherwise the long queue of one thread would be read to
    its end each time. "beyond": only those behind that window. "after": only those with a higher id. "thread":
    only those of the thread.

    ``ids_under_way``: nothing of their threads is read. An earlier one may have been queued again by hand.

    ``is_claimable``: only such deliveries are read; None: all. The window does not count the others, since those
    of another agent may fill it for days.
    """
    claimable = () if is_claimable is None else (is_claimable,)
    end_of_window, beginning_beyond = (
        select(deliveries_c.id)
        .where(QUEUED_AT_DESTINATION, *claimable)
        .order_by(deliveries_c.id)
        .limit(1)
        .offset(bindparam(name))
        .scalar_subquery()
        for name in ("window", "beyond")
    )
    threads_under_way = select(earlier_deliveries.c.thread).where(ids_under_way(earlier_deliveries.c.id))
    due = QUEUED_DUE.where(is_first, deliveries_c.thread.not_in(threads_under_way), *claimable)
    return {
        "window": due.where(deliveries_c.id < func.coalesce(end_of_window, MAX_ID)),
        "beyond": due.where(deliveries_c.id >= beginning_beyond),
        "after": due.where(deliveries_c.id > bindparam("after")),
        "thread": due.where(deliveries_c.thread == bindparam("thread")),
    }


def extra_parameter(parameters: Mapping[str, Any]) -> str:
    """The key of ``first_of_threads`` for these parameters."""
    return next(name for name in ("after", "thread", "window", "beyond") if name in parameters)


# JSON, since a list of parameters would need a statement for each length.
_UNDER_WAY: Final = func.json_each(bindparam("under_way")).table_valued("value")
_FIRST_OF_THREADS: Final = first_of_threads(
    ~exists().where(
        earlier_deliveries.c.destination == deliveries_c.destination,
        earlier_deliveries.c.thread == deliveries_c.thread,
        earlier_deliveries.c.state == DeliveryState.QUEUED.value,
        earlier_deliveries.c.id < deliveries_c.id,
    ),
    lambda column: column.in_(select(_UNDER_WAY.c.value)),
)
_NEXT_DUE: Final = select(func.min(deliveries_c.due_at)).where(QUEUED_AT_DESTINATION, _is_not_due(deliveries_c))
SETTLED_COLUMNS: Final = (
    "state",
    "due_at",
    "attempts",
    "fault",
    "fault_count",
    "reason",
    "settled_at",
    "plain",
    "blame",
)
_UPDATE_SETTLED: Final = BulkStatement(
    update(schema.deliveries)
    .where(deliveries_c.id == bindparam("delivery"))
    .values({name: bindparam(name) for name in SETTLED_COLUMNS}),
    (*SETTLED_COLUMNS, "delivery"),
)
_QUEUES: Final = (
    select(deliveries_c.destination, func.count(), func.min(deliveries_c.created_at))
    .where(deliveries_c.state == DeliveryState.QUEUED.value)
    .group_by(deliveries_c.destination)
    .order_by(deliveries_c.destination)
)
receipts_c: Final = schema.receipts.c


class Outbox:
    """The delivery side of the store."""

    def __init__(self, connection: Connection, notification_cache: NotificationCache) -> None:
        self._connection = connection
        self._notification_cache = notification_cache

    def claim(
        self,
        destination: str,
        *,
        limit: int,
        now: datetime,
        horizon: datetime,
        thread: str | None = None,
        after: int | None = None,
        under_way: Collection[int] | None = None,
        beyond_window: bool = False,
    ) -> list[Claim]:
        """Returns up to ``limit`` due deliveries in order, without those behind an earlier one that is not due.

        ``horizon``: the latest due time that an unchanged clock can have set, which is now plus the longest pause.
        Each notification's ``previous`` is the receipt that its thread has now. A delivery that cannot be read
        back is marked dead.

        With ``under_way``, the ids of deliveries that are being sent, returns none of their threads, and each is
        the first of its thread; only the first ``WINDOW`` queued deliveries are read to find them, or
        ``beyond_window`` all the others. Each is also the first of its thread with ``after``: then all have a
        higher id, and the whole queue is read; and with a ``thread``: then a store with one owner returns
        deliveries of this thread only.
        """
        parameters: dict[str, Any] = {"name": destination, "limit": limit, "now": now, "horizon": horizon}
        if after is not None:
            parameters["after"] = after
        elif thread is not None:
            parameters["thread"] = thread
        elif under_way is not None:
            parameters["beyond" if beyond_window else "window"] = WINDOW
        if after is not None or thread is not None or under_way is not None:
            parameters["under_way"] = list(under_way or ())
        while True:
            rows = self._select_due(parameters)
            notifications = self._notifications(destination, [row.notification_id for row in rows])
            claims, unreadable = [], []
            for row in rows:
                try:
                    claims.append(_claim(destination, row, notifications[row.notification_id]))
                except (KeyError, ValueError):
                    unreadable.append(row.id)
            if not unreadable:
                return claims
            mark_dead(self._connection, unreadable, now, "cannot be read back from the store")

    def _select_due(self, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows of due deliveries, in order."""
        if "under_way" not in parameters:
            return self._connection.execute(DUE_DELIVERIES, parameters).all()
        values = {**parameters, "under_way": to_json(parameters["under_way"]).decode()}
        return self._connection.execute(_FIRST_OF_THREADS[extra_parameter(parameters)], values).all()

    def destinations_with_work(self, destinations: Sequence[str]) -> set[str]:
        """The destinations that may have new deliveries unknown to this agent; with one owner, all of them."""
        return set(destinations)

    def release_claims(self, destination: str, ids: Collection[int] | None = None) -> None:
        """Releases this agent's claims of these deliveries, by default of all. No-op in a store with one owner."""

    def _update_settled(self, rows: Sequence[BulkRow]) -> None:
        """Stores the rows that ``_settled_row`` made."""
        _UPDATE_SETTLED.run(self._connection, rows)

    def read_notification(self, notification_id: str) -> Notification | None:
        """The stored notification; None if there is none, or if it cannot be read back."""
        return self._notifications("", [notification_id]).get(notification_id)

    def _notifications(self, destination: str, ids: Sequence[str]) -> dict[str, Notification]:
        """The notifications by id, from the cache if possible; omits those that cannot be read back."""
        notifications = {
            notification_id: cached
            for notification_id in ids
            if (cached := self._notification_cache.get(destination, notification_id))
        }
        missing = [notification_id for notification_id in ids if notification_id not in notifications]
        if missing:
            for row in self._connection.execute(NOTIFICATION_CONTENTS, {"ids": missing}).all():
                with suppress(ValueError):
                    notifications[row.id] = _notification(row)
        return notifications

    def next_due(self, destination: str, *, now: datetime, horizon: datetime) -> datetime | None:
        """The time at which the first waiting delivery becomes due; None if all queued ones are due."""
        due: datetime | None = self._connection.execute(
            _NEXT_DUE, {"name": destination, "now": now, "horizon": horizon}
        ).scalar_one()
        return due

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Records the results of tries."""
        self._update_settled([_settled_row(settlement) for settlement in settlements])
        for settlement in settlements:
            if settlement.state is not DeliveryState.QUEUED:
                self._notification_cache.remove(settlement.claim.destination, settlement.claim.notification.id)
            if settlement.receipt is not None:
                self._store_receipt(settlement, settlement.receipt)

    def queues(self) -> dict[str, QueueStats]:
        """The queues of all destinations that have one, including those that no config names any more."""
        return {
            destination: QueueStats(destination, count, oldest)
            for destination, count, oldest in self._connection.execute(_QUEUES)
        }

    def _store_receipt(self, settlement: Settlement, receipt: Mapping[str, Any]) -> None:
        claim = settlement.claim
        row = {"receipt": to_json(receipt).decode(), "updated_at": settlement.at}
        changed = self._connection.execute(
            update(schema.receipts)
            .where(receipts_c.destination == claim.destination, receipts_c.thread == claim.notification.thread)
            .values(row)
        )
        if changed.rowcount == 0:
            key = {"destination": claim.destination, "thread": claim.notification.thread}
            self._connection.execute(insert(schema.receipts), row | key)


def _notification(row: Any) -> Notification:
    """The stored notification, without texts that have become known as secrets since."""
    content = from_json(row.content)
    key = key_of(row.key)
    event = restore_event_json(row.wire, key)
    if (stored_event := content.get("event")) is not None:
        redacted_event = restore_event(stored_event, key)
        event = redacted_event if type(redacted_event) is type(event) else redact_event(event)
    notification = Notification.model_validate(content | {"event": event})
    # Otherwise it was rendered by another process, or before the latest secrets were registered.
    is_clean = content.get(SECRETS_FIELD) == secrets_generation()
    if is_clean or not may_hold_secret(f"{row.content}\n{row.wire}"):
        return notification
    try:
        return redact_notification(notification)
    except Exception as error:  # better without its text than not at all
        log.error("a notification goes out without its text", id=row.id, exc_info=error)
        return strip_texts(notification)


def _claim(destination: str, row: Any, notification: Notification) -> Claim:
    if row.receipt is not None:
        notification = notification.model_copy(update={"previous": from_json(row.receipt)})
    return Claim(
        id=row.id,
        destination=destination,
        notification=notification,
        created_at=row.created_at,
        attempts=row.attempts,
        fault=row.fault,
        fault_count=row.fault_count,
        plain=row.plain,
        instead_of=row.instead_of,
        blame=row.blame,
    )


def _settled_row(settlement: Settlement) -> BulkRow:
    return (
        settlement.state.value,
        to_microseconds(settlement.due_at),
        settlement.attempts,
        settlement.fault,
        settlement.fault_count,
        settlement.reason,
        None if settlement.state is DeliveryState.QUEUED else to_microseconds(settlement.at),
        settlement.plain,
        settlement.blame,
        settlement.claim.id,
    )
