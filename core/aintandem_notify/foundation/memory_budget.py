"""A budget of memory, in bytes, that many tasks share. Tasks wait for their share, first come, first served."""

import traceback
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
    """The part of a budget that one task holds: ``size`` bytes.

    Grow it only once, to all that is needed: a task that holds some and waits for more can block the others.
    """

    def __init__(self, budget: "MemoryBudget") -> None:
        self.size: int = 0
        self._budget = budget

    async def grow_to(self, size: int) -> None:
        """Wait until the share has ``size`` bytes in all, at most the whole budget."""
        more = min(size, self._budget.total) - self.size
        if more > 0:
            await self._budget.acquire(more)
            self.size += more

    def release(self) -> None:
        """Give all bytes of the share back."""
        self._budget.release(self.size)
        self.size = 0


class MemoryBudget:
    """``total`` bytes, of which ``used`` are taken.

    First come, first served, so that small requests cannot starve a large one. To avoid deadlocks, a task acquires
    all that it needs at once, and holds it for a short time.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used: int = 0
        self._waiters: deque[_Waiter] = deque()

    @contextmanager
    def share(self) -> Iterator[MemoryShare]:
        """An empty share; all its bytes are given back when the block is left."""
        share = MemoryShare(self)
        try:
            yield share
        finally:
            share.release()

    async def acquire(self, size: int) -> None:
        """Wait until ``size`` bytes are free, and take them. Waits for ever if ``size`` exceeds the total."""
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
        """Give ``size`` bytes back."""
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiters and self.used + self._waiters[0].size <= self.total:
            waiter = self._waiters.popleft()
            self.used += waiter.size
            waiter.granted.set()


def free_locals(error: BaseException) -> None:
    """Free the variables of the calls that ``error`` has ended, also those of the errors that led to it.

    Error, traceback and call refer to each other, so only the garbage collector would free the texts that a call
    has read. It runs rarely, and a budget counts that memory as free already.
    """
    seen: set[int] = set()
    linked: BaseException | None = error
    while linked is not None and id(linked) not in seen:
        seen.add(id(linked))
        traceback.clear_frames(linked.__traceback__)
        linked = linked.__cause__ or linked.__context__
