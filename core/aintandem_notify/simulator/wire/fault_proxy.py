"""A TCP proxy before the server. It causes faults of the network, below HTTP.

Clients connect to this proxy, which relays bytes to the server on another port of loopback. So a connection can be
cut in the middle of a frame, reset, or stalled while the server continues. The proxy can also refuse connections
for a while and listen on the same port again, while the world continues.
"""

import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from aintandem_notify.foundation.http_server.server import ACCEPT_RETRY_S, AcceptErrors

MAX_IN_TRANSIT: Final = 16
"""Connections that the proxy has accepted and the server not yet; it limits connections without a valid token."""

CHUNK_BYTES: Final = 65536
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class PausableListener:
    """A listening socket that can refuse connections for a while without losing its port.

    It listens from the start.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port: int = port
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._bound = self._bind()
        self.port = self._bound.getsockname()[1]
        self._listener: trio.SocketListener | None = None
        self._resumed = trio.Event()
        self._accept_errors = AcceptErrors(logging.getLogger(__name__))
        self.resume()

    def resume(self) -> None:
        """Accept connections again."""
        if self._listener is None:
            self._bound.listen(1024)
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._bound))
            self._resumed.set()

    def pause(self) -> None:
        """Refuse connections and keep the port."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None
            self._resumed = trio.Event()
            # Bound but not listening: connections are refused, and no other process gets the port.
            self._bound = self._bind()

    def close(self) -> None:
        """Release the port."""
        self._bound.close()
        if self._listener is not None:
            self._listener.socket.close()

    async def accept(self) -> trio.SocketStream:
        """The next connection. Waits while paused."""
        while True:
            await self._resumed.wait()
            if self._listener is None:
                continue
            try:
                accepted = await self._listener.accept()
            except trio.ClosedResourceError:
                continue
            except OSError as error:
                if self._accept_errors.is_persistent(error):
                    await trio.sleep(ACCEPT_RETRY_S)
                continue
            self._accept_errors.clear()
            return accepted

    def _bind(self) -> socket.socket:
        bound = socket.socket(self._family)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind((self.host, self.port))
        except OSError:
            bound.close()
            raise
        return bound


def reset_on_close(stream: trio.SocketStream) -> None:
    """Let closing the stream send a TCP reset."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class ProxiedConnection:
    """One connection of a client, and its counterpart to the server."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self._client = client
        self._server = server
        self._scope = trio.CancelScope()
        self._unstalled = trio.Event()
        self._unstalled.set()

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection now, without a close frame; with ``reset``, by a TCP reset."""
        if reset:
            reset_on_close(self._client)
        self._scope.cancel()

    def stall(self) -> None:
        """Hold back everything from the server, even pongs. Bytes from the client still arrive."""
        self._unstalled = trio.Event()

    def resume(self) -> None:
        """Send the bytes that were held back, and end the stall."""
        self._unstalled.set()

    async def relay(self) -> None:
        """Relay bytes both ways until either side closes."""
        with self._scope:
            async with self._client, self._server, trio.open_nursery() as nursery:
                nursery.start_soon(self._upstream)
                await self._downstream()
                nursery.cancel_scope.cancel()

    async def _upstream(self) -> None:
        try:
            while content := await self._client.receive_some(CHUNK_BYTES):
                await self._server.send_all(content)
            await self._server.send_eof()
        except _GONE:
            self._scope.cancel()
        # The client is gone, so a stall has no use any more.
        self._unstalled.set()

    async def _downstream(self) -> None:
        try:
            while content := await self._server.receive_some(CHUNK_BYTES):
                await self._unstalled.wait()
                await self._client.send_all(content)
        except _GONE:
            pass


class FaultProxy:
    """The listener and the connections through it. It listens at once; ``close`` it at the end."""

    def __init__(self, host: str, port: int) -> None:
        self._listener = PausableListener(host, port)
        self._transit_slots = trio.Semaphore(MAX_IN_TRANSIT, max_value=MAX_IN_TRANSIT)
        self._connections: dict[int, ProxiedConnection] = {}

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._listener.port

    def connection_from(self, server_side_port: int) -> ProxiedConnection | None:
        """The connection that the server sees from this port, or None."""
        return self._connections.get(server_side_port)

    def cut_all(self) -> None:
        """Close every connection, also those of REST."""
        for connection in self._connections.values():
            connection.cut()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut all connections, and refuse new ones during the block."""
        self._listener.pause()
        self.cut_all()
        try:
            yield
        finally:
            self._listener.resume()

    async def run(self, server_port: int) -> None:
        """Accept connections and relay them to the server until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._transit_slots.acquire()
                nursery.start_soon(self._connect, await self._listener.accept(), server_port)

    def on_accepted(self) -> None:
        """Note that the server has accepted one of the connections."""
        if self._transit_slots.value < MAX_IN_TRANSIT:  # a client may have connected to the server's own port
            self._transit_slots.release()

    def close(self) -> None:
        """Release the port. ``run`` must have ended."""
        self._listener.close()

    async def _connect(self, client: trio.SocketStream, server_port: int) -> None:
        async with client:
            try:
                server = await trio.open_tcp_stream("127.0.0.1", server_port)
            except OSError:
                self.on_accepted()
                return
            port = server.socket.getsockname()[1]
            self._connections[port] = connection = ProxiedConnection(client, server)
            try:
                await connection.relay()
            finally:
                del self._connections[port]
