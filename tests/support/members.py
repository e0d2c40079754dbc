"""Agents that have joined one PostgreSQL store."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from aintandem_notify.store import Store
from aintandem_notify.store.sharing.membership import ConfiguredDestination, Membership
from support.outbox import claim_all, inside

HERE = "slack.a"
SAME = {HERE: ConfiguredDestination("same")}

Join = Callable[..., Store]


def member(store: Store) -> Membership:
    assert isinstance(store.membership, Membership)
    return store.membership


def sql(store: Store, statement: str, **values: Any) -> list[Any]:
    with store.transaction(fenced=False):
        result = store._connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


def expire(store: Store) -> None:
    """Ends the agent's lease, which nobody has noticed yet."""
    sql(store, "UPDATE agents SET expires_at = 0 WHERE id = :me", me=member(store).id)


def titles(store: Store, limit: int = 1, destination: str = HERE) -> list[str]:
    """The titles of the notifications that this agent claims."""
    return [claim.notification.title for claim in claim_all(destination, limit)(store)]


def remove_expired(store: Store) -> int:
    return inside(lambda store: member(store).remove_expired())(store)
