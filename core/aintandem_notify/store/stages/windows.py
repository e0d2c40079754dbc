"""The windows of groups, throttles and cooldowns. Every method is called inside a transaction of ``Store``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, select, text, tuple_

from aintandem_notify.stages.pipeline import Stage, Window, WindowKey
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds

windows_c: Final = schema.stage_windows.c
_MAX_BATCH: Final = 300


class StageWindows:
    """The windows of a store, by stage, destination and key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, keys: Iterable[WindowKey]) -> dict[WindowKey, Window]:
        """The stored windows. To decide by them, lock their destinations first."""
        ordered = sorted({(key.stage.value, key.destination, key.key) for key in keys})
        found: dict[WindowKey, Window] = {}
        for start in range(0, len(ordered), _MAX_BATCH):
            batch = ordered[start : start + _MAX_BATCH]
            query = select(schema.stage_windows).where(
                tuple_(windows_c.stage, windows_c.destination, windows_c.key).in_(batch)
            )
            for row in self._connection.execute(query):
                found[WindowKey(Stage(row.stage), row.destination, row.key)] = Window(row.ends_at, row.passed)
        return found

    def write(self, windows: Mapping[WindowKey, Window]) -> None:
        """Store these windows."""
        if windows:
            self._connection.execute(
                text(
                    "INSERT INTO stage_windows (stage, destination, key, ends_at, passed) "
                    "VALUES (:stage, :destination, :key, :ends_at, :passed) "
                    "ON CONFLICT (stage, destination, key) DO UPDATE "
                    "SET ends_at = excluded.ends_at, passed = excluded.passed"
                ),
                [
                    {
                        "stage": key.stage.value,
                        "destination": key.destination,
                        "key": key.key,
                        "ends_at": to_microseconds(window.ends_at),
                        "passed": window.passed,
                    }
                    for key, window in sorted(windows.items())
                ],
            )

    def forget(self, keys: Sequence[WindowKey]) -> None:
        """Close these windows."""
        for start in range(0, len(keys), _MAX_BATCH):
            batch = [(key.stage.value, key.destination, key.key) for key in keys[start : start + _MAX_BATCH]]
            self._connection.execute(
                delete(schema.stage_windows).where(
                    tuple_(windows_c.stage, windows_c.destination, windows_c.key).in_(batch)
                )
            )
