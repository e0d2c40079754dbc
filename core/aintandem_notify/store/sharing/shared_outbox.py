"""The outbox of a shared store: a claim is stored and holds until the delivery is settled or released.

No two agents claim the same delivery, and no agent claims a delivery while an earlier one of its thread is queued,
unless the same claim takes both. An agent
claims deliveries that are meant for its own settings, or for settings that no living agent has. A delivery to a
destination that only one machine can reach is claimed by that agent alone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from aintandem_notify.store.engine import schema
from aintandem_notify.store.sharing.membership import Membership
from aintandem_notify.store.tables import outbox
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.bulk_statement import Row as BulkRow
from aintandem_notify.store.tables.notification_cache import NotificationCache
from aintandem_notify.store.tables.outbox import Outbox, exists_for_each

deliveries_c: Final = schema.deliveries.c
earlier_c: Final = schema.deliveries.alias("earlier_open").c
agent_destinations_c: Final = schema.agent_destinations.c
QUEUED_STATE: Final[ColumnElement[str]] = literal_column("'queued'")


def _is_for_this_agent(columns: Any) -> ColumnElement[bool]:
    """Whether this agent may send the delivery with these columns, if it is unclaimed."""
    no_agent_has_settings = ~exists().where(
        agent_destinations_c.destination == columns.destination, agent_destinations_c.variant == columns.variant
    )
    may_use_settings = or_(
        columns.variant.is_(None), columns.variant == bindparam("own_variant"), no_agent_has_settings
    )
    return or_(columns.node == bindparam("own_node"), and_(columns.node.is_(None), may_use_settings))


def _is_unclaimed_or_ours(columns: Any) -> ColumnElement[bool]:
    return or_(columns.claimed_by.is_(None), columns.claimed_by == bindparam("me"))


# Deliveries that are bound to one agent have their own order.
_EARLIER_IN_THREAD: Final = and_(
    earlier_c.destination == deliveries_c.destination,
    earlier_c.thread == deliveries_c.thread,
    earlier_c.state == QUEUED_STATE,
    earlier_c.id < deliveries_c.id,
    earlier_c.node.is_not_distinct_from(deliveries_c.node),
)
CLAIMABLE: Final = and_(_is_unclaimed_or_ours(deliveries_c), _is_for_this_agent(deliveries_c))
SKIP_LOCKED: Final[dict[str, Any]] = {"of": schema.deliveries, "skip_locked": True}
_UNDER_WAY: Final = bindparam("under_way", type_=ARRAY(BigInteger))
_FIRST_OF_THREADS: Final = {
    name: query.with_for_update(**SKIP_LOCKED)
    for name, query in outbox.first_of_threads(
        ~exists_for_each(_EARLIER_IN_THREAD), lambda column: column == any_(_UNDER_WAY), CLAIMABLE
    ).items()
}


def _claimed(query: Any) -> Any:
    """The query that claims the deliveries that ``query`` finds, and returns their rows; it is one round trip."""
    due = query.cte("due")
    return (
        update(schema.deliveries)
        .where(deliveries_c.id == due.c.id)
        .values(claimed_by=bindparam("me"))
        .returning(*due.c)
    )


_CLAIM_FIRST_OF_THREADS: Final = {name: _claimed(query) for name, query in _FIRST_OF_THREADS.items()}
_IS_BEHIND_OTHERS: Final = exists_for_each(
    _EARLIER_IN_THREAD, ~and_(_is_unclaimed_or_ours(earlier_c), _is_for_this_agent(earlier_c))
)
_DUE_MANY: Final = outbox.DUE_DELIVERIES.where(CLAIMABLE, ~_IS_BEHIND_OTHERS).with_for_update(**SKIP_LOCKED)
# A delivery that another agent is claiming now still looks unclaimed; later ones of its thread must wait.
_OUT_OF_ORDER: Final = select(deliveries_c.id).where(
    deliveries_c.id.in_(bindparam("ids", expanding=True)),
    exists_for_each(_EARLIER_IN_THREAD, earlier_c.id.not_in(bindparam("ids", expanding=True))),
)
_SET_CLAIM: Final = update(schema.deliveries).where(deliveries_c.id.in_(bindparam("ids", expanding=True)))
_RELEASE_CLAIMS: Final = (
    update(schema.deliveries)
    .where(deliveries_c.claimed_by == bindparam("me"), deliveries_c.destination == bindparam("name"))
    .values(claimed_by=null())
)
_WITH_UNCLAIMED: Final = text(
    "SELECT name FROM unnest(:names) AS mine(name) WHERE EXISTS (SELECT FROM deliveries"
    " WHERE destination = name AND state = 'queued' AND claimed_by IS NULL)"
).bindparams(bindparam("names", type_=ARRAY(Text)))
_UPDATE_SETTLED: Final = BulkStatement(
    update(schema.deliveries)
    .where(
        deliveries_c.id == bindparam("delivery"),
        deliveries_c.state == QUEUED_STATE,
        _is_unclaimed_or_ours(deliveries_c),
    )
    .values({name: bindparam(name) for name in outbox.SETTLED_COLUMNS} | {"claimed_by": null()}),
    (*outbox.SETTLED_COLUMNS, "delivery", "me"),
)


class SharedOutbox(Outbox):
    """The delivery side of a shared store; before this agent has joined, ``claim`` stores no claims."""

    def __init__(
        self, connection: Connection, notification_cache: NotificationCache, membership: Membership
    ) -> None:
        super().__init__(connection, notification_cache)
        self._membership = membership

    def _select_due(self, parameters: Mapping[str, Any]) -> Sequence[Any]:
        values = {"under_way": [], "after": 0, **parameters}
        values |= agent_parameters(self._membership, parameters["name"])
        is_member = self._membership.id is not None
        if "under_way" in parameters or parameters["limit"] == 1:
            kind = next((name for name in ("window", "beyond") if name in parameters), "after")
            queries = _CLAIM_FIRST_OF_THREADS if is_member else _FIRST_OF_THREADS
            rows = self._connection.execute(queries[kind], values).all()
            return sorted(rows, key=lambda row: row.id)
        rows = self._connection.execute(_DUE_MANY, values).all()
        if rows:
            ids = [row.id for row in rows]
            out_of_order = set(self._connection.execute(_OUT_OF_ORDER, {"ids": ids}).scalars())
            rows = [row for row in rows if row.id not in out_of_order]
        if rows and is_member:
            ids = [row.id for row in rows]
            self._connection.execute(_SET_CLAIM.values(claimed_by=self._membership.id), {"ids": ids})
        return rows

    def release_claims(self, destination: str, ids: Collection[int] | None = None) -> None:
        """Releases this agent's claims of these deliveries, by default of all."""
        query = _RELEASE_CLAIMS if ids is None else _RELEASE_CLAIMS.where(deliveries_c.id.in_(ids))
        self._connection.execute(query, {**self._me, "name": destination})

    def _update_settled(self, rows: Sequence[BulkRow]) -> None:
        # A delivery that another agent has claimed meanwhile is left for that agent to settle.
        _UPDATE_SETTLED.run(self._connection, [(*row, self._membership.id) for row in rows])

    def destinations_with_work(self, destinations: Sequence[str]) -> set[str]:
        """The destinations that have an unclaimed delivery; the cost does not depend on their number."""
        return set(self._connection.execute(_WITH_UNCLAIMED, {"names": list(destinations)}).scalars())

    @property
    def _me(self) -> dict[str, Any]:
        return {"me": self._membership.id}


def agent_parameters(membership: Membership, destination: str) -> dict[str, Any]:
    """The parameters of ``CLAIMABLE`` for this agent and the destination."""
    destination_settings = membership.destinations.get(destination)
    return {
        "me": membership.id,
        "own_variant": destination_settings.variant if destination_settings else None,
        "own_node": membership.node,
    }
