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

STUCK_AFTER_S: Final = 30.0
"""Seconds without an answer after which the store's worker thread is stuck. No transaction takes that long."""


@dataclass(frozen=True, slots=True)
class LivenessReport:
    """``silent_s``: seconds for which the store's worker thread has owed an answer; 0 while it owes none.

    ``trouble``: the error of its last answer; None after a success. ``stuck_after_s``: as ``STUCK_AFTER_S``.
    """

    silent_s: float
    trouble: str | None = None
    stuck_after_s: float = STUCK_AFTER_S

    @property
    def is_stuck(self) -> bool:
        """True if the worker thread has owed its answer for so long that the store does not work."""
        return self.silent_s > self.stuck_after_s


class StoreLiveness:
    """The result of the last check; made by ``open_liveness``."""

    def __init__(self, storage: Storage, *, stuck_after_s: float = STUCK_AFTER_S) -> None:
        self._storage = storage
        self._stuck_after_s = stuck_after_s
        self._asked_at: float | None = None
        """When the unanswered check began; None if there is none. The worker thread itself notes its answer: a
        blocked event loop, which cannot take the answer, is no trouble of the store."""
        self._trouble: str | None = None

    def latest(self) -> LivenessReport:
        """The report of the last check; returns at once, even while the store's worker thread hangs."""
        asked_at = self._asked_at
        silent_s = 0.0 if asked_at is None else trio.current_time() - asked_at
        return LivenessReport(silent_s, self._trouble, self._stuck_after_s)

    async def check(self) -> None:
        """Checks once; blocks for as long as the store's worker thread hangs."""
        self._asked_at = trio.current_time()
        try:
            await self._storage.run(self._touch)
        except StoreError as error:
            self._trouble = str(error)
        else:
            self._trouble = None
        self._asked_at = None

    def _touch(self, store: Store) -> None:
        try:
            store.touch()
        finally:
            self._asked_at = None

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
