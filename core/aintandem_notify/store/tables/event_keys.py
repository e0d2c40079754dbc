"""The keys of events as the journal has them.

A SQLite store has the time before each key, so that new entries of its indexes stand together. With 200,000 events
in it, keys in no order cost two pages of indexes for each event. Two kinds of keys have no time: those of the
agent's own events, which are few and are looked up by their keys, and all in PostgreSQL, where an agent of the
previous version may look for them.

An upgraded SQLite store also has events of an earlier version, without times in their keys.
"""

import math
from typing import Final

from sqlalchemy import Connection, select

from aintandem_notify.domain.events import AgentEvent, Event
from aintandem_notify.store.engine.schema import BARE_KEYS_KEY, meta, to_microseconds

NEVER: Final = -math.inf
"""A time before that of every event; an event of a clock that was not set may be of 1970."""

_KEY_LENGTH: Final = 32
_BARE_KEYS_UNTIL: Final = select(meta.c.value).where(meta.c.key == BARE_KEYS_KEY)


def keys_have_times(connection: Connection) -> bool:
    """True if keys in this database begin with times."""
    return connection.dialect.name == "sqlite"


def timed_key(event: Event) -> str:
    """The event's key with its time. Events with equal keys have equal times, so it is as unique."""
    if isinstance(event, AgentEvent):
        return event.key
    return f"{to_microseconds(event.timestamp) // 1000:012x}{event.key}"


def key_of(stored_key: str) -> str:
    """The key of the event that is stored under ``stored_key``, in any database."""
    return stored_key[-_KEY_LENGTH:]


def bare_keys_until(connection: Connection) -> float:
    """The time of the latest event of an earlier version, in microseconds since 1970.

    ``NEVER`` if there is none.
    """
    stored = connection.execute(_BARE_KEYS_UNTIL).scalar_one_or_none()
    return NEVER if stored is None else int(stored)
