"""Who is connected to a server of ours, and whose connection is closed when another wants in.

Anybody on the machine may open connections and leave it at that. So there is room for a few; when it is taken, the
one that has waited longest makes place, those first that have not shown a token. What somebody with the token has
asked is never cut off.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

GRACE_S: Final = 0.25
"""Seconds that a connection has to itself before it makes place for another; ours. Its first request arrives
within it, and nobody who opens connections without end turns over more than the room for that time."""

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
        self.idle_since = trio.current_time()
        self.is_authenticated = False
        self.active_requests = 0

    @property
    def may_close(self) -> bool:
        """Whether nothing is cut off that somebody with the token has asked."""
        return not (self.is_authenticated and self.active_requests)

    def close(self) -> None:
        """Close the connection at once, whoever reads or writes it meanwhile."""
        self._stream.socket.close()


class ConnectionLimiter:
    """The connections of one server, at most ``limit`` of them.

    With ``counts_busy`` all of them count. Without it, a connection with an authenticated request in progress does
    not count: a server of sockets has as many as its users want. ``on_connect`` is called for each new connection.
    """

    def __init__(self, limit: int, *, counts_busy: bool, on_connect: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_connect = on_connect
        self._counts_all = counts_busy
        self._connections: set[ClientConnection] = set()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return sum(self._counts_all or connection.may_close for connection in self._connections)

    @contextmanager
    def register(self, stream: trio.SocketStream) -> Iterator[ClientConnection]:
        """The stream's place for as long as the block lasts."""
        connection = ClientConnection(stream)
        self._connections.add(connection)
        self._on_connect()
        try:
            yield connection
        finally:
            self._connections.discard(connection)
            self._change()

    @contextmanager
    def request_in_progress(self, connection: ClientConnection) -> Iterator[None]:
        """A request of the connection, for as long as the block lasts."""
        connection.active_requests += 1
        try:
            yield
        finally:
            connection.active_requests -= 1
            if connection.is_authenticated:
                connection.idle_since = trio.current_time()
            self._change()

    async def make_room(self) -> None:
        """Return once one more has room; closes the connection that has waited longest, if it must."""
        while len(self) >= self._limit:
            if not self.close_idlest():
                changed = self._changed
                with trio.move_on_after(GRACE_S):
                    await changed.wait()

    def close_idlest(self) -> bool:
        """Close the connection that has waited longest; False if none has waited long enough."""
        leaving = find_idlest(self._connections, trio.current_time())
        if leaving is not None:
            self._connections.discard(leaving)
            leaving.close()
        return leaving is not None

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def find_idlest(connections: Iterable[ClientConnection], now: float) -> ClientConnection | None:
    """Whose connection to close first: of those that have not shown the token, then of those that have."""
    idle = (
        connection for connection in connections if connection.may_close and now - connection.idle_since >= GRACE_S
    )
    return min(idle, key=lambda connection: (connection.is_authenticated, connection.idle_since), default=None)


def mark_authenticated(scope: Any) -> None:
    """Of an ASGI scope: who asks this has shown the token."""
    connection = scope.get(SCOPE_KEY)
    if connection is not None:  # None where an application is called without a server
        connection.is_authenticated = True
