"""Limits the concurrent REST requests over all projects, so that stalled requests do not hold up the others."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import trio

MAX_REQUESTS: Final = 6
"""Concurrent requests of all projects together; an orchestrator that has just restarted is busy enough."""
STALLED_S: Final = 2.0
"""A request without a response after so long is stalled; nearly all responses come much faster."""
MAX_STALLED: Final = 6
"""Stalled requests that are allowed in addition to ``MAX_REQUESTS``. Each one above this number takes one of the
``MAX_REQUESTS``."""


@dataclass(eq=False, slots=True)
class _Slot:
    stalls_at: float
    """The time, in trio's clock, from which a granted request counts as stalled; 0: at once."""
    granted: trio.Event = field(default_factory=trio.Event)


class RequestSlots:
    """Slots in order of arrival, from two queues: of clients whose latest request stalled, and of the others."""

    def __init__(self) -> None:
        self._queues: tuple[deque[_Slot], deque[_Slot]] = deque(), deque()
        self._in_flight: list[_Slot] = []
        self._stalling: set[str] = set()

    @asynccontextmanager
    async def acquire(self, client: str) -> AsyncIterator[None]:
        """A slot for one request of ``client``, such as a project. Do not keep it during a pause."""
        is_stalling = client in self._stalling
        slot = _Slot(0.0 if is_stalling else inf)
        queue = self._queues[is_stalling]
        queue.append(slot)
        try:
            await self._wait_until_granted(slot)
            started_at = trio.current_time()
            try:
                yield
            except Exception:
                self._record_duration(client, started_at)
                raise
            self._record_duration(client, started_at)
        finally:
            if slot.granted.is_set():
                self._in_flight.remove(slot)
            else:
                queue.remove(slot)
            self._grant()

    def _record_duration(self, client: str, started_at: float) -> None:
        if trio.current_time() - started_at >= STALLED_S:
            self._stalling.add(client)
        else:
            self._stalling.discard(client)

    async def _wait_until_granted(self, slot: _Slot) -> None:
        await trio.lowlevel.checkpoint()
        self._grant()
        while not slot.granted.is_set():
            # A request becomes stalled by time alone, without a signal.
            with trio.move_on_at(self._next_stall()):
                await slot.granted.wait()
            self._grant()

    def _next_stall(self) -> float:
        now = trio.current_time()
        return min((slot.stalls_at for slot in self._in_flight if slot.stalls_at > now), default=inf)

    def _grant(self) -> None:
        now = trio.current_time()
        stalled = sum(slot.stalls_at <= now for slot in self._in_flight)
        for queue, free in zip(self._queues, free_slots(len(self._in_flight) - stalled, stalled), strict=True):
            for _ in range(min(free, len(queue))):
                slot = queue.popleft()
                slot.stalls_at = min(slot.stalls_at, now + STALLED_S)
                self._in_flight.append(slot)
                slot.granted.set()


def free_slots(quick: int, stalled: int) -> tuple[int, int]:
    """The number of requests that may be granted now: to clients that do not stall, and to those that do."""
    beyond = max(0, stalled - MAX_STALLED)
    return max(0, MAX_REQUESTS - quick - beyond), max(0, MAX_STALLED - stalled)
