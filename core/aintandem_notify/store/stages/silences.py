"""The silences of a store. Every method is called inside a transaction of ``Store``."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from aintandem_notify.stages.silences import Silence
from aintandem_notify.store.engine import schema

silences_c: Final = schema.silences.c


class Silences:
    """The silences, active and past."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_shared = connection.dialect.name == "postgresql"

    def add(self, silence: Silence) -> None:
        """Store a new silence."""
        self._connection.execute(
            insert(schema.silences),
            {
                "id": silence.id,
                "matchers": json.dumps(dict(silence.matchers)),
                "begins_at": silence.begins_at,
                "expires_at": silence.expires_at,
                "owner": silence.owner,
                "reason": silence.reason,
            },
        )

    def active(self, now: datetime, *, lock: bool = False) -> list[Silence]:
        """Those that have not expired, the next to expire first.

        ``lock``: in a shared store nobody can end them before the transaction ends, so they may hold more.
        """
        query = select(schema.silences).where(silences_c.expires_at > now).order_by(silences_c.expires_at)
        if lock and self._is_shared:
            query = query.with_for_update(read=True)
        return [_silence(row) for row in self._connection.execute(query)]

    def by_ids(self, silence_ids: Collection[str]) -> list[Silence]:
        """The silences with these ids, also those that have ended."""
        if not silence_ids:
            return []
        query = select(schema.silences).where(silences_c.id.in_(silence_ids))
        return [_silence(row) for row in self._connection.execute(query)]

    def end(self, silence_ids: Sequence[str], now: datetime) -> None:
        """End these silences."""
        self._connection.execute(
            update(schema.silences).where(silences_c.id.in_(silence_ids)).values(expires_at=now)
        )

    def mark_announced(self, silence_id: str, now: datetime) -> bool:
        """Note that people are told of its end; False if another agent has told them."""
        changed = self._connection.execute(
            update(schema.silences)
            .where(silences_c.id == silence_id, silences_c.announced_at.is_(None))
            .values(announced_at=now)
        )
        return changed.rowcount == 1


def _silence(row: Any) -> Silence:
    return Silence(
        row.id,
        json.loads(row.matchers),
        row.begins_at,
        row.expires_at,
        row.owner,
        row.reason,
        is_announced=row.announced_at is not None,
    )
