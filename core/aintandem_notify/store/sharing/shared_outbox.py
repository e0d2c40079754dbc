"""The outbox where several agents share a store: a claim is written down, and holds until it is settled.

No two agents get the same delivery, and none gets one whose thread has an earlier one open. An agent takes what
is meant for settings that are its own, or that no living agent has; and what can only be reached from its machine.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    exists,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from aintandem_notify.store.engine import schema
from aintandem_notify.store.sharing.membership import Membership
from aintandem_notify.store.tables import outbox
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.bulk_statement import Row as BulkRow
from aintandem_notify.store.tables.notification_cache import NotificationCache
from aintandem_notify.store.tables.outbox import Outbox

_mine: Final = schema.deliveries.c
_earlier: Final = schema.deliveries.alias("earlier_open").c
_theirs: Final = schema.agent_destinations.c
OPEN: Final[ColumnElement[str]] = literal_column("'queued'")


def _mine_to_make(of: Any) -> ColumnElement[bool]:
    """Whether this agent may make the delivery with these columns, were it in nobody's hand."""
    orphan = ~exists().where(_theirs.destination == of.destination, _theirs.variant == of.variant)
    settings = or_(of.variant.is_(None), of.variant == bindparam("variant"), orphan)
    return or_(of.node == bindparam("node"), and_(of.node.is_(None), settings))


def _not_in_hand(of: Any) -> ColumnElement[bool]:
    return or_(of.claimed_by.is_(None), of.claimed_by == bindparam("me"))


# What is bound to one machine has an order of its own there.
_AHEAD: Final = and_(
    _earlier.destination == _mine.destination,
    _earlier.thread == _mine.thread,
    _earlier.state == OPEN,
    _earlier.id < _mine.id,
    _earlier.node.is_not_distinct_from(_mine.node),
)
FREE: Final = and_(_not_in_hand(_mine), _mine_to_make(_mine))
LOCKED: Final[dict[str, Any]] = {"of": schema.deliveries, "skip_locked": True}
_PICK_ONE: Final = outbox.CLAIM.where(FREE, ~exists().where(_AHEAD)).with_for_update(**LOCKED)
_OTHERS_AHEAD: Final = exists().where(_AHEAD, ~and_(_not_in_hand(_earlier), _mine_to_make(_earlier)))
_PICK: Final = outbox.CLAIM.where(FREE, ~_OTHERS_AHEAD).with_for_update(**LOCKED)
# One that another agent is just claiming looks free; what comes after it in its thread must wait.
_BEHIND: Final = select(_mine.id).where(
    _mine.id.in_(bindparam("ids", expanding=True)),
    exists().where(_AHEAD, _earlier.id.not_in(bindparam("ids", expanding=True))),
)
_HOLD: Final = update(schema.deliveries).where(_mine.id.in_(bindparam("ids", expanding=True)))
_PUT_BACK: Final = (
    update(schema.deliveries)
    .where(_mine.claimed_by == bindparam("me"), _mine.destination == bindparam("name"))
    .values(claimed_by=null())
)
_WAITING: Final = text(
    "SELECT name FROM unnest(:names) AS mine(name) WHERE EXISTS (SELECT FROM deliveries"
    " WHERE destination = name AND state = 'queued' AND claimed_by IS NULL)"
).bindparams(bindparam("names", type_=ARRAY(Text)))
_SETTLE: Final = BulkStatement(
    update(schema.deliveries)
    .where(
        _mine.id == bindparam("delivery"),
        _mine.state == OPEN,
        _not_in_hand(_mine),
    )
    .values({name: bindparam(name) for name in outbox.SETTLED} | {"claimed_by": null()}),
    (*outbox.SETTLED, "delivery", "me"),
)


class SharedOutbox(Outbox):
    """The delivery side of a store that several agents share; one that has not joined them only looks."""

    def __init__(self, connection: Connection, recent: NotificationCache, membership: Membership) -> None:
        super().__init__(connection, recent)
        self._membership = membership

    def _pick(self, asked: Mapping[str, Any]) -> Sequence[Any]:
        values = {**asked, **asked_by(self._membership, asked["name"])}
        if asked["most"] == 1:
            rows = self._connection.execute(_PICK_ONE, values).all()
        else:
            rows = self._connection.execute(_PICK, values).all()
            if rows:
                behind = set(self._connection.execute(_BEHIND, {"ids": [row.id for row in rows]}).scalars())
                rows = [row for row in rows if row.id not in behind]
        if rows and self._membership.id is not None:
            ids = [row.id for row in rows]
            self._connection.execute(_HOLD.values(claimed_by=self._membership.id), {"ids": ids})
        return rows

    def put_back(self, destination: str) -> None:
        """What was claimed for this destination and is not in hand any more is free again."""
        self._connection.execute(_PUT_BACK, {**self._me, "name": destination})

    def _record(self, rows: Sequence[BulkRow]) -> None:
        # One that was given up and is claimed by another agent now is that agent's to settle.
        _SETTLE.run(self._connection, [(*row, self._membership.id) for row in rows])

    def waiting(self, destinations: Sequence[str]) -> set[str]:
        """Those of the destinations that have something in nobody's hand; cheap, whatever waits."""
        return set(self._connection.execute(_WAITING, {"names": list(destinations)}).scalars())

    @property
    def _me(self) -> dict[str, Any]:
        return {"me": self._membership.id}


def asked_by(membership: Membership, destination: str) -> dict[str, Any]:
    """What ``FREE`` has to know of this agent and its destination."""
    mine = membership.configured.get(destination)
    return {"me": membership.id, "variant": mine.variant if mine else None, "node": membership.node}
