"""An HTTP server on loopback that plays a receiver: it answers or fails as a test says, goes down and comes back.

h11 reads the requests, so they must be valid HTTP; the answers may be any bytes. Each request gets the next of
``replies``; without one ``respond`` decides.
"""

from __future__ import annotations

import gzip
import socket as stdlib_socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import h11
import trio

from aintandem_notify.simulator.wire.fault_proxy import PausableListener
from support.nasty.wire import WireAnswer
from support.wire_player import play

HOST: Final = "127.0.0.1"
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Received:
    """A request; header names in lower case. ``at`` is its time, in seconds of trio's clock."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A well-formed answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The answer's bytes."""
        fields = {"content-length": str(len(self.body)), **self.headers}
        head = [f"HTTP/1.1 {self.status} Told", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*head, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that need not be HTTP, then the end of the connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """The start of an answer, then nothing until the client has gone."""

    status: int = 200
    start: bytes = b"o"


@dataclass(frozen=True, slots=True)
class Endless:
    """An answer that announces ``size`` bytes, and sends as many as the client reads."""

    status: int = 200
    size: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Silence:
    """The request is read, and gets no answer."""


@dataclass(frozen=True, slots=True)
class Held:
    """The request is read; ``reply`` is sent once ``until`` is set."""

    until: trio.Event
    reply: Reply


@dataclass(frozen=True, slots=True)
class Reset:
    """The request is read, ``start`` of an answer is sent, and the connection is reset."""

    start: bytes = b""


Answer = Reply | Raw | Drip | Endless | Silence | Held | Reset | WireAnswer


def gzip_bomb(size: int = 20_000_000, status: int = 200) -> Reply:
    """A small answer that decompresses to ``size`` bytes."""
    body = gzip.compress(b"\0" * size, compresslevel=9)
    return Reply(status, body, {"content-encoding": "gzip"})


class LoopbackServer:
    """See the module; made by ``open_server``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.requests: list[Received] = []
        self.replies: deque[Answer] = deque()
        self.respond: Callable[[Received], Answer] = lambda _request: Reply()
        self.connections = 0
        """The number of open connections."""
        self.port = 0
        self.bytes_sent = 0
        self._nursery = nursery
        self._listener: PausableListener | None = None
        self._listening: trio.CancelScope | None = None
        self._closed = trio.Event()
        self._changed = trio.Condition()

    @property
    def base(self) -> str:
        """``http://127.0.0.1:<port>``"""
        return f"http://{HOST}:{self.port}"

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition()`` is true; it is checked after each request and each end of a connection."""
        async with self._changed:
            while not condition():
                await self._changed.wait()

    async def wait_for_requests(self, count: int) -> None:
        """Return once ``count`` requests have arrived in total."""
        await self.wait_until(lambda: len(self.requests) >= count)

    async def come_up(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._listener is None:
            self._listener = PausableListener(HOST, 0)
            self.port = self._listener.port
        self._listener.resume()
        self._closed = trio.Event()
        self._listening = await self._nursery.start(self._serve, self._listener)

    async def go_down(self) -> None:
        """Refuse connections and close the open ones. The port stays reserved, so that no other test takes it."""
        if self._listener is not None and self._listening is not None:
            self._listener.pause()
            self._listening.cancel()
            self._listening = None
            await self._closed.wait()

    def close(self) -> None:
        """Give the port back."""
        if self._listener is not None:
            self._listener.close()

    async def _serve(
        self, listener: PausableListener, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery.cancel_scope)
                while True:
                    nursery.start_soon(self._connection, await listener.accept())
        finally:
            self._closed.set()

    async def _connection(self, stream: trio.SocketStream) -> None:
        try:
            await self._converse(stream)
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            reader = h11.Connection(h11.SERVER)
            while (request := await _read_request(stream, reader)) is not None:
                async with self._changed:
                    # Decided before waiters are notified, so that they see the effects of ``respond``.
                    answer = self.replies.popleft() if self.replies else self.respond(request)
                    self.requests.append(request)
                    self._changed.notify_all()
                if not await self._answer(stream, answer):
                    return
                reader = h11.Connection(h11.SERVER)
        except _GONE:
            pass
        finally:
            self.connections -= 1
            with trio.CancelScope(shield=True):
                async with self._changed:
                    self._changed.notify_all()

    async def _answer(self, stream: trio.SocketStream, answer: Answer) -> bool:
        """Returns whether the connection can be used again."""
        match answer:
            case Reply():
                await stream.send_all(answer.encode())
                return True
            case Held(until=until, reply=reply):
                await until.wait()
                await stream.send_all(reply.encode())
                return True
            case Raw():
                await stream.send_all(answer.data)
            case Drip():
                head = f"HTTP/1.1 {answer.status} Told\r\ncontent-length: 1000\r\n\r\n"
                await stream.send_all(head.encode() + answer.start)
                await _until_gone(stream)
            case WireAnswer():
                return await play(answer, stream)
            case Endless():
                await self._send_endlessly(stream, answer)
            case Silence():
                await _until_gone(stream)
            case Reset():
                await stream.send_all(answer.start)
                linger = struct.pack("ii", 1, 0)
                stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, linger)
        return False

    async def _send_endlessly(self, stream: trio.SocketStream, answer: Endless) -> None:
        await stream.send_all(f"HTTP/1.1 {answer.status} Told\r\ncontent-length: {answer.size}\r\n\r\n".encode())
        piece = bytes(65536)
        for _ in range(answer.size // len(piece) + 1):
            await stream.send_all(piece)
            self.bytes_sent += len(piece)


async def _read_request(stream: trio.SocketStream, reader: h11.Connection) -> Received | None:
    """The next request, None if the client has closed."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            data = await stream.receive_some(65536)
            if not data and head is None:
                return None
            reader.receive_data(data)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Received(head.method.decode(), head.target.decode(), headers, bytes(body), trio.current_time())
        else:
            return None


async def _until_gone(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


@asynccontextmanager
async def open_server() -> AsyncIterator[LoopbackServer]:
    """A server that listens on a free port until the block ends."""
    async with open_servers(1) as (server,):
        yield server


@asynccontextmanager
async def open_servers(count: int) -> AsyncIterator[Sequence[LoopbackServer]]:
    """``count`` such servers."""
    async with trio.open_nursery() as nursery:
        servers = [LoopbackServer(nursery) for _ in range(count)]
        for server in servers:
            await server.come_up()
        try:
            yield servers
        finally:
            for server in servers:
                server.close()
            nursery.cancel_scope.cancel()
