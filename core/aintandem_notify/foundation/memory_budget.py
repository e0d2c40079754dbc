"""Bytes of memory that many may use at the same time, shared out in turn."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio


@dataclass(eq=False, slots=True)
class _Turn:
    size: int
    granted: trio.Event = field(default_factory=trio.Event)


class MemoryShare:
    """What one user has of a budget; ``size`` in bytes. Whoever asks for more must ask only once for all of it."""

    def __init__(self, budget: "MemoryBudget") -> None:
        self.size = 0
        self._budget = budget

    async def grow(self, size: int) -> None:
        """Have ``size`` bytes in all, at most the whole budget; waits until there are so many."""
        more = min(size, self._budget.total) - self.size
        if more > 0:
            await self._budget.take(more)
            self.size += more

    def give_back(self) -> None:
        """Have nothing any more."""
        self._budget.give(self.size)
        self.size = 0


class MemoryBudget:
    """``total`` bytes; ``used`` are taken. First come, first served: no large wish is overtaken for ever.

    Nobody may wait for more while somebody who has some waits for him: take all at once, and hold it shortly.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._turns: deque[_Turn] = deque()

    @contextmanager
    def share(self) -> Iterator[MemoryShare]:
        """Nothing of it at first; what it has grown to is given back when the block is left."""
        share = MemoryShare(self)
        try:
            yield share
        finally:
            share.give_back()

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes are there, and take them; more than the total never are."""
        await trio.lowlevel.checkpoint()
        if not self._turns and self.used + size <= self.total:
            self.used += size
            return
        turn = _Turn(size)
        self._turns.append(turn)
        try:
            await turn.granted.wait()
        except trio.Cancelled:
            if turn.granted.is_set():
                self.give(size)
            else:
                self._turns.remove(turn)
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give so many back."""
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._turns and self.used + self._turns[0].size <= self.total:
            turn = self._turns.popleft()
            self.used += turn.size
            turn.granted.set()
