"""Live events that wait, for a short while, until what was missed before them is stored."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import PROGRESS_TYPES, RunRef, run_ref

MAX_BUFFERED: Final = 10_000
"""Events that wait at the most; beyond it they are stored without waiting any longer."""
MAX_BUFFERED_SIZE: Final = 8 * 2**20
"""Characters of them."""
MAX_TOTAL_BYTES: Final = 64 * 2**20
"""Bytes of what waits of all projects, about; with more, what comes is stored without waiting."""
EVENT_OVERHEAD_BYTES: Final = 2048
"""Bytes of an event beside the characters of its frame, about."""
MAX_HOLD_S: Final = 20.0
"""How long they wait at the most: an orchestrator that is slow to answer must not delay what it sends."""


@dataclass(slots=True)
class BufferUsage:
    """What waits of all projects, in bytes."""

    size: int = 0


class EventBuffer:
    """Passes a project's events on in their order: at once, or held back until ``release``.

    ``store`` returns when they are safe. Events that are stored in vain stay with whoever stores them.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Event]], Awaitable[None]],
        *,
        holding: bool,
        total_usage: BufferUsage | None = None,
    ) -> None:
        self._store = store
        self._holding = holding
        self._events: list[Event] = []
        self._size = self._cost = 0
        self._total_usage = total_usage or BufferUsage()
        self._turn = trio.Lock()

    async def add(self, events: Sequence[Event], size: int) -> None:
        """Store them, behind all that came before, or hold them back; ``size`` is in characters."""
        # At once, so that they are among what is left over if this is cancelled while others are being stored.
        self._events += events
        self._size += size
        self._cost += (cost := size + EVENT_OVERHEAD_BYTES * len(events))
        self._total_usage.size += cost
        async with self._turn:
            if self._holding and self._has_room:
                return
            await self._store_all()

    @property
    def _has_room(self) -> bool:
        return (
            len(self._events) <= MAX_BUFFERED
            and self._size <= MAX_BUFFERED_SIZE
            and self._total_usage.size <= MAX_TOTAL_BYTES
        )

    async def release(self) -> None:
        """Store what is held; nothing is held any more."""
        async with self._turn:
            await self._store_all()

    async def release_after_max_hold(self) -> None:
        """Release after the longest time."""
        await trio.sleep(MAX_HOLD_S)
        await self.release()

    async def _store_all(self) -> None:
        self._holding = False
        if everything := self.leftover():
            await self._store(everything)

    def leftover(self) -> list[Event]:
        """What is held, for whoever takes it over."""
        events, self._events, self._size = self._events, [], 0
        self._total_usage.size -= self._cost
        self._cost = 0
        return events

    def first_event_times(self) -> dict[RunRef, datetime]:
        """The runs about which news is held, each with the time of the first."""
        found: dict[RunRef, datetime] = {}
        for event in self._events:
            ref = run_ref(event)
            if ref is not None and event.type not in PROGRESS_TYPES:
                found[ref] = min(event.timestamp, found.get(ref, event.timestamp))
        return found
