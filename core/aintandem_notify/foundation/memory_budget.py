"""Bytes of memory that many may use at the same time, shared out in waiter."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio


@dataclass(eq=False, slots=True)
class _Waiter:
    size: int
    granted: trio.Event = field(default_factory=trio.Event)


class MemoryShare:
    """What one user has of a budget; ``size`` in bytes. Whoever asks for more must ask only once for all of it."""

    def __init__(self, budget: "MemoryBudget") -> None:
        self.size = 0
        self._budget = budget

    async def grow_to(self, size: int) -> None:
        """Have ``size`` bytes in all, at most the whole budget; waits until there are so many."""
        more = min(size, self._budget.total) - self.size
        if more > 0:
            await self._budget.acquire(more)
            self.size += more

    def release(self) -> None:
        """Have nothing any more."""
        self._budget.release(self.size)
        self.size = 0


class MemoryBudget:
    """``total`` bytes; ``used`` are taken. First come, first served: no large wish is overtaken for ever.

    Nobody may wait for more while somebody who has some waits for him: take all at once, and hold it shortly.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._waiters: deque[_Waiter] = deque()

    @contextmanager
    def share(self) -> Iterator[MemoryShare]:
        """Nothing of it at first; what it has grown to is given back when the block is left."""
        share = MemoryShare(self)
        try:
            yield share
        finally:
            share.release()

    async def acquire(self, size: int) -> None:
        """Wait until ``size`` bytes are there, and take them; more than the total never are."""
        await trio.lowlevel.checkpoint()
        if not self._waiters and self.used + size <= self.total:
            self.used += size
            return
        waiter = _Waiter(size)
        self._waiters.append(waiter)
        try:
            await waiter.granted.wait()
        except trio.Cancelled:
            if waiter.granted.is_set():
                self.release(size)
            else:
                self._waiters.remove(waiter)
                self._grant()
            raise

    def release(self, size: int) -> None:
        """Give so many back."""
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiters and self.used + self._waiters[0].size <= self.total:
            waiter = self._waiters.popleft()
            self.used += waiter.size
            waiter.granted.set()
