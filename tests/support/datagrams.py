"""A datagram socket as systemd has one for its services."""

import socket
from contextlib import suppress

import trio


def bound_socket(name: str) -> socket.socket:
    """Bound to a path, or to the abstract address that begins with ``@``; it never blocks."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(f"\0{name[1:]}" if name.startswith("@") else name)
    return bound


class Datagrams:
    """The datagrams that arrive at a bound socket, one after the other."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound
        self._socket = trio.socket.from_stdlib_socket(bound)
        self._heard: set[str] = set()

    async def next(self) -> str:
        """The next one, when there is one."""
        said = (await self._socket.recv(4096)).decode()
        self._heard.add(said)
        return said

    async def wait_until_heard(self, text: str) -> None:
        """Return when this one has come, be it before."""
        while text not in self._heard:
            await self.next()

    async def wait_for(self, text: str) -> None:
        """Return when this one has come; others may come before."""
        while await self.next() != text:
            pass

    def forget(self) -> None:
        """Discard the datagrams that have arrived already."""
        with suppress(BlockingIOError):
            while self._bound.recv(4096):
                pass
