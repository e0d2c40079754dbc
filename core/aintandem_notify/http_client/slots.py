"""Counts the connections of a family of clients over all servers, and closes an idle one if there are too many."""

from collections.abc import Awaitable, Callable

import httpcore
import trio


class IdleConnection:
    """An open connection that no request uses. ``group``: those to its server, the one used last at the end."""

    def __init__(
        self,
        connection: httpcore.AsyncConnectionInterface,
        group: list["IdleConnection"],
        slots: "HttpSlots",
        close: Callable[[httpcore.AsyncConnectionInterface], Awaitable[None]],
    ) -> None:
        self.connection = connection
        self.since_s: float = trio.current_time()
        self._group = group
        self._slots = slots
        self._close = close
        group.append(self)
        slots.idle[self] = None

    def take(self) -> httpcore.AsyncConnectionInterface:
        """The connection, for a request; it is idle no longer."""
        self._group.remove(self)
        del self._slots.idle[self]
        return self.connection

    async def close(self) -> None:
        """Close the connection, unless a request has taken it, or somebody else closes it."""
        if self in self._slots.idle:
            await self._close(self.take())


class HttpSlots:
    """At most ``count`` connections at a time.

    If all are taken, the one that has been idle the longest is closed for a new one, whichever client has it.
    ``idle``: all that are idle, in this order.
    """

    def __init__(self, count: int) -> None:
        self.idle: dict[IdleConnection, None] = {}
        self._limiter = trio.CapacityLimiter(count)

    async def acquire(self, holder: object) -> None:
        """Wait for a slot."""
        while not self._limiter.available_tokens and self.idle:
            await next(iter(self.idle)).close()
        await self._limiter.acquire_on_behalf_of(holder)

    def release(self, holder: object) -> None:
        """Free the slot."""
        self._limiter.release_on_behalf_of(holder)

    @property
    def is_short(self) -> bool:
        """True if somebody waits for a slot."""
        return self._limiter.statistics().tasks_waiting > 0
