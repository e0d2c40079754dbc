"""The bounded queue of one subscription. Events enter and leave in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from aintandem_notify.client.channels.event_filter import SubscriptionFilter
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import OPENING_TYPES, TERMINAL_TYPES

CAPACITY: Final = 2000
"""Events that may wait before the socket is held back; as many as one batch of a link holds at most."""


class QueueClosed(Exception):  # not in ``errors``: it never reaches a user
    """The queue is closed and empty."""


class SubscriberQueue:
    """The events of one subscriber. ``put`` never blocks; the writer may call ``wait_for_room`` before it.

    With ``buffer`` None, a slow reader makes the writer wait. With a number, the queue holds that many of the
    newest events, and ``dropped`` counts the others. A ``persistent`` queue stays open for the next connection.
    ``is_discarded``: the subscriber is gone, and even events that were taken must not be delivered.
    """

    def __init__(
        self, event_filter: SubscriptionFilter, *, buffer: int | None = None, persistent: bool = False
    ) -> None:
        if buffer is not None and buffer < 1:
            raise ValueError("buffer should be at least 1, or None")
        self.event_filter: SubscriptionFilter = event_filter
        self.is_persistent = persistent
        self.dropped: int = 0
        self.is_discarded: bool = False
        self._max_buffered = buffer
        self._waiting: list[Event] = []
        self._arrived = trio.Event()
        self._room = trio.Event()
        self._closed = False
        self._error: Exception | None = None
        self._unbounded_count = 0

    @property
    def is_closed(self) -> bool:
        """Whether the queue accepts no more events."""
        return self._closed

    def put(self, events: Sequence[Event]) -> None:
        """Append events in order. No-op when closed."""
        if self._closed:
            return
        self._waiting += events
        if self._max_buffered is not None and len(self._waiting) > self._max_buffered:
            excess = len(self._waiting) - self._max_buffered
            del self._waiting[:excess]
            self.dropped += excess
        self._arrived.set()

    @property
    def is_full(self) -> bool:
        """Whether the writer should wait."""
        is_bounded = self._max_buffered is None and not self._unbounded_count
        return is_bounded and len(self._waiting) >= CAPACITY and not self._closed

    @property
    def is_empty(self) -> bool:
        """Whether ``take`` would wait."""
        return not self._waiting and not self._closed

    @contextmanager
    def unbounded(self) -> Iterator[None]:
        """A block in which the queue is never full: its reader waits for an event behind those in it."""
        self._unbounded_count += 1
        self._room.set()
        try:
            yield
        finally:
            self._unbounded_count -= 1

    async def wait_for_room(self) -> None:
        """Wait until the queue is not full."""
        while self.is_full:
            self._room = trio.Event()
            await self._room.wait()

    async def take(self) -> list[Event]:
        """Wait for and remove all events, at least one.

        When the queue is closed and empty, raises the error that it was closed with, else QueueClosed.
        """
        while not self._waiting:
            if self._closed:
                raise self._error or QueueClosed
            self._arrived = trio.Event()
            await self._arrived.wait()
        events, self._waiting = self._waiting, []
        self._room.set()
        return events

    def narrow(self, event_filter: SubscriptionFilter) -> None:
        """Set a narrower filter, and drop waiting events that it does not select."""
        self.event_filter = event_filter
        self._waiting = [event for event in self._waiting if event_filter.matches(event)]
        self._room.set()

    def close(self, error: Exception | None = None) -> None:
        """Accept no more events. Waiting events can still be taken; then ``take`` raises ``error``, if given."""
        if not self._closed:
            self._closed, self._error = True, error
        self._arrived.set()
        self._room.set()

    def discard(self) -> None:
        """Close the queue and discard its events."""
        self._waiting, self.is_discarded = [], True
        self.close()


class RunQueue(SubscriberQueue):
    """Events of one task or workflow execution, whose final event may also come from REST.

    ``needs_end``: close with an error if the orchestrator does not know the run, since no end would ever come.
    ``attempts`` counts the starts of the run, so that a slow response about an earlier attempt is recognised. If
    the final event arrives after it was looked up, it is dropped as a duplicate.
    """

    def __init__(
        self,
        event_filter: SubscriptionFilter,
        *,
        buffer: int | None = None,
        persistent: bool = False,
        needs_end: bool = False,
    ) -> None:
        super().__init__(event_filter, buffer=buffer, persistent=persistent)
        self.needs_end = needs_end
        self.attempts: int = 0
        self.has_ended: bool = False
        self.lookup_scope: trio.CancelScope | None = None
        self._looked_up_type: str | None = None

    def put(self, events: Sequence[Event]) -> None:
        """As ``SubscriberQueue.put``."""
        super().put([event for event in events if self._is_new(event)])

    def put_final_event(self, end: Event) -> None:
        """Append the final event that was looked up over REST, unless the run has ended already."""
        if not self.has_ended:
            self.has_ended, self._looked_up_type = True, end.type
            super().put([end])

    def _is_new(self, event: Event) -> bool:
        if event.type in OPENING_TYPES:
            self.attempts += 1
            self.has_ended, self._looked_up_type = False, None
        elif event.type in TERMINAL_TYPES:
            if event.type == self._looked_up_type:
                self._looked_up_type = None
                return False
            self.has_ended = True
        return True

    def narrow(self, event_filter: SubscriptionFilter) -> None:
        """As ``SubscriberQueue.narrow``, and recompute the run's state from the waiting events."""
        super().narrow(event_filter)
        waiting, self._waiting = self._waiting, []
        self.attempts, self.has_ended, self._looked_up_type = 0, False, None
        # Not with ``put``, which ignores events once closed: those that waited can still be taken.
        self._waiting = [event for event in waiting if self._is_new(event)]

    def close(self, error: Exception | None = None) -> None:
        """As ``SubscriberQueue.close``."""
        super().close(error)
        if self.lookup_scope is not None:
            self.lookup_scope.cancel()
