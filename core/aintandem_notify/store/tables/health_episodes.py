"""Keeps the agent's open trouble over a restart, and finds out who got a notice."""

from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from aintandem_notify.store.engine.schema import deliveries, meta, notifications
from aintandem_notify.store.tables.delivery_states import DeliveryState

_KEY_PREFIX: Final = "health/"
_NOTIFIED_STATES: Final = (DeliveryState.QUEUED, DeliveryState.DELIVERED)
"""A delivery that is dead or dropped notifies nobody."""


class HealthEpisodes:
    """The open trouble of each agent as one text; used inside a transaction of ``Store``.

    ``agent`` is the agent's name among those that share the store.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, agent: str) -> str | None:
        """Returns the text that was written last; None if there is none."""
        text: str | None = self._connection.execute(
            select(meta.c.value).where(meta.c.key == _key(agent))
        ).scalar_one_or_none()
        return text

    def write(self, agent: str, text: str | None) -> None:
        """Replaces the text. None deletes it."""
        key = _key(agent)
        if text is None:
            self._connection.execute(delete(meta).where(meta.c.key == key))
        elif not self._connection.execute(update(meta).where(meta.c.key == key).values(value=text)).rowcount:
            self._connection.execute(insert(meta), {"key": key, "value": text})

    def notified(self, event_key: str) -> tuple[str, ...]:
        """Returns the destinations that got or will get a notification about this event, fallbacks included."""
        statement = (
            select(deliveries.c.destination)
            .join(notifications, notifications.c.id == deliveries.c.notification_id)
            .where(notifications.c.event_key == event_key, deliveries.c.state.in_(_NOTIFIED_STATES))
            .order_by(deliveries.c.id)
        )
        return tuple(dict.fromkeys(self._connection.execute(statement).scalars()))


def _key(agent: str) -> str:
    return _KEY_PREFIX + blake2b(agent.encode(errors="surrogateescape"), digest_size=16).hexdigest()
