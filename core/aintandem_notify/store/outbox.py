"""What the workers ask and record: the next deliveries of a destination, how they went, what waited too long.

A claim is only a read: the store has one owner and a destination one worker, so what is in flight is known in
memory, and what was in flight when the agent was killed is simply claimed again. All of it happens inside a
transaction of ``Store``.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Select, and_, bindparam, exists, func, insert, or_, select, update

from aintandem_notify.events import restore_event
from aintandem_notify.notification import Notification
from aintandem_notify.store import schema
from aintandem_notify.store.bulk import Bulk
from aintandem_notify.store.bulk import Row as BulkRow
from aintandem_notify.store.recent import Recent
from aintandem_notify.store.schema import microseconds


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    DEAD = "dead"
    FOLDED = "folded"
    """A summary told of it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery to be made now. ``attempts``, ``fault`` and ``fault_count`` tell of earlier tries.

    ``plain``: this is the last one, as plain text. ``instead_of``: the destination that this one stands in for.
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


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claimed delivery stands after a try; ``receipt`` is kept for the thread when there is one.

    ``due_at`` is when a queued one may be tried again, ``plain`` whether as plain text.
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


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits at a destination; ``oldest`` is since when the oldest one waits."""

    destination: str
    queued: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What some deliveries are about: how many events of each type, of how many threads, some of their names.

    ``oldest`` and ``newest`` are when the first and the last of the events happened; ``first`` is the id of the
    first notification.
    """

    first: str
    types: Mapping[str, int]
    threads: int
    names: Sequence[str]
    oldest: datetime
    newest: datetime


_mine: Final = schema.deliveries.c
_earlier: Final = schema.deliveries.alias("earlier")


def _waits(columns: Any) -> Any:
    """Not due yet. A time beyond every pause we give comes from a clock that was set back: that is due."""
    return and_(columns.due_at > bindparam("now"), columns.due_at <= bindparam("horizon"))


_QUEUED: Final = and_(_mine.destination == bindparam("name"), _mine.state == DeliveryState.QUEUED.value)
_BLOCKED: Final = exists().where(
    _earlier.c.destination == _mine.destination,
    _earlier.c.thread == _mine.thread,
    _earlier.c.state == DeliveryState.QUEUED.value,
    _earlier.c.id < _mine.id,
    _waits(_earlier.c),
)
CLAIM: Final = (
    select(
        _mine.id,
        _mine.notification_id,
        _mine.created_at,
        _mine.attempts,
        _mine.fault,
        _mine.fault_count,
        _mine.plain,
        _mine.instead_of,
        schema.receipts.c.receipt,
    )
    .select_from(
        schema.deliveries.outerjoin(
            schema.receipts,
            and_(
                schema.receipts.c.destination == _mine.destination,
                schema.receipts.c.thread == _mine.thread,
            ),
        )
    )
    .where(
        _QUEUED,
        or_(_mine.due_at <= bindparam("now"), _mine.due_at > bindparam("horizon")),
        ~_BLOCKED,
    )
    .order_by(_mine.id)
    .limit(bindparam("most"))
)
_CLAIM_OF_THREAD: Final = CLAIM.where(_mine.thread == bindparam("thread"))
_CONTENTS: Final = (
    select(schema.notifications.c.id, schema.notifications.c.content, schema.events.c.wire)
    .join_from(schema.notifications, schema.events, schema.events.c.key == schema.notifications.c.event_key)
    .where(schema.notifications.c.id.in_(bindparam("ids", expanding=True)))
)
_NEXT_DUE: Final = select(func.min(_mine.due_at)).where(_QUEUED, _waits(_mine))
SETTLED: Final = ("state", "due_at", "attempts", "fault", "fault_count", "reason", "settled_at", "plain")
_SETTLE: Final = Bulk(
    update(schema.deliveries)
    .where(_mine.id == bindparam("delivery"))
    .values({name: bindparam(name) for name in SETTLED}),
    (*SETTLED, "delivery"),
)
_FIRST: Final = select(_mine.created_at).where(_QUEUED).order_by(_mine.id).limit(100)
_OLDEST: Final = select(func.min(_mine.created_at)).where(_QUEUED)
_QUEUES: Final = (
    select(_mine.destination, func.count(), func.min(_mine.created_at))
    .where(_mine.state == DeliveryState.QUEUED.value)
    .group_by(_mine.destination)
    .order_by(_mine.destination)
)
_TO_TAKE_OVER: Final = (
    select(_mine.id, _mine.notification_id, _mine.destination, _mine.thread, _mine.instead_of, _mine.severity)
    .where(
        _mine.id.in_(bindparam("ids", expanding=True)),
        _mine.claimed_by.is_(None),
        # Where several agents share the store another one may have delivered it meanwhile.
        _mine.state.in_([DeliveryState.QUEUED.value, DeliveryState.DEAD.value]),
    )
    .order_by(_mine.id)
)
_TOLD: Final = (
    select(_mine.notification_id, _mine.thread, schema.events.c.type, schema.events.c.occurred_at)
    .join_from(schema.deliveries, schema.notifications, schema.notifications.c.id == _mine.notification_id)
    .join(schema.events, schema.events.c.key == schema.notifications.c.event_key)
    .where(_mine.id.in_(bindparam("ids", expanding=True)))
    .order_by(_mine.id)
)
_HAS: Final = select(_mine.notification_id).where(
    _mine.destination == bindparam("name"), _mine.notification_id.in_(bindparam("notifications", expanding=True))
)
_theirs: Final = schema.receipts.c
_AT_ONCE: Final = 500


class Outbox:
    """The delivery side of the store."""

    def __init__(self, connection: Connection, recent: Recent) -> None:
        self._connection = connection
        self._recent = recent

    def claim(
        self, destination: str, *, most: int, now: datetime, horizon: datetime, thread: str | None = None
    ) -> list[Claim]:
        """Up to ``most`` due deliveries in order; one whose thread has an earlier one waiting is left out.

        ``horizon`` is the latest due time that can be honest: now and the longest pause. ``previous`` is the
        receipt that the thread has in the store at this moment. One that cannot be read back is made dead. With a
        ``thread`` a store with one owner leaves all others waiting.
        """
        asked: dict[str, Any] = {"name": destination, "most": most, "now": now, "horizon": horizon}
        if thread is not None:
            asked["thread"] = thread
        while True:
            rows = self._pick(asked)
            found = self._notifications(destination, [row.notification_id for row in rows])
            claims, unreadable = [], []
            for row in rows:
                try:
                    claims.append(_claim(destination, row, found[row.notification_id]))
                except (KeyError, ValueError):
                    unreadable.append(row.id)
            if not unreadable:
                return claims
            self._bury(unreadable, now, "cannot be read back from the store")

    def _pick(self, asked: Mapping[str, Any]) -> Sequence[Any]:
        """What is due, in order."""
        return self._connection.execute(_CLAIM_OF_THREAD if "thread" in asked else CLAIM, asked).all()

    def waiting(self, destinations: Sequence[str]) -> set[str]:
        """Those of the destinations that may have something that nobody told this agent of."""
        return set(destinations)

    def put_back(self, destination: str) -> None:
        """What was claimed for this destination and is not in hand any more is free again."""

    def _record(self, rows: Sequence[BulkRow]) -> None:
        """How the deliveries stand, as ``_settled_row`` has it."""
        _SETTLE.run(self._connection, rows)

    def _notifications(self, destination: str, ids: Sequence[str]) -> dict[str, Notification]:
        """By their ids, from memory where they are there; what cannot be read back is left out."""
        found = {one: kept for one in ids if (kept := self._recent.get(destination, one))}
        missing = [one for one in ids if one not in found]
        if missing:
            for row in self._connection.execute(_CONTENTS, {"ids": missing}).all():
                with suppress(ValueError):
                    found[row.id] = _notification(row)
        return found

    def next_due(self, destination: str, *, now: datetime, horizon: datetime) -> datetime | None:
        """When the first waiting delivery becomes due; None when none waits for a time."""
        due: datetime | None = self._connection.execute(
            _NEXT_DUE, {"name": destination, "now": now, "horizon": horizon}
        ).scalar_one()
        return due

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how tries went."""
        self._record([_settled_row(settlement) for settlement in settlements])
        for settlement in settlements:
            if settlement.state is not DeliveryState.QUEUED:
                self._recent.remove(settlement.claim.destination, settlement.claim.notification.id)
            if settlement.receipt is not None:
                self._keep_receipt(settlement, settlement.receipt)

    def expire(
        self, destination: str, *, older_than: datetime, now: datetime, reason: str, spare: Collection[int] = ()
    ) -> int:
        """Make dead what waits since before ``older_than``, except the ids in ``spare``; how many."""
        # Not the first few: thousands that are queued once more by hand wait since then, whatever their ids.
        oldest = self._connection.execute(_OLDEST, {"name": destination}).scalar_one()
        if oldest is None or oldest >= older_than:
            return 0
        self._recent.forget(destination)
        return self._connection.execute(
            update(schema.deliveries)
            .where(
                _mine.destination == destination,
                _mine.state == DeliveryState.QUEUED.value,
                _mine.created_at < older_than,
                _mine.id.not_in(spare),
            )
            .values(state=DeliveryState.DEAD.value, reason=reason, settled_at=now)
        ).rowcount

    def waiting_since(
        self, destination: str, *, older_than: datetime, spare: Collection[int], but_thread: str, most: int
    ) -> list[int]:
        """The first ids of what waits since before ``older_than`` and nobody has in hand.

        The ids in ``spare`` and what belongs to the thread ``but_thread`` are left out.
        """
        if not self._any_waits_since(destination, older_than):
            return []
        waiting = (
            select(_mine.id)
            .where(_QUEUED, _mine.created_at < older_than, _mine.thread != but_thread, _mine.id.not_in(spare))
            .order_by(_mine.id)
            .limit(most)
        )
        return self._free(destination, waiting)

    def backlog(self, destination: str, *, more_than: int, older_than: datetime) -> int | None:
        """How many wait, when it is more than that and one of the first waits since before ``older_than``."""
        if not self._any_waits_since(destination, older_than):
            return None
        beyond = select(_mine.id).where(_QUEUED).order_by(_mine.id).offset(more_than).limit(1)
        if self._connection.execute(beyond, {"name": destination}).scalar_one_or_none() is None:
            return None
        waiting = select(func.count()).select_from(schema.deliveries).where(_QUEUED)
        return self._connection.execute(waiting, {"name": destination}).scalar_one()

    def foldable(self, destination: str, severities: Sequence[str], *, most: int) -> list[tuple[int, str]]:
        """The ids and severities of the first that wait, have one of these, and are in nobody's hand."""
        waiting = select(_mine.id).where(_QUEUED, _mine.severity.in_(severities)).order_by(_mine.id).limit(most)
        levels: dict[int, str] = {}
        for some in _portions(self._free(destination, waiting)):
            rows = self._connection.execute(select(_mine.id, _mine.severity).where(_mine.id.in_(some)))
            levels.update((row.id, row.severity) for row in rows)
        return sorted(levels.items())

    def told(self, ids: Sequence[int], *, most_names: int) -> Told:
        """What these deliveries tell of, which are in order."""
        types: Counter[str] = Counter()
        first: dict[str, str] = {}
        moments: list[datetime] = []
        for some in _portions(ids):
            for row in self._connection.execute(_TOLD, {"ids": some}):
                types[row.type] += 1
                first.setdefault(row.thread, row.notification_id)
                moments.append(row.occurred_at)
        shown = list(first.values())[:most_names]
        contents = self._connection.execute(_CONTENTS, {"ids": shown})
        names = {row.id: _name(from_json(row.content)) for row in contents}
        return Told(
            first=shown[0],
            types=types,
            threads=len(first),
            names=list(dict.fromkeys(names[one] for one in shown if one in names)),
            oldest=min(moments),
            newest=max(moments),
        )

    def fold(self, destination: str, ids: Sequence[int], summary: str, now: datetime) -> None:
        """These end, for the notification ``summary`` tells of them; its delivery takes the place of the first."""
        for some in _portions(ids):
            ended = {"state": DeliveryState.FOLDED.value, "reason": f"in the summary {summary}", "settled_at": now}
            self._connection.execute(update(schema.deliveries).where(_mine.id.in_(some)).values(ended))
        self._recent.forget(destination)
        place = ids[0]
        number = self._connection.execute(
            select(_mine.id).where(_mine.notification_id == summary, _mine.destination == destination)
        ).scalar_one()
        # The order of delivery is the order of the ids, so the two change theirs.
        for old, new in ((place, -number), (number, place), (-number, number)):
            self._connection.execute(update(schema.deliveries).where(_mine.id == old).values(id=new))
        # One summary is never part of another.
        self._connection.execute(update(schema.deliveries).where(_mine.id == place).values(severity=None))

    def _free(self, destination: str, waiting: Select[Any]) -> list[int]:
        """Those of the ids that nobody has in hand, and nobody else gets in this transaction."""
        return list(self._connection.execute(waiting, {"name": destination}).scalars())

    def _place(self, destination: str) -> tuple[str | None, str | None]:  # noqa: ARG002  # for who shares a store
        """For which settings, and for which machine alone, a delivery is meant; both None with one owner."""
        return None, None

    def take_over(self, reasons: Mapping[int, str], target: str, now: datetime) -> None:
        """These deliveries end dead, each with its reason and who took over: ``target`` delivers instead.

        It gets a delivery of its own for each notification that it does not have already. Few enough at once for
        the database's limit on parameters.
        """
        if not reasons:
            return
        rows = self._connection.execute(_TO_TAKE_OVER, {"ids": list(reasons)}).all()
        has = set(
            self._connection.execute(
                _HAS, {"name": target, "notifications": [row.notification_id for row in rows]}
            ).scalars()
        )
        variant, node = self._place(target)
        fresh = [_taken_over(row, target, now) for row in rows if row.notification_id not in has]
        if fresh:
            self._connection.execute(insert(schema.deliveries).values(variant=variant, node=node), fresh)
        for row in rows:
            how = f"{target} has it already" if row.notification_id in has else f"{target} took over"
            self._recent.remove(row.destination, row.notification_id)
            self._bury([row.id], now, f"{reasons[row.id]}; {how}")

    def _any_waits_since(self, destination: str, older_than: datetime) -> bool:
        # Looking at the first few is enough: they were queued in the order of their ids, but for what took the
        # place of others.
        first = self._connection.execute(_FIRST, {"name": destination}).scalars().all()
        return bool(first) and min(first) < older_than

    def _bury(self, ids: Sequence[int], now: datetime, reason: str) -> None:
        dead = {"state": DeliveryState.DEAD.value, "reason": reason, "settled_at": now}
        self._connection.execute(update(schema.deliveries).where(_mine.id.in_(ids)).values(dead))

    def queues(self) -> dict[str, Queue]:
        """Every destination that has something waiting, also those that no config names any more."""
        return {
            destination: Queue(destination, count, oldest)
            for destination, count, oldest in self._connection.execute(_QUEUES)
        }

    def _keep_receipt(self, settlement: Settlement, receipt: Mapping[str, Any]) -> None:
        claim = settlement.claim
        row = {"receipt": to_json(receipt).decode(), "updated_at": settlement.at}
        changed = self._connection.execute(
            update(schema.receipts)
            .where(_theirs.destination == claim.destination, _theirs.thread == claim.notification.thread)
            .values(row)
        )
        if changed.rowcount == 0:
            names = {"destination": claim.destination, "thread": claim.notification.thread}
            self._connection.execute(insert(schema.receipts), row | names)


def _notification(row: Any) -> Notification:
    return Notification.model_validate(from_json(row.content) | {"event": restore_event(from_json(row.wire))})


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
    )


def _name(content: Mapping[str, Any]) -> str:
    """What a stored notification is about: its run, else what its title says."""
    run = content.get("run")
    return str(run["name"] if run else content.get("title", ""))


def _portions(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    """Few enough at once for every database's limit on parameters."""
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _taken_over(row: Any, target: str, now: datetime) -> dict[str, Any]:
    return {
        "notification_id": row.notification_id,
        "destination": target,
        "thread": row.thread,
        "state": DeliveryState.QUEUED.value,
        "due_at": now,
        "attempts": 0,
        "fault_count": 0,
        "created_at": now,
        # The one that the rule named, also when several took over in turn.
        "instead_of": row.instead_of or row.destination,
        "severity": row.severity,
    }


def _settled_row(settlement: Settlement) -> BulkRow:
    return (
        settlement.state.value,
        microseconds(settlement.due_at),
        settlement.attempts,
        settlement.fault,
        settlement.fault_count,
        settlement.reason,
        None if settlement.state is DeliveryState.QUEUED else microseconds(settlement.at),
        settlement.plain,
        settlement.claim.id,
    )
