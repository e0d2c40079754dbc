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

SCOPE_KEY: Final = "aintandem_notify.guest"


class ClientConnection:
    """One connection.

    ``working`` requests of it are being answered. It is ``known`` once one of them has shown the token. ``since``
    (trio's time) is when it came, or when the last request of a known one was answered.
    """

    __slots__ = ("_stream", "known", "since", "working")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.since = trio.current_time()
        self.known = False
        self.working = 0

    @property
    def may_leave(self) -> bool:
        """Whether nothing is cut off that somebody with the token has asked."""
        return not (self.known and self.working)

    def close(self) -> None:
        """Close the connection at once, whoever reads or writes it meanwhile."""
        self._stream.socket.close()


class ConnectionLimiter:
    """The connections of one server, at most ``most`` of them.

    Without ``counts_all``, those that a request with the token is at work on take no room: a server of sockets has
    as many as its users want. ``arrived`` is called for each that is taken in.
    """

    def __init__(self, most: int, *, counts_all: bool, arrived: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._arrived = arrived
        self._counts_all = counts_all
        self._there: set[ClientConnection] = set()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return sum(self._counts_all or guest.may_leave for guest in self._there)

    @contextmanager
    def received(self, stream: trio.SocketStream) -> Iterator[ClientConnection]:
        """The stream's place for as long as the block lasts."""
        guest = ClientConnection(stream)
        self._there.add(guest)
        self._arrived()
        try:
            yield guest
        finally:
            self._there.discard(guest)
            self._change()

    @contextmanager
    def asking(self, guest: ClientConnection) -> Iterator[None]:
        """A request of the guest, for as long as the block lasts."""
        guest.working += 1
        try:
            yield
        finally:
            guest.working -= 1
            if guest.known:
                guest.since = trio.current_time()
            self._change()

    async def make_room(self) -> None:
        """Return once one more has room; closes the connection that has waited longest, if it must."""
        while len(self) >= self._most:
            if not self.close_one():
                changed = self._changed
                with trio.move_on_after(GRACE_S):
                    await changed.wait()

    def close_one(self) -> bool:
        """Close the connection that has waited longest; False if none has waited long enough."""
        leaving = find_idlest(self._there, trio.current_time())
        if leaving is not None:
            self._there.discard(leaving)
            leaving.close()
        return leaving is not None

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def find_idlest(guests: Iterable[ClientConnection], now: float) -> ClientConnection | None:
    """Whose connection to close first: of those that have not shown the token, then of those that have."""
    idle = (guest for guest in guests if guest.may_leave and now - guest.since >= GRACE_S)
    return min(idle, key=lambda guest: (guest.known, guest.since), default=None)


def mark_authenticated(scope: Any) -> None:
    """Of an ASGI scope: who asks this has shown the token."""
    guest = scope.get(SCOPE_KEY)
    if guest is not None:  # None where an application is called without a server
        guest.known = True
