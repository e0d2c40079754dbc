"""Stores the gate of each destination, with wall-clock times from which ``delivery`` computes waits."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Connection, Insert, and_, bindparam, insert, select, update

from aintandem_notify.store.engine import schema


@dataclass(frozen=True, slots=True)
class GateRow:
    """The stored gate of one destination, as of ``updated_at``.

    Nothing is sent before ``retry_at`` (after a failure) and ``slot_at`` (rate limit); None means no wait.
    ``asked``: the destination itself asked for ``retry_at``. Nothing at all is sent while ``paused``, which an
    operator sets. ``address_hash``: a hash of the destination's address at that time, None if unknown.
    ``since``: the time since which the destination is in trouble, or paused; None if it is well, or unknown.
    ``probe_after`` and ``doubted``: as in ``delivery.gate``.
    """

    state: str
    failures: int
    updated_at: datetime
    retry_at: datetime | None = None
    asked: bool = False
    slot_at: datetime | None = None
    paused: bool = False
    last_error: str | None = None
    address_hash: str | None = None
    since: datetime | None = None
    probe_after: int | None = None
    doubted: bool = False


_STATE_COLUMNS: Final = {
    "state": "state",
    "failures": "failures",
    "updated_at": "updated_at",
    "retry_at": "retry_at",
    "asked": "asked",
    "slot_at": "slot_at",
    "paused": "paused",
    "last_error": "last_error",
    "address_hash": "settings",
    "since": "since",
    "probe_after": "probe_after",
    "doubted": "doubted",
}
"""The fields of ``GateRow`` in order, each with its column."""

gates_c: Final = schema.gates.c
_MATCHES_KEY: Final = and_(gates_c.destination == bindparam("name"), gates_c.variant == bindparam("settings_hash"))
_SELECT: Final = select(*(gates_c[column] for column in _STATE_COLUMNS.values())).where(_MATCHES_KEY)
_UPDATE: Final = update(schema.gates).where(_MATCHES_KEY)


@cache
def _insert_if_missing() -> Insert:
    from sqlalchemy.dialects import postgresql  # with all its drivers, which nobody else has to wait for

    return postgresql.insert(schema.gates).on_conflict_do_nothing()


class Gates:
    """The stored gates, one for each destination; used inside a transaction of ``Store``.

    ``variant``: in a shared store, the hash of the destination's settings. Each variant has its own gate.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, destination: str, variant: str = "", *, lock: bool = False) -> GateRow | None:
        """The gate of the destination; None if none is stored yet.

        ``lock``: locks the row until the transaction ends, so that no other agent reads it with ``lock``.
        """
        query = _SELECT.with_for_update() if lock else _SELECT
        row = self._connection.execute(query, {"name": destination, "settings_hash": variant}).one_or_none()
        return None if row is None else GateRow(*row)

    def variants(self, destination: str, *, paused: bool | None = None) -> list[str]:
        """The variants that have a gate, in order; with ``paused`` only the gates with that value."""
        query = select(gates_c.variant).where(gates_c.destination == destination).order_by(gates_c.variant)
        if paused is not None:
            query = query.where(gates_c.paused.is_(paused))
        return list(self._connection.execute(query).scalars())

    def unpause(self, destination: str) -> None:
        """Ends an operator's pause for all variants, so that a variant configured later is not paused either."""
        is_paused = and_(gates_c.destination == destination, gates_c.paused)
        self._connection.execute(update(schema.gates).where(is_paused).values(paused=False))

    def ensure(self, destination: str, row: GateRow, variant: str) -> None:
        """Inserts the gate if none is stored yet, so that it can be locked."""
        values = {column: getattr(row, name) for name, column in _STATE_COLUMNS.items()}
        self._connection.execute(_insert_if_missing(), {"destination": destination, "variant": variant, **values})

    def write(self, destination: str, row: GateRow, variant: str = "") -> None:
        """Inserts or replaces the gate."""
        values = {column: getattr(row, name) for name, column in _STATE_COLUMNS.items()}
        changed = self._connection.execute(_UPDATE.values(values), {"name": destination, "settings_hash": variant})
        if changed.rowcount == 0:
            names = {"destination": destination, "variant": variant}
            self._connection.execute(insert(schema.gates), values | names)
