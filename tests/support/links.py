"""Links to the tests' own orchestrator, over a real socket and in memory."""

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from trio_websocket import WebSocketConnection, wrap_server_stream

from aintandem_notify.errors import OrchestratorError
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.orchestrator.link.websocket import Frame, Link, LinkSettings, open_link, stream_opener
from aintandem_notify.orchestrator.protocol.address import Endpoint, SocketTarget, socket_target
from support.raw_orchestrator import RawOrchestrator, RawSocket, open_raw_orchestrator
from support.trio_clock import TrioClock

CANARY = "canary-4f1d"


def texts(frames: Iterable[str | bytes]) -> list[str]:
    """The frames as text."""
    return [frame if isinstance(frame, str) else frame.decode() for frame in frames]


def tls() -> ssl.SSLContext:
    """The trust of an ordinary program."""
    return ssl.create_default_context()


def settings(**how: Any) -> LinkSettings:
    """Settings with real time, and a deadline that stalls of the machine do not reach."""
    return LinkSettings(open_stream=stream_opener(tls), clock=SystemClock(), **{"connect_timeout": 60.0, **how})


def target(raw: RawOrchestrator) -> SocketTarget:
    """The address of project p."""
    return socket_target(f"{raw.url}/api", "p", CANARY)


@asynccontextmanager
async def connected(raw: RawOrchestrator, **how: Any) -> AsyncIterator[tuple[Link, RawSocket]]:
    """A connected link, and the server's end of it."""
    async with open_link(target(raw), settings(**how)) as link:
        yield link, await raw.connections.receive()


async def receive(link: Link, count: int) -> list[Frame]:
    """At least so many frames."""
    frames: list[Frame] = []
    while len(frames) < count:
        frames += await link.receive_batch()
    return frames


async def end_of(link: Link, batches: list[list[Frame]] | None = None) -> OrchestratorError:
    """The error that ended the link. Earlier frames are appended to ``batches``."""
    try:
        while True:
            batch = await link.receive_batch()
            if batches is not None:
                batches.append(batch)
    except OrchestratorError as error:
        return error


@asynccontextmanager
async def in_pieces() -> AsyncIterator[tuple[Link, RawSocket, trio.Nursery]]:
    """A connected link, and a nursery for a sender that may block."""
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket), trio.open_nursery() as nursery:
        yield link, socket, nursery


class RecordedStream(trio.abc.Stream):
    """A stream that records the bytes of each write."""

    def __init__(self, stream: trio.abc.Stream, written: list[bytes]) -> None:
        self._stream = stream
        self._written = written

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send and record."""
        self._written.append(bytes(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream itself."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream itself."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """As the stream itself."""
        await self._stream.aclose()


@asynccontextmanager
async def in_memory(
    interval: float = 30.0, written: list[bytes] | None = None
) -> AsyncIterator[tuple[Link, WebSocketConnection, trio.testing.MemorySendStream]]:
    """A link, the server's end of it, and the stream that the link writes to, on trio's clock.

    All that the link writes is appended to ``written``.
    """
    ours, theirs = trio.testing.memory_stream_pair()
    recorded = RecordedStream(ours, [] if written is None else written)

    async def dial(_: Endpoint) -> trio.abc.Stream:
        return recorded

    async with trio.open_nursery() as nursery:
        servers: list[WebSocketConnection] = []

        async def serve() -> None:
            request = await wrap_server_stream(nursery, theirs)
            servers.append(await request.accept())

        nursery.start_soon(serve)
        memory = LinkSettings(open_stream=dial, clock=TrioClock(), heartbeat_interval=interval)
        async with open_link(socket_target("http://memory", "p", CANARY), memory) as link:
            await trio.testing.wait_all_tasks_blocked()
            yield link, servers[0], ours.send_stream
        nursery.cancel_scope.cancel()
