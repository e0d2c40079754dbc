"""The backlog where several agents share a store: what any of them has in hand is left alone."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from aintandem_notify.store.engine import schema
from aintandem_notify.store.sharing.membership import Membership
from aintandem_notify.store.sharing.shared_outbox import FREE, LOCKED, OPEN, asked_by
from aintandem_notify.store.tables.backlog import Backlog
from aintandem_notify.store.tables.delivery_states import bury
from aintandem_notify.store.tables.notification_cache import NotificationCache

MOST_EXPIRED: Final = 2000
"""Deliveries that are given up in one transaction; the others wait for the next look."""

_mine: Final = schema.deliveries.c


class SharedBacklog(Backlog):
    """The deliveries that wait for whichever agent."""

    def __init__(self, connection: Connection, recent: NotificationCache, membership: Membership) -> None:
        super().__init__(connection, recent)
        self._membership = membership

    def expire(
        self, destination: str, *, older_than: datetime, now: datetime, reason: str, spare: Collection[int] = ()
    ) -> int:
        """As for one owner, but what any agent has in hand is spared, and at most ``MOST_EXPIRED`` end at once."""
        if not self._any_waits_since(destination, older_than):
            return 0
        old = (
            select(_mine.id)
            .where(_mine.destination == destination, _mine.state == OPEN, _mine.created_at < older_than)
            .where(_mine.claimed_by.is_(None), _mine.id.not_in(spare))
            .order_by(_mine.id)
            .limit(MOST_EXPIRED)
            .with_for_update(**LOCKED)
        )
        ids = self._connection.execute(old).scalars().all()
        bury(self._connection, ids, now, reason)
        self._recent.forget(destination)
        return len(ids)

    def _free(self, destination: str, waiting: Select[Any]) -> list[int]:
        asked = {**asked_by(self._membership, destination), "name": destination}
        free = waiting.where(FREE, _mine.claimed_by.is_(None)).with_for_update(**LOCKED)
        return list(self._connection.execute(free, asked).scalars())

    def _place(self, destination: str) -> tuple[str | None, str | None]:
        return self._membership.place(destination)
