"""What people ask of the deliveries, and do to them by hand. All of it inside a transaction of ``Store``."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from aintandem_notify.domain.event_redaction import redact_notification_json
from aintandem_notify.log import redact
from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.notification_cache import NotificationCache

DROPPED: Final = "dropped by hand"
"""The reason of a delivery that somebody gave up."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are meant: None and an empty ``states`` are all; ``since`` ≤ queued at < ``until``."""

    destination: str | None = None
    states: tuple[DeliveryState, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as it stands; ``content`` is its notification as it is kept, but for what has become known as a
    secret since; None when it is not there any more.

    Where several agents share the store, ``variant`` tells which settings it is meant for, ``node`` which agent
    alone can make it, and ``claimed_by`` which one has it in hand.
    """

    id: int
    notification_id: str
    destination: str
    thread: str
    state: DeliveryState
    created_at: datetime
    due_at: datetime
    settled_at: datetime | None
    attempts: int
    fault: str | None
    fault_count: int
    reason: str | None
    instead_of: str | None
    plain: bool
    variant: str
    node: str | None
    claimed: bool
    claimed_by: str | None
    content: Mapping[str, Any] | None
    receipt: Mapping[str, Any] | None


@dataclass(slots=True)
class BulkResult:
    """What was done: the ``changed`` deliveries' ids, their destinations, and why others were left alone."""

    changed: list[int] = field(default_factory=list)
    destinations: set[str] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)


_ID_LENGTH: Final = 36
"""Characters of a notification's id: ntf_ and 32 hexadecimal digits."""

deliveries_c: Final = schema.deliveries.c
earlier_c: Final = schema.deliveries.alias("earlier_of_its_run").c
_DELIVERY_ROWS: Final = select(
    schema.deliveries,
    schema.notifications.c.content,
    schema.receipts.c.receipt,
    schema.agents.c.node.label("claimant"),
).select_from(
    schema.deliveries.outerjoin(schema.notifications, schema.notifications.c.id == deliveries_c.notification_id)
    .outerjoin(
        schema.receipts,
        and_(
            schema.receipts.c.destination == deliveries_c.destination,
            schema.receipts.c.thread == deliveries_c.thread,
        ),
    )
    .outerjoin(schema.agents, schema.agents.c.id == deliveries_c.claimed_by)
)
_EARLIER_IN_THREAD: Final = (
    select(func.max(earlier_c.id))
    .where(earlier_c.destination == deliveries_c.destination, earlier_c.thread == deliveries_c.thread)
    .where(earlier_c.state == DeliveryState.QUEUED.value, earlier_c.id < deliveries_c.id)
    .where(earlier_c.node.is_not_distinct_from(deliveries_c.node))
)


class DeliveryQueries:
    """The deliveries as people see them."""

    def __init__(self, connection: Connection, notification_cache: NotificationCache) -> None:
        self._connection = connection
        self._notification_cache = notification_cache

    def destinations(self) -> list[str]:
        """Every destination that has a delivery, in order; one step in the index for each."""
        found: list[str] = []
        first = select(func.min(deliveries_c.destination))
        name = self._connection.execute(first).scalar_one()
        while name is not None:
            found.append(name)
            name = self._connection.execute(first.where(deliveries_c.destination > name)).scalar_one()
        return found

    def ids(self, criteria: DeliveryFilter, *, limit: int, before: int | None = None) -> list[int]:
        """The newest ids that are meant and less than ``before``, newest first; at most ``limit``."""
        names = self.destinations() if criteria.destination is None else [criteria.destination]
        # One look into the index for each destination and state: whatever else there is, is not read.
        found = (
            one
            for name in names
            for state in criteria.states or DeliveryState
            for one in self._connection.execute(_newest(name, state, criteria, limit, before)).scalars()
        )
        return nlargest(limit, found)

    def page(self, criteria: DeliveryFilter, *, limit: int, before: int | None = None) -> list[DeliveryRow]:
        """As ``ids``, the deliveries themselves."""
        ids = self.ids(criteria, limit=limit, before=before)
        rows = self._connection.execute(
            _DELIVERY_ROWS.where(deliveries_c.id.in_(ids)).order_by(deliveries_c.id.desc())
        )
        return [_delivery_row(row) for row in rows]

    def get(self, delivery: int) -> DeliveryRow | None:
        """One delivery; None if there is none of this id."""
        row = self._connection.execute(_DELIVERY_ROWS.where(deliveries_c.id == delivery)).one_or_none()
        return None if row is None else _delivery_row(row)

    def blocked_by(self, delivery: int) -> int | None:
        """The delivery of the same run that must go before this one; None if there is none."""
        found: int | None = self._connection.execute(
            select(_EARLIER_IN_THREAD.correlate(schema.deliveries).scalar_subquery()).where(
                deliveries_c.id == delivery
            )
        ).scalar_one_or_none()
        return found

    def find_by_notification(self, prefix: str, *, limit: int) -> list[tuple[int, str, str]]:
        """Id, destination and notification id of at most ``limit`` whose notification's id begins so."""
        # Between the least and the greatest that it can be: in every database's order of texts, by the index.
        has_prefix = deliveries_c.notification_id.between(prefix, prefix.ljust(_ID_LENGTH, "f"))
        query = select(deliveries_c.id, deliveries_c.destination, deliveries_c.notification_id).where(has_prefix)
        rows = self._connection.execute(
            query.order_by(deliveries_c.notification_id, deliveries_c.destination).limit(limit)
        )
        return [tuple(row) for row in rows]

    def retry(self, ids: Collection[int], *, now: datetime) -> BulkResult:
        """Queue what was given up once more, as if it were new: it waits since now, and no try counts."""
        fresh = {
            "state": DeliveryState.QUEUED.value,
            "due_at": now,
            "created_at": now,
            "attempts": 0,
            "fault": None,
            "fault_count": 0,
            "reason": None,
            "settled_at": None,
            "plain": False,
            "claimed_by": None,
        }
        return self._change(ids, fresh, _retry_refusal)

    def drop(self, ids: Collection[int], *, now: datetime, in_flight: Collection[int]) -> BulkResult:
        """Give up what is queued; what is ``in_flight`` may have arrived already and is left alone."""
        dead = {"state": DeliveryState.DEAD.value, "reason": DROPPED, "settled_at": now}
        return self._change(ids, dead, lambda row: _drop_refusal(row, in_flight))

    def _change(self, ids: Collection[int], values: Mapping[str, Any], refusal_of: Any) -> BulkResult:
        result = BulkResult()
        rows = self._rows(ids)
        for one in ids:
            reason = "there is no such delivery" if one not in rows else refusal_of(rows[one])
            if reason is not None:
                result.refused[one] = reason
            else:
                result.changed.append(one)
                result.destinations.add(rows[one].destination)
                self._notification_cache.remove(rows[one].destination, rows[one].notification_id)
        if result.changed:
            self._connection.execute(
                update(schema.deliveries).where(deliveries_c.id.in_(result.changed)).values(values)
            )
        return result

    def _rows(self, ids: Iterable[int]) -> dict[int, Any]:
        columns = (
            deliveries_c.id,
            deliveries_c.destination,
            deliveries_c.notification_id,
            deliveries_c.state,
            deliveries_c.claimed_by,
        )
        # Locked where several agents share the store, so that none claims what is changed here.
        query = select(*columns).where(deliveries_c.id.in_(ids)).order_by(deliveries_c.id).with_for_update()
        return {row.id: row for row in self._connection.execute(query)}


def _newest(name: str, state: DeliveryState, criteria: DeliveryFilter, limit: int, before: int | None) -> Any:
    conditions: list[ColumnElement[bool]] = [deliveries_c.destination == name, deliveries_c.state == state.value]
    if before is not None:
        conditions.append(deliveries_c.id < before)
    if criteria.since is not None:
        conditions.append(deliveries_c.created_at >= criteria.since)
    if criteria.until is not None:
        conditions.append(deliveries_c.created_at < criteria.until)
    return select(deliveries_c.id).where(*conditions).order_by(deliveries_c.id.desc()).limit(limit)


def _retry_refusal(row: Any) -> str | None:
    match row.state:
        case DeliveryState.QUEUED.value:
            return "it is queued already"
        case DeliveryState.DELIVERED.value:
            return "it was delivered"
        case _:
            return None


def _drop_refusal(row: Any, in_flight: Collection[int]) -> str | None:
    if row.state != DeliveryState.QUEUED.value:
        return f"it is {row.state}"
    if row.id in in_flight or row.claimed_by is not None:
        return "it is on its way at this moment"
    return None


def _delivery_row(row: Any) -> DeliveryRow:
    return DeliveryRow(
        id=row.id,
        notification_id=row.notification_id,
        destination=row.destination,
        thread=row.thread,
        state=DeliveryState(row.state),
        created_at=row.created_at,
        due_at=row.due_at,
        settled_at=row.settled_at,
        attempts=row.attempts,
        fault=row.fault,
        fault_count=row.fault_count,
        reason=row.reason and redact(row.reason),
        instead_of=row.instead_of,
        plain=row.plain,
        variant=row.variant or "",
        node=row.node,
        claimed=row.claimed_by is not None,
        claimed_by=row.claimant,
        content=_redacted_content(row.content),
        receipt=_parse_object(row.receipt),
    )


def _redacted_content(text: str | None) -> Mapping[str, Any] | None:
    content = _parse_object(text)
    return None if content is None else redact_notification_json(content)


def _parse_object(text: str | None) -> Mapping[str, Any] | None:
    """What is kept as JSON; None for what is not there or cannot be read back."""
    try:
        found = from_json(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
