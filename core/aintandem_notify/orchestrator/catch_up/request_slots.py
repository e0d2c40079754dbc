"""Whose turn it is to ask REST: few at a time over all projects, and nobody waits long for the stalled ones."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import trio

MAX_REQUESTS: Final = 6
"""Requests at the same time, for all projects together; an orchestrator that comes back has enough to do."""
STALLED_S: Final = 2.0
"""A request that has been under way for so long is stalled; nearly all are answered within a fraction of it."""
MAX_STALLED: Final = 6
"""Stalled requests that are under way beside the others; more of them are counted among the others."""


@dataclass(eq=False, slots=True)
class _Turn:
    stalls_at: float
    """From when on it is stalled once it is granted, in trio's time; zero: from the beginning."""
    granted: trio.Event = field(default_factory=trio.Event)


class RequestSlots:
    """Turns, first come, first served, in two rows: of those whose latest request stalled, and of others."""

    def __init__(self) -> None:
        self._rows: tuple[deque[_Turn], deque[_Turn]] = deque(), deque()
        self._under_way: list[_Turn] = []
        self._stalling: set[str] = set()

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """A turn for a request of ``who``, to be held while that is on its way, and through no pause."""
        stalls = who in self._stalling
        turn = _Turn(0.0 if stalls else inf)
        row = self._rows[stalls]
        row.append(turn)
        try:
            await self._granted(turn)
            begun = trio.current_time()
            try:
                yield
            except Exception:
                self._ended(who, begun)
                raise
            self._ended(who, begun)
        finally:
            if turn.granted.is_set():
                self._under_way.remove(turn)
            else:
                row.remove(turn)
            self._grant()

    def _ended(self, who: str, begun: float) -> None:
        if trio.current_time() - begun >= STALLED_S:
            self._stalling.add(who)
        else:
            self._stalling.discard(who)

    async def _granted(self, turn: _Turn) -> None:
        await trio.lowlevel.checkpoint()
        self._grant()
        while not turn.granted.is_set():
            # Nobody tells when one stalls: that comes with time.
            with trio.move_on_at(self._next_stall()):
                await turn.granted.wait()
            self._grant()

    def _next_stall(self) -> float:
        now = trio.current_time()
        return min((turn.stalls_at for turn in self._under_way if turn.stalls_at > now), default=inf)

    def _grant(self) -> None:
        now = trio.current_time()
        stalled = sum(turn.stalls_at <= now for turn in self._under_way)
        for row, free in zip(self._rows, free_slots(len(self._under_way) - stalled, stalled), strict=True):
            for _ in range(min(free, len(row))):
                turn = row.popleft()
                turn.stalls_at = min(turn.stalls_at, now + STALLED_S)
                self._under_way.append(turn)
                turn.granted.set()


def free_slots(quick: int, stalled: int) -> tuple[int, int]:
    """How many more may be asked now, of those that are expected to be quick, and of those that stall."""
    beyond = max(0, stalled - MAX_STALLED)
    return max(0, MAX_REQUESTS - quick - beyond), max(0, MAX_STALLED - stalled)
