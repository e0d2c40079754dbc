"""The newest events of a connection, for programs that ask later on."""

from collections import deque
from collections.abc import Sequence

from aintandem_notify.domain.events import Event


class EventHistory:
    """The newest events, at most ``limit``; up to twice as many are in memory.

    They stay in the batches in which they arrived, so that an event costs nothing here.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[Sequence[Event]] = deque()
        self._count = 0

    def add(self, batch: Sequence[Event]) -> None:
        """Add events, at least one."""
        newest = batch[max(0, len(batch) - self._limit) :]
        self._batches.append(newest)
        self._count += len(newest)
        while self._batches and self._count - len(self._batches[0]) >= self._limit:
            self._count -= len(self._batches.popleft())

    def events(self) -> list[Event]:
        """The events, the oldest first."""
        events = [event for batch in self._batches for event in batch]
        return events[max(0, len(events) - self._limit) :]

    def clear(self) -> None:
        """Forget all events."""
        self._batches.clear()
        self._count = 0
