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
        self._is_shared = connection.dialect.name == "postgresql"

    def read(self, keys: Iterable[WindowKey], *, lock: bool = True) -> dict[WindowKey, Window]:
        """The stored windows.

        In a shared store no other agent can change them until the transaction ends, unless ``lock`` is false.
        """
        locks = lock and self._is_shared
        ordered = sorted({(key.stage.value, key.destination, key.key) for key in keys})
        found: dict[WindowKey, Window] = {}
        for start in range(0, len(ordered), _MAX_BATCH):
            batch = ordered[start : start + _MAX_BATCH]
            if locks:
                self._reserve_windows(batch)
            query = select(schema.stage_windows).where(
                tuple_(windows_c.stage, windows_c.destination, windows_c.key).in_(batch)
            )
            for row in self._connection.execute(query.with_for_update() if locks else query):
                found[WindowKey(Stage(row.stage), row.destination, row.key)] = Window(row.ends_at, row.passed)
        return found

    def _reserve_windows(self, batch: Sequence[tuple[int, str, str]]) -> None:
        """Rows that can be locked, also for windows that were never opened: these have ended long ago."""
        self._connection.execute(
            text(
                "INSERT INTO stage_windows (stage, destination, key, ends_at, passed) "
                "VALUES (:stage, :destination, :key, 0, 0) ON CONFLICT DO NOTHING"
            ),
            [{"stage": stage, "destination": name, "key": key} for stage, name, key in batch],
        )

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
