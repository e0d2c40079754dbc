"""Where a subscription's events wait for whoever takes them: bounded, whole batches at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from aintandem_notify.client.channels.event_filter import SubscriptionFilter
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import OPENING_TYPES, TERMINAL_TYPES

CAPACITY: Final = 2000
"""Events that wait for a slow reader before the socket is held back; as many as a link hands over at once."""


class QueueClosed(Exception):  # not one of ``errors``: it never reaches a user
    """Nothing will come any more."""


class SubscriberQueue:
    """One reader's events. ``put`` never blocks; whoever puts may wait for ``room`` afterwards.

    With ``buffer`` None a reader that is slow makes the writer wait. With a number, that many of the newest
    events are kept, and ``dropped`` counts the others. A ``lasting`` one stays when the connection ends, for the
    next one. ``is_dropped``: its reader is gone, so that not even what it has taken is wanted.
    """

    def __init__(
        self, event_filter: SubscriptionFilter, *, buffer: int | None = None, persistent: bool = False
    ) -> None:
        if buffer is not None and buffer < 1:
            raise ValueError("buffer should be at least 1, or None")
        self.event_filter = event_filter
        self.is_persistent = persistent
        self.dropped = 0
        self.is_discarded = False
        self._buffer = buffer
        self._waiting: list[Event] = []
        self._arrived = trio.Event()
        self._room = trio.Event()
        self._closed = False
        self._error: Exception | None = None
        self._unbounded_count = 0

    @property
    def is_closed(self) -> bool:
        """Whether nothing will come any more."""
        return self._closed

    def put(self, events: Sequence[Event]) -> None:
        """More events, in order; nothing happens when it is closed."""
        if self._closed:
            return
        self._waiting += events
        if self._buffer is not None and len(self._waiting) > self._buffer:
            beyond = len(self._waiting) - self._buffer
            del self._waiting[:beyond]
            self.dropped += beyond
        self._arrived.set()

    @property
    def is_full(self) -> bool:
        """Whether whoever puts should wait."""
        is_bounded = self._buffer is None and not self._unbounded_count
        return is_bounded and len(self._waiting) >= CAPACITY and not self._closed

    @property
    def is_empty(self) -> bool:
        """Whether ``take`` would wait."""
        return not self._waiting and not self._closed

    @contextmanager
    def unbounded(self) -> Iterator[None]:
        """While the block runs it is never full: what its reader waits for comes behind what waits here."""
        self._unbounded_count += 1
        self._room.set()
        try:
            yield
        finally:
            self._unbounded_count -= 1

    async def wait_for_room(self) -> None:
        """Wait until it is not full."""
        while self.is_full:
            self._room = trio.Event()
            await self._room.wait()

    async def take(self) -> list[Event]:
        """All that waits, at least one event.

        When it is closed and empty: raises the error that it was closed with, else QueueClosed.
        """
        while not self._waiting:
            if self._closed:
                raise self._error or QueueClosed
            self._arrived = trio.Event()
            await self._arrived.wait()
        taken, self._waiting = self._waiting, []
        self._room.set()
        return taken

    def narrow(self, event_filter: SubscriptionFilter) -> None:
        """Want less from now on, also of what waits."""
        self.event_filter = event_filter
        self._waiting = [event for event in self._waiting if event_filter.matches(event)]
        self._room.set()

    def close(self, error: Exception | None = None) -> None:
        """Nothing comes any more; what waits can still be taken, then ``error`` is raised if there is one."""
        if not self._closed:
            self._closed, self._error = True, error
        self._arrived.set()
        self._room.set()

    def discard(self) -> None:
        """Nothing comes any more, and what waits is not wanted either."""
        self._waiting, self.is_discarded = [], True
        self.close()


class RunQueue(SubscriberQueue):
    """Events of one task or workflow execution, whose end may also be found out over REST.

    ``needs_end``: a run that nobody knows has no end to wait for, and that is an error. ``attempts`` counts the
    beginnings that were seen, so that a slow answer about an earlier one can be told from news. An end that was
    found out and arrives after all is taken for the same.
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
        self.attempts = 0
        self.has_ended = False
        self.lookup_scope: trio.CancelScope | None = None
        self._looked_up_type: str | None = None

    def put(self, events: Sequence[Event]) -> None:
        """As ``SubscriberQueue.put``."""
        super().put([event for event in events if self._is_new(event)])

    def put_final_event(self, end: Event) -> None:
        """The end, as REST told it."""
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
        """As ``SubscriberQueue.narrow``; what waits is looked at anew."""
        super().narrow(event_filter)
        waiting, self._waiting = self._waiting, []
        self.attempts, self.has_ended, self._looked_up_type = 0, False, None
        # Not by ``put``: what waited when the connection ended can still be taken.
        self._waiting = [event for event in waiting if self._is_new(event)]

    def close(self, error: Exception | None = None) -> None:
        """As ``SubscriberQueue.close``."""
        super().close(error)
        if self.lookup_scope is not None:
            self.lookup_scope.cancel()
