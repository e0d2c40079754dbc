"""Buffers live events for a short time during catch-up, until the events missed before them are stored."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import PROGRESS_TYPES, RunRef, run_ref

MAX_BUFFERED: Final = 10_000
"""Most buffered events of one project; with more, all are stored at once."""
MAX_BUFFERED_CHARACTERS: Final = 8 * 2**20
"""Most characters of one project's buffered events."""
MAX_TOTAL_BYTES: Final = 64 * 2**20
"""Bytes of all buffered events of all projects, about; with more, arriving events are stored at once."""
EVENT_OVERHEAD_BYTES: Final = 2048
"""Bytes of an event in addition to the characters of its frame, about."""
MAX_BUFFERED_S: Final = 20.0
"""Seconds for which events are buffered at most: a slow REST API must not delay live events longer."""


@dataclass(slots=True)
class BufferUsage:
    """The size in bytes of the buffered events of all projects, and the largest at which more are buffered."""

    size: int = 0
    max_size: int = MAX_TOTAL_BYTES

    @property
    def has_room(self) -> bool:
        """True if more events may be buffered."""
        return self.size <= self.max_size


class EventBuffer:
    """Passes a project's events on in their order: at once, or after ``release``.

    ``store`` returns when the events are stored. If it is cancelled, they stay here.
    ``max_events`` and ``max_characters`` are the most that are buffered, about.
    ``start`` starts a task; it gets ``release_after_timeout`` when the first event is buffered.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Event]], Awaitable[None]],
        *,
        buffering: bool,
        total_usage: BufferUsage | None = None,
        start: Callable[[Callable[[], Awaitable[None]]], None] | None = None,
        max_events: int = MAX_BUFFERED,
        max_characters: int = MAX_BUFFERED_CHARACTERS,
    ) -> None:
        self._store = store
        self._is_buffering = buffering
        self._events: list[Event] = []
        self._in_store: list[Event] = []
        self._size = self._cost = 0
        self._total_usage = total_usage or BufferUsage()
        self._max_events, self._max_characters = max_events, max_characters
        self._turn = trio.Lock()
        self._start = start

    async def add(self, events: Sequence[Event], size: int) -> None:
        """Store the events after all earlier ones, or buffer them. ``size`` is in characters."""
        # Before the lock: if this call is cancelled while other events are stored, these are here.
        self.append(events, size)
        async with self._turn:
            if self._is_buffering and self._has_room:
                self._start_timeout()
                return
            await self._store_all()

    def append(self, events: Sequence[Event], size: int = 0) -> None:
        """Buffer the events until the next call of ``add`` or ``release``."""
        self._events += events
        self._size += size
        self._cost += (cost := size + EVENT_OVERHEAD_BYTES * len(events))
        self._total_usage.size += cost

    @property
    def _has_room(self) -> bool:
        return (
            len(self._events) <= self._max_events
            and self._size <= self._max_characters
            and self._total_usage.has_room
        )

    async def release(self) -> None:
        """Store the buffered events. From now on, events are stored at once."""
        async with self._turn:
            await self._store_all()

    def _start_timeout(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            start(self.release_after_timeout)

    async def release_after_timeout(self) -> None:
        """Release after ``MAX_BUFFERED_S``."""
        await trio.sleep(MAX_BUFFERED_S)
        await self.release()

    async def _store_all(self) -> None:
        self._is_buffering = False
        self._in_store = self.take_unstored()
        if self._in_store:
            await self._store(self._in_store)
            self._in_store = []

    def take_unstored(self) -> list[Event]:
        """Removes and returns all events that are not stored, also those of a cancelled ``store``."""
        events = [*self._in_store, *self._events]
        self._in_store, self._events, self._size = [], [], 0
        self._total_usage.size -= self._cost
        self._cost = 0
        return events

    def first_event_times(self) -> dict[RunRef, datetime]:
        """The runs with buffered events other than progress, each with the time of its first event."""
        times: dict[RunRef, datetime] = {}
        for event in self._events:
            ref = run_ref(event)
            if ref is not None and event.type not in PROGRESS_TYPES:
                times[ref] = min(event.timestamp, times.get(ref, event.timestamp))
        return times
