"""Lists, retries and drops deliveries for operators; ``control.deliveries`` is its caller.

Every method is called inside a transaction of ``Store``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, literal_column, select, update

from aintandem_notify.domain.event_redaction import redact_notification_json
from aintandem_notify.log import redact
from aintandem_notify.rules.globs import is_named
from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.notification_cache import NotificationCache

MAX_SCANNED: Final = 1000
"""Notifications that one search by name reads; our limit, so that the agent's own work waits only milliseconds."""
DROPPED: Final = "dropped by hand"
"""The reason of a delivery that an operator dropped."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Selects deliveries: None and an empty ``states`` mean all; ``since`` ≤ queued at < ``until``.

    ``project`` is an id, a name or a glob over both; so is ``task``, also over workflows and sandboxes.
    """

    destination: str | None = None
    states: tuple[DeliveryState, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    project: str | None = None
    task: str | None = None

    @property
    def has_names(self) -> bool:
        """True if it selects by texts of notifications, for which there is no index."""
        return self.project is not None or self.task is not None


@dataclass(frozen=True, slots=True)
class DeliveryScan:
    """Matching ids, newest first. The search goes on below the id ``before``; None: it has ended."""

    ids: list[int]
    before: int | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery with its notification and receipt.

    ``content``: the stored notification, without texts that have become known as secrets since; None if it was
    pruned. In a shared store, ``variant`` is the hash of the settings that the delivery is meant for. ``node`` is
    the only agent that can send it, and ``claimed_by`` the agent that has claimed it.
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
    taken_over_by: str | None
    plain: bool
    variant: str
    node: str | None
    claimed: bool
    claimed_by: str | None
    content: Mapping[str, Any] | None
    receipt: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The deliveries of a destination that were given up: their number, and time and reason of the newest."""

    count: int
    last_at: datetime
    reason: str


@dataclass(slots=True)
class BulkResult:
    """The result of a retry or drop: the changed ids, their destinations, and the reasons for refused ids."""

    changed: list[int] = field(default_factory=list)
    destinations: set[str] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)


_ID_LENGTH: Final = 36
"""Length of a notification's id: ntf_ and 32 hexadecimal digits."""

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
# All that the condition of the partial index names: only so the databases see that it fits.
_GIVEN_UP: Final = and_(
    deliveries_c.state == literal_column("'dead'"),
    deliveries_c.settled_at.is_not(None),
    deliveries_c.reason.is_not(None),
    deliveries_c.taken_over_by.is_(None),
    deliveries_c.reason.is_distinct_from(DROPPED),
)
# An expression, not the column: SQLite would group along an index that has all deliveries.
_DESTINATION_TO_COUNT: Final = deliveries_c.destination + literal_column("''")
GIVEN_UP_SINCE: Final = (
    select(_DESTINATION_TO_COUNT, func.count(), func.max(deliveries_c.settled_at))
    .where(_GIVEN_UP, deliveries_c.settled_at >= bindparam("since"))
    .group_by(_DESTINATION_TO_COUNT)
    .order_by(_DESTINATION_TO_COUNT)
)
GIVEN_UP_REASON: Final = (
    select(deliveries_c.reason)
    .where(_GIVEN_UP, deliveries_c.settled_at == bindparam("at"), deliveries_c.destination == bindparam("name"))
    .order_by(deliveries_c.id.desc())
    .limit(1)
)


_NEWEST_ID: Final = select(func.max(deliveries_c.id))


class DeliveryQueries:
    """Queries and changes of deliveries on an operator's behalf."""

    def __init__(self, connection: Connection, notification_cache: NotificationCache) -> None:
        self._connection = connection
        self._notification_cache = notification_cache

    def destinations(self) -> list[str]:
        """All destinations that have a delivery, in order; needs one index look-up for each."""
        destinations: list[str] = []
        first = select(func.min(deliveries_c.destination))
        name = self._connection.execute(first).scalar_one()
        while name is not None:
            destinations.append(name)
            name = self._connection.execute(first.where(deliveries_c.destination > name)).scalar_one()
        return destinations

    def scan(
        self, criteria: DeliveryFilter, *, limit: int, before: int | None = None, max_scanned: int = MAX_SCANNED
    ) -> DeliveryScan:
        """Up to ``limit`` matching ids that are less than ``before``.

        With names in ``criteria`` it reads at most ``max_scanned`` notifications, so it may find fewer at once.
        """
        if not criteria.has_names:
            matches = self.ids(criteria, limit=limit, before=before)
            return DeliveryScan(matches, matches[-1] if len(matches) == limit else None)
        candidates = self.ids(criteria, limit=max_scanned, before=before)
        matches = self._named(candidates, criteria)
        if len(matches) > limit:
            return DeliveryScan(matches[:limit], matches[limit - 1])
        return DeliveryScan(matches, candidates[-1] if len(candidates) == max_scanned else None)

    def _named(self, ids: list[int], criteria: DeliveryFilter) -> list[int]:
        """Those of ``ids`` whose notification is about the project and the task."""
        query = (
            select(deliveries_c.id, deliveries_c.thread, schema.notifications.c.content)
            .outerjoin(schema.notifications, schema.notifications.c.id == deliveries_c.notification_id)
            .where(deliveries_c.id.in_(ids))
            .order_by(deliveries_c.id.desc())
        )
        return [row.id for row in self._connection.execute(query) if _is_about(row, criteria)]

    def ids(self, criteria: DeliveryFilter, *, limit: int, before: int | None = None) -> list[int]:
        """The newest ``limit`` ids less than ``before`` that match in all but the names, newest first."""
        names = self.destinations() if criteria.destination is None else [criteria.destination]
        # One index look-up for each destination and state, so that no other rows are read.
        matches = (
            delivery_id
            for name in names
            for state in criteria.states or DeliveryState
            for delivery_id in self._connection.execute(_newest(name, state, criteria, limit, before)).scalars()
        )
        return nlargest(limit, matches)

    def newest_id(self) -> int:
        """The id of the newest delivery; 0 if there is none."""
        newest: int | None = self._connection.execute(_NEWEST_ID).scalar_one()
        return newest or 0

    def rows(self, ids: Collection[int]) -> list[DeliveryRow]:
        """The deliveries with these ids, newest first."""
        rows = self._connection.execute(
            _DELIVERY_ROWS.where(deliveries_c.id.in_(ids)).order_by(deliveries_c.id.desc())
        )
        return [_delivery_row(row) for row in rows]

    def get(self, delivery: int) -> DeliveryRow | None:
        """The delivery with this id; None if there is none."""
        row = self._connection.execute(_DELIVERY_ROWS.where(deliveries_c.id == delivery)).one_or_none()
        return None if row is None else _delivery_row(row)

    def given_up_since(self, since: datetime) -> dict[str, GivenUp]:
        """The deliveries that were given up at ``since`` or later, by destination.

        Omits those that a fallback took over, and those that an operator dropped. Cheap: reads only those rows.
        """
        given_up: dict[str, GivenUp] = {}
        for name, count, last_at in self._connection.execute(GIVEN_UP_SINCE, {"since": since}).all():
            reason = self._connection.execute(GIVEN_UP_REASON, {"at": last_at, "name": name}).scalar_one()
            given_up[name] = GivenUp(count, last_at, redact(reason or ""))
        return given_up

    def blocked_by(self, delivery: int) -> int | None:
        """The id of the delivery in the same thread that must be sent first; None if there is none."""
        earlier: int | None = self._connection.execute(
            select(_EARLIER_IN_THREAD.correlate(schema.deliveries).scalar_subquery()).where(
                deliveries_c.id == delivery
            )
        ).scalar_one_or_none()
        return earlier

    def find_by_notification(self, prefix: str, *, limit: int) -> list[tuple[int, str, str]]:
        """Up to ``limit`` deliveries by a prefix of their notification id: id, destination, notification id."""
        # BETWEEN uses the index in every database and text collation.
        has_prefix = deliveries_c.notification_id.between(prefix, prefix.ljust(_ID_LENGTH, "f"))
        query = select(deliveries_c.id, deliveries_c.destination, deliveries_c.notification_id).where(has_prefix)
        rows = self._connection.execute(
            query.order_by(deliveries_c.notification_id, deliveries_c.destination).limit(limit)
        )
        return [tuple(row) for row in rows]

    def retry(self, ids: Collection[int], *, now: datetime) -> BulkResult:
        """Queues dead or folded deliveries again as if they were new: queued now, with no tries counted."""
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
            "blame": 0,
            "taken_over_by": None,
            "claimed_by": None,
        }
        return self._change(ids, fresh, _retry_refusal)

    def drop(self, ids: Collection[int], *, now: datetime, in_flight: Collection[int]) -> BulkResult:
        """Marks queued deliveries dead. Leaves those ``in_flight`` alone, since they may have arrived already."""
        dead = {"state": DeliveryState.DEAD.value, "reason": DROPPED, "settled_at": now}
        return self._change(ids, dead, lambda row: _drop_refusal(row, in_flight))

    def _change(self, ids: Collection[int], values: Mapping[str, Any], refusal_of: Any) -> BulkResult:
        result = BulkResult()
        rows = self._rows(ids)
        for delivery_id in ids:
            reason = "there is no such delivery" if delivery_id not in rows else refusal_of(rows[delivery_id])
            if reason is not None:
                result.refused[delivery_id] = reason
            else:
                result.changed.append(delivery_id)
                result.destinations.add(rows[delivery_id].destination)
                self._notification_cache.remove(rows[delivery_id].destination, rows[delivery_id].notification_id)
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
        # Locks the rows in a shared store, so that no agent claims them during this change.
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


def _is_about(row: Any, criteria: DeliveryFilter) -> bool:
    content = _parse_object(row.content)
    if content is None:  # pruned: the thread still has the ids
        project_id, _, run_id, _ = row.thread.rsplit("/", 3) if row.thread.count("/") >= 3 else (None,) * 4
        projects, runs = [project_id], [run_id]
    else:
        project, run = content.get("project") or {}, content.get("run") or {}
        projects = [project.get("id"), project.get("name"), run.get("project_id")]
        runs = [run.get("id"), run.get("name"), run.get("workflow_id")]
    return (criteria.project is None or is_named(criteria.project, projects)) and (
        criteria.task is None or is_named(criteria.task, runs)
    )


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
        taken_over_by=row.taken_over_by,
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
    """Parses a stored JSON object; None if it is missing or cannot be parsed."""
    try:
        content = from_json(text or "null")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
