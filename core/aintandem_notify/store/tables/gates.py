"""How destinations stand, kept over a restart; in wall-clock times, which ``delivery`` turns into waits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql

from aintandem_notify.store.engine import schema


@dataclass(frozen=True, slots=True)
class GateRow:
    """One destination as it was at ``updated_at``.

    Nothing is sent before ``retry_at`` (trouble; ``asked`` for by the destination itself, or not) and ``slot_at``
    (rate), None where nothing holds it back; and nothing at all while it is ``paused`` by hand. ``settings`` is
    a hash of where the destination was then, None if that is not known.
    """

    state: str
    failures: int
    updated_at: datetime
    retry_at: datetime | None = None
    asked: bool = False
    slot_at: datetime | None = None
    paused: bool = False
    last_error: str | None = None
    settings: str | None = None


_STATE_COLUMNS: Final = (
    "state",
    "failures",
    "updated_at",
    "retry_at",
    "asked",
    "slot_at",
    "paused",
    "last_error",
    "settings",
)
gates_c: Final = schema.gates.c
_MATCHES_KEY: Final = and_(gates_c.destination == bindparam("name"), gates_c.variant == bindparam("of"))
_SELECT: Final = select(*(gates_c[value] for value in _STATE_COLUMNS)).where(_MATCHES_KEY)
_INSERT_IF_MISSING: Final = postgresql.insert(schema.gates).on_conflict_do_nothing()
_UPDATE: Final = update(schema.gates).where(_MATCHES_KEY)


class Gates:
    """The gates in the store, one for each destination; used inside a transaction of ``Store``.

    ``variant`` tells apart differently configured destinations of one name, where several agents share a store.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, destination: str, variant: str = "", *, lock: bool = False) -> GateRow | None:
        """How it stands; None when nothing of it had to be kept yet.

        ``lock``: nobody else that shares the store reads it so until the transaction ends.
        """
        query = _SELECT.with_for_update() if lock else _SELECT
        row = self._connection.execute(query, {"name": destination, "of": variant}).one_or_none()
        return None if row is None else GateRow(*row)

    def variants(self, destination: str, *, paused: bool | None = None) -> list[str]:
        """For which settings something is kept, in order; with ``paused`` only where that is so."""
        query = select(gates_c.variant).where(gates_c.destination == destination).order_by(gates_c.variant)
        if paused is not None:
            query = query.where(gates_c.paused.is_(paused))
        return list(self._connection.execute(query).scalars())

    def unpause(self, destination: str) -> None:
        """End a pause by hand for all settings: a later one must not find it again."""
        is_paused = and_(gates_c.destination == destination, gates_c.paused)
        self._connection.execute(update(schema.gates).where(is_paused).values(paused=False))

    def ensure(self, destination: str, row: GateRow, variant: str) -> None:
        """Keep it if nothing of it was kept yet, so that it can be locked."""
        values = {value: getattr(row, value) for value in _STATE_COLUMNS}
        self._connection.execute(_INSERT_IF_MISSING, {"destination": destination, "variant": variant, **values})

    def write(self, destination: str, row: GateRow, variant: str = "") -> None:
        """Keep it in the place of what was known."""
        values = {value: getattr(row, value) for value in _STATE_COLUMNS}
        changed = self._connection.execute(_UPDATE.values(values), {"name": destination, "of": variant})
        if changed.rowcount == 0:
            names = {"destination": destination, "variant": variant}
            self._connection.execute(insert(schema.gates), values | names)
