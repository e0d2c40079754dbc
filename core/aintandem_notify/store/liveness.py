"""Checks at intervals whether the store's worker thread still answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Never

import trio

from aintandem_notify.errors import StoreError
from aintandem_notify.store.storage import Storage
from aintandem_notify.store.store import Store

CHECK_INTERVAL_S: Final = 5.0
"""Seconds between two checks."""


@dataclass(frozen=True, slots=True)
class LivenessReport:
    """``silent_s``: seconds since the store's worker thread last answered, with success or an error.

    ``trouble``: the error of that answer; None after a success.
    """

    silent_s: float
    trouble: str | None = None


class StoreLiveness:
    """The result of the last check; made by ``open_liveness``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._answered_at = trio.current_time()
        self._trouble: str | None = None

    def latest(self) -> LivenessReport:
        """The report of the last check; returns at once, even while the store's worker thread hangs."""
        return LivenessReport(trio.current_time() - self._answered_at, self._trouble)

    async def check(self) -> None:
        """Checks once; blocks for as long as the store's worker thread hangs."""
        try:
            await self._storage.run(Store.touch)
        except StoreError as error:
            self._trouble = str(error)
        else:
            self._trouble = None
        self._answered_at = trio.current_time()

    async def check_forever(self, interval_s: float, on_answer: Callable[[], None]) -> Never:
        """Checks every ``interval_s`` seconds and calls ``on_answer`` after each answer."""
        while True:
            await self.check()
            on_answer()
            await trio.sleep(interval_s)


@asynccontextmanager
async def open_liveness(
    storage: Storage, *, on_answer: Callable[[], None], interval_s: float = CHECK_INTERVAL_S
) -> AsyncIterator[StoreLiveness]:
    """Checks the store within the block; ``on_answer`` is called after each answer and must return at once."""
    async with trio.open_nursery() as nursery:
        liveness = StoreLiveness(storage)
        nursery.start_soon(liveness.check_forever, interval_s, on_answer)
        yield liveness
        nursery.cancel_scope.cancel()
