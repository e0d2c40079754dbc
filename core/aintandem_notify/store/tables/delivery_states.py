"""The states of deliveries, and the statements that several tables of the store use."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, and_, bindparam, select, update

from aintandem_notify.store.engine import schema


class DeliveryState(StrEnum):
    """The states of a delivery; stored as their values."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    DEAD = "dead"
    FOLDED = "folded"
    """Replaced by a summary of several deliveries."""


deliveries_c: Final = schema.deliveries.c
QUEUED_AT_DESTINATION: Final = and_(
    deliveries_c.destination == bindparam("name"), deliveries_c.state == DeliveryState.QUEUED.value
)
"""True for queued deliveries of the destination ``name``."""
NOTIFICATION_CONTENTS: Final = (
    select(schema.notifications.c.id, schema.notifications.c.content, schema.events.c.key, schema.events.c.wire)
    .join_from(schema.notifications, schema.events, schema.events.c.key == schema.notifications.c.event_key)
    .where(schema.notifications.c.id.in_(bindparam("ids", expanding=True)))
)
"""The stored notifications with these ``ids``, and their events."""


def mark_dead(
    connection: Connection, ids: Sequence[int], now: datetime, reason: str, taken_over_by: str | None = None
) -> None:
    """Marks these deliveries dead. ``taken_over_by``: the fallback that has the notification now."""
    dead = {
        "state": DeliveryState.DEAD.value,
        "reason": reason,
        "settled_at": now,
        "taken_over_by": taken_over_by,
    }
    connection.execute(update(schema.deliveries).where(deliveries_c.id.in_(ids)).values(dead))
