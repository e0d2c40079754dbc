"""What waits too long at a destination, or in too great a number: given up, handed over, or folded.

All of it happens inside a transaction of ``Store``; what is in somebody's hand is left alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.delivery_states import CONTENTS, QUEUED, DeliveryState, bury
from aintandem_notify.store.tables.notification_cache import NotificationCache


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
_FIRST: Final = select(_mine.created_at).where(QUEUED).order_by(_mine.id).limit(100)
_OLDEST: Final = select(func.min(_mine.created_at)).where(QUEUED)
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
_AT_ONCE: Final = 500


class Backlog:
    """The deliveries that wait where the store has one owner."""

    def __init__(self, connection: Connection, recent: NotificationCache) -> None:
        self._connection = connection
        self._recent = recent

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
            .where(QUEUED, _mine.created_at < older_than, _mine.thread != but_thread, _mine.id.not_in(spare))
            .order_by(_mine.id)
            .limit(most)
        )
        return self._free(destination, waiting)

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
            bury(self._connection, [row.id], now, f"{reasons[row.id]}; {how}")

    def size(self, destination: str, *, more_than: int, older_than: datetime) -> int | None:
        """How many wait, when it is more than that and one of the first waits since before ``older_than``."""
        if not self._any_waits_since(destination, older_than):
            return None
        beyond = select(_mine.id).where(QUEUED).order_by(_mine.id).offset(more_than).limit(1)
        if self._connection.execute(beyond, {"name": destination}).scalar_one_or_none() is None:
            return None
        waiting = select(func.count()).select_from(schema.deliveries).where(QUEUED)
        return self._connection.execute(waiting, {"name": destination}).scalar_one()

    def foldable(self, destination: str, severities: Sequence[str], *, most: int) -> list[tuple[int, str]]:
        """The ids and severities of the first that wait, have one of these, and are in nobody's hand."""
        waiting = select(_mine.id).where(QUEUED, _mine.severity.in_(severities)).order_by(_mine.id).limit(most)
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
        contents = self._connection.execute(CONTENTS, {"ids": shown})
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

    def _any_waits_since(self, destination: str, older_than: datetime) -> bool:
        # Looking at the first few is enough: they were queued in the order of their ids, but for what took the
        # place of others.
        first = self._connection.execute(_FIRST, {"name": destination}).scalars().all()
        return bool(first) and min(first) < older_than


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
