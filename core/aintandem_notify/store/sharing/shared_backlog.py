"""The backlog of a shared store: deliveries that any agent has claimed are left alone."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from aintandem_notify.store.engine import schema
from aintandem_notify.store.sharing.membership import Membership
from aintandem_notify.store.sharing.shared_outbox import CLAIMABLE, QUEUED_STATE, SKIP_LOCKED, agent_parameters
from aintandem_notify.store.tables.backlog import Backlog
from aintandem_notify.store.tables.delivery_states import mark_dead
from aintandem_notify.store.tables.notification_cache import NotificationCache

MAX_EXPIRED: Final = 2000
"""Deliveries that expire in one transaction; the others expire in later ones."""

deliveries_c: Final = schema.deliveries.c


class SharedBacklog(Backlog):
    """The queued deliveries of a shared store. Changes unclaimed deliveries only."""

    def __init__(
        self, connection: Connection, notification_cache: NotificationCache, membership: Membership
    ) -> None:
        super().__init__(connection, notification_cache, membership.placement)
        self._membership = membership

    def expire(
        self,
        destination: str,
        *,
        older_than: datetime,
        now: datetime,
        reason: str,
        exclude_ids: Collection[int] = (),
    ) -> int:
        """As in ``Backlog``, but omits claimed deliveries and expires at most ``MAX_EXPIRED``."""
        old = (
            select(deliveries_c.id)
            .where(
                deliveries_c.destination == destination,
                deliveries_c.state == QUEUED_STATE,
                deliveries_c.created_at < older_than,
            )
            .where(deliveries_c.claimed_by.is_(None), deliveries_c.id.not_in(exclude_ids))
            .order_by(deliveries_c.id)
            .limit(MAX_EXPIRED)
            .with_for_update(**SKIP_LOCKED)
        )
        ids = self._connection.execute(old).scalars().all()
        if ids:
            mark_dead(self._connection, ids, now, reason)
            self._notification_cache.remove_all(destination)
        return len(ids)

    def _select_unclaimed(self, destination: str, waiting: Select[Any]) -> list[int]:
        parameters = {**agent_parameters(self._membership, destination), "name": destination}
        claimable = waiting.where(CLAIMABLE, deliveries_c.claimed_by.is_(None)).with_for_update(**SKIP_LOCKED)
        return list(self._connection.execute(claimable, parameters).scalars())
