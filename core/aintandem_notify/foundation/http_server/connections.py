"""Limits the connections to a server, and decides which one to close when another arrives.

Anybody on the machine may open connections and send nothing. So only a few may be open. For another one, the
connection that has been idle longest is closed, first those that have not shown a token. A request with the token
is never cut off.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

SEND_TIMEOUT_MS: Final = 5000
"""Milliseconds until a client that does not read its answer is cut off (Linux). Hypercorn shields its sends from
cancellation, so such a client could delay the end of the process."""
GRACE_S: Final = 0.25
"""Seconds that a connection is safe from being closed for another; our choice. Its first request arrives
within them, and a client that opens connections without end can replace all of them at most once in that time."""

SCOPE_KEY: Final = "aintandem_notify.connection"


class ClientConnection:
    """One connection to the server.

    ``active_requests`` of it are being answered. ``is_authenticated`` is set once a request has shown the token.
    ``idle_since`` (trio's time) is when the connection came, or, on an authenticated one, when the last request
    was answered.
    """

    __slots__ = ("_stream", "active_requests", "idle_since", "is_authenticated")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.idle_since: float = trio.current_time()
        self.is_authenticated: bool = False
        self.active_requests: int = 0

    @property
    def may_close(self) -> bool:
        """True unless an authenticated request is in progress."""
        return not (self.is_authenticated and self.active_requests)

    def close(self) -> None:
        """Close the connection at once, even while tasks read or write it."""
        self._stream.socket.close()


class ConnectionLimiter:
    """The connections of one server, at most ``limit`` of them.

    With ``counts_busy`` all of them count. Without it, a connection with an authenticated request in progress does
    not count: a server of WebSockets must not limit its users. ``on_connect`` is called for each new connection.
    One that has been idle for less than ``grace_s`` seconds is not closed to make room.
    """

    def __init__(
        self,
        limit: int,
        *,
        counts_busy: bool,
        on_connect: Callable[[], None] = lambda: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._limit = limit
        self._grace_s = grace_s
        self._on_connect = on_connect
        self._counts_busy = counts_busy
        self._connections: set[ClientConnection] = set()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return sum(self._counts_busy or connection.may_close for connection in self._connections)

    @contextmanager
    def register(self, stream: trio.SocketStream) -> Iterator[ClientConnection]:
        """Count the stream as a connection for as long as the block lasts."""
        connection = ClientConnection(stream)
        self._connections.add(connection)
        self._on_connect()
        try:
            yield connection
        finally:
            self._connections.discard(connection)
            self._notify_waiters()

    @contextmanager
    def request_in_progress(self, connection: ClientConnection) -> Iterator[None]:
        """Count a request of the connection as active for as long as the block lasts."""
        connection.active_requests += 1
        try:
            yield
        finally:
            connection.active_requests -= 1
            if connection.is_authenticated:
                connection.idle_since = trio.current_time()
            self._notify_waiters()

    async def make_room(self) -> None:
        """Return once there is room for one more; close the connection that has been idle longest if needed."""
        while len(self) >= self._limit:
            if not self.close_idlest():
                changed = self._changed
                with trio.move_on_after(self._grace_s):
                    await changed.wait()

    def close_idlest(self) -> bool:
        """Close the connection that has been idle longest. Returns False if none has been idle for long."""
        idlest = find_idlest(self._connections, trio.current_time(), self._grace_s)
        if idlest is not None:
            self._connections.discard(idlest)
            idlest.close()
        return idlest is not None

    def _notify_waiters(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def find_idlest(
    connections: Iterable[ClientConnection], now: float, grace_s: float = GRACE_S
) -> ClientConnection | None:
    """The connection to close first: the idlest unauthenticated one, else the idlest; None if there is none."""
    idle = (
        connection for connection in connections if connection.may_close and now - connection.idle_since >= grace_s
    )
    return min(idle, key=lambda connection: (connection.is_authenticated, connection.idle_since), default=None)


def mark_authenticated(scope: Any) -> None:
    """Record that a request with this ASGI scope has shown the token."""
    connection = scope.get(SCOPE_KEY)
    if connection is not None:  # None if the application is called without a server
        connection.is_authenticated = True
