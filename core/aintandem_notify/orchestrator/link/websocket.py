"""One WebSocket to the orchestrator.

A link reads ahead in the background into a bounded buffer, and hands over all buffered frames at once. A full
buffer stops the reader, so TCP carries the back-pressure. One task reads, keeps the connection alive and closes
it: no two tasks write at the same time, and thousands of idle links are cheap. ``frames`` decides about the
meaning of a frame, ``reconnect_policy`` about the reaction to the end of a link.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import trio

from aintandem_notify.config import DIRECT, Outbound
from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.close_codes import LIMIT_FLAWS, TOO_BIG, error_for_close, leaf_exceptions
from aintandem_notify.orchestrator.link.dial import TlsContext, open_stream
from aintandem_notify.orchestrator.link.frame_memory import (
    MESSAGE_TIMEOUT_S,
    SMALL_MESSAGE_BYTES,
    FrameMemory,
    LinkMemory,
)
from aintandem_notify.orchestrator.link.handshake import upgrade
from aintandem_notify.orchestrator.link.heartbeat import (
    HeartbeatAction,
    HeartbeatState,
    control_frame,
    is_ping,
    next_action,
)
from aintandem_notify.orchestrator.link.library import MAX_MESSAGE_SIZE, WebSocketProtocol
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader
from aintandem_notify.orchestrator.protocol.address import Endpoint, SocketTarget

T = TypeVar("T")

Frame = str | bytes

RECEIVE_BUFFER_SIZE: Final = 256 * 2**10
"""Bytes read from the socket at once; a busy link costs a round of the event loop for each read."""
PORTION_BYTES: Final = 2048
"""Bytes that the library gets at once. In the worst case, a thousand empty fragments, they take it some 20 ms."""
MAX_BATCH_FRAMES: Final = 2000
"""Frames that wait for the user of the link; one transaction of the store takes as many without delay."""
MAX_BATCH_SIZE: Final = 4 * 2**20
"""Characters that wait for the user of the link."""
CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds that a closing handshake may take; the peer may be gone."""
DRAIN_TIMEOUT_S: Final = 30.0
"""Seconds that the peer may go on sending after our close frame, as it does with a backlog on the way."""
SHORT_CLOSE_TIMEOUT_S: Final = 0.05
"""As ``CLOSE_TIMEOUT_S``, while cancelled or if the peer does not answer: enough to write a close frame."""
TIMEOUT_SLICES: Final = 5
"""The close timeouts are waited for in so many slices. A process that the machine suspends loses one slice,
however long that takes, and the close frame is still written."""
MAX_HANDSHAKES: Final = 32
"""Connections that are opened at the same time, so that many projects do not connect all at once."""


class Link(Protocol):
    """An open connection, as its user sees it."""

    @property
    def last_received_at(self) -> float:
        """The time at which bytes arrived last, by trio's clock; all earlier bytes have been read."""
        ...

    async def receive_batch(self) -> list[Frame]:
        """Wait for frames, and return all buffered ones, in order, at most a batch.

        Raises LinkLost, LinkRefused or ProjectGone once the link has ended and all frames were handed over.
        """
        ...

    def take_buffered(self) -> list[Frame]:
        """The buffered frames, without waiting; for the end of the watch, when a task may not wait."""
        ...

    async def run(self) -> None:
        """Read ahead and keep the connection alive. Returns when the link has ended; frames may be left."""
        ...

    async def finish(self) -> None:
        """Send a close frame, and read on until the peer has sent everything.

        Another task must receive meanwhile. At the end ``receive_batch`` raises LinkLost.
        """
        ...


StreamOpener = Callable[[Endpoint], Awaitable[trio.abc.Stream]]
"""Opens the byte stream under a link, which closes it."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The settings and resources that all links of an agent share.

    ``connect_timeout`` and ``heartbeat_interval`` are in seconds. At most ``batch_frames`` are handed over at
    once. ``handshakes`` bounds the connections that are opened at the same time, ``memory`` the frames that all
    links read ahead.
    """

    open_stream: StreamOpener
    clock: Clock
    connect_timeout: float = 10.0
    heartbeat_interval: float = 30.0
    batch_frames: int = MAX_BATCH_FRAMES
    handshakes: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_HANDSHAKES))
    memory: FrameMemory = field(default_factory=FrameMemory)


def stream_opener(tls: TlsContext, outbound: Outbound = DIRECT) -> StreamOpener:
    """Opens streams over TCP, with TLS if the endpoint asks for it, by the rules of ``outbound``."""
    return lambda endpoint: open_stream(endpoint, tls=tls, outbound=outbound)


@asynccontextmanager
async def open_link(target: SocketTarget, settings: LinkSettings) -> AsyncIterator[Link]:
    """As ``connect_link``, and a task runs the link."""
    failure: BaseException | None = None
    try:
        async with connect_link(target, settings) as link, trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            yield link
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = primary_error(group)
    if failure is not None:
        # Outside of the handler: otherwise the group, which holds the error, would become the error's context.
        raise failure


@asynccontextmanager
async def connect_link(target: SocketTarget, settings: LinkSettings) -> AsyncIterator[Link]:
    """A link to ``target``; it is always closed at the end of the block. Somebody must run it meanwhile.

    Raises LinkLost, LinkRefused or ProjectGone if it cannot be opened.
    """
    async with settings.handshakes:
        link = await _connect(target, settings)
    try:
        yield link
    finally:
        await link.close()


async def _connect(target: SocketTarget, settings: LinkSettings) -> "_WebSocketLink":
    """Dial and do the WebSocket handshake within the deadline."""
    problem = "no connection"
    with trio.move_on_after(settings.connect_timeout):
        stream = await settings.open_stream(target.endpoint)
        problem = "the orchestrator did not answer the handshake"
        try:
            return _WebSocketLink(stream, await upgrade(stream, target), settings)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    raise LinkLost(f"{problem} within {settings.connect_timeout:g} s")


def primary_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in the group that says why the link ended; a group if several others happened.

    Cancellations are left out: they are raised again at the next checkpoint.
    """
    _, failures = group.split(trio.Cancelled)
    if failures is None:
        return group
    errors = list(leaf_exceptions(failures))
    if all(isinstance(error, OrchestratorError) for error in errors):
        # A refusal or a missing project says more than the broken connection that comes with it.
        return min(errors, key=lambda error: isinstance(error, LinkLost))
    return errors[0] if len(errors) == 1 else failures


class _WebSocketLink:
    """A link over wsproto. Only the task of ``run`` uses the stream, and after it the task of ``close``."""

    def __init__(self, stream: trio.abc.Stream, arrived: bytes, settings: LinkSettings) -> None:
        self.last_received_at = self._pinged_at = trio.current_time()
        self._stream = stream
        self._arrived: bytes | bytearray = arrived
        self._protocol = WebSocketProtocol()
        self._memory = LinkMemory(settings.memory)
        self._text_frames = TextFrameReader(self._take_texts, limit=MAX_MESSAGE_SIZE)
        self._clock = settings.clock
        self._interval = settings.heartbeat_interval
        self._max_batch = settings.batch_frames
        self._buffer: list[Frame] = []
        self._size = 0
        self._ended: OrchestratorError | None = None
        self._arrival: trio.Event | None = None
        self._room: trio.Event | None = None
        self._wait_scope: trio.CancelScope | None = None
        self._message_bytes = 0
        self._message_deadline = math.inf
        self._pong_is_due = False
        self._is_writing = False
        self._closing_since: float | None = None
        self._closed: trio.Event | None = None

    async def receive_batch(self) -> list[Frame]:
        while not self._buffer:
            if self._ended is not None:
                raise self._ended
            self._arrival = trio.Event()
            self._memory.hand_over()
            await self._arrival.wait()
        self._memory.hand_over()
        if len(self._buffer) <= self._max_batch:
            return self.take_buffered()
        batch = self._buffer[: self._max_batch]
        del self._buffer[: self._max_batch]
        self._size -= sum(map(len, batch))
        return batch

    def take_buffered(self) -> list[Frame]:
        batch, self._buffer, self._size = self._buffer, [], 0
        if self._room is not None:
            self._room.set()
        return batch

    async def run(self) -> None:
        try:
            while self._ended is None:
                arrived, self._arrived = self._arrived, b""
                await self._take_bytes(arrived)
                self._hand_over()
                await self._receive()
        except LinkLost as error:
            self._end(error)
        except MemoryError:
            self._end(LinkLost("there was no memory for a message", TOO_BIG))

    async def _receive(self) -> None:
        """Wait for the next bytes."""
        if self._message_bytes > SMALL_MESSAGE_BYTES and math.isinf(self._message_deadline):
            await self._reserve_memory()
        try:
            arrived = await self._stay_alive(lambda: self._stream.receive_some(RECEIVE_BUFFER_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            arrived = b""
        if arrived is None:
            return
        self.last_received_at = trio.current_time()
        self._arrived = arrived
        self._message_bytes += len(arrived)
        if not arrived:
            self._end(self._end_of_stream())
        elif self._message_bytes > MAX_MESSAGE_SIZE + RECEIVE_BUFFER_SIZE:
            self._end(error_for_close(TOO_BIG))

    def _end_of_stream(self) -> OrchestratorError:
        return error_for_close(1006) if self._closing_since is None else _closed_by_us()

    async def _take_bytes(self, arrived: bytes | bytearray) -> None:
        for_library = self._text_frames.split(arrived)
        while self._text_frames.is_full and self._ended is None:
            await self._wait_for_room()
            for_library += self._text_frames.split()
        while for_library and self._ended is None:
            # The library decodes all that it gets in one go, and every two bytes may be a frame.
            portion = bytes(for_library[:PORTION_BYTES])
            del for_library[:PORTION_BYTES]
            await self._decode(portion)

    async def _decode(self, portion: bytes) -> None:
        decoded = self._protocol.decode(portion)
        if decoded.messages and not self._take(decoded.messages, may_hold_ping=True):
            await self._wait_for_room()
        if decoded.closed is not None:
            self._end(error_for_close(*decoded.closed) if self._closing_since is None else _closed_by_us())
        if decoded.answer:
            await self._send(decoded.answer)
        await trio.lowlevel.checkpoint()

    def _take_texts(self, texts: Sequence[Frame]) -> bool:
        return self._take(texts, may_hold_ping=self._text_frames.may_hold_ping)

    def _take(self, frames: Sequence[Frame], *, may_hold_ping: bool) -> bool:
        """Buffer some frames, at least one. Returns whether there is room for more."""
        self._message_bytes = 0
        self._message_deadline = math.inf
        size = sum(map(len, frames))
        has_room = self._memory.add_frames(len(frames), size)
        self._buffer += frames
        self._size += size
        if may_hold_ping and any(map(is_ping, frames)):
            self._pong_is_due = True
        return has_room and len(self._buffer) < MAX_BATCH_FRAMES and self._size < MAX_BATCH_SIZE

    async def _wait_for_room(self) -> None:
        self._hand_over()
        self._room = room = trio.Event()
        await self._stay_alive(room.wait)
        self._room = None
        # The time without reading does not count as silence.
        self.last_received_at = trio.current_time()

    async def _reserve_memory(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_alive, trio.sleep_forever)
            await self._memory.reserve(self._text_frames.expected_size)
            nursery.cancel_scope.cancel()
        self._message_deadline = trio.current_time() + MESSAGE_TIMEOUT_S

    def _hand_over(self) -> None:
        # Called when all received bytes are decoded; until then the batch grows and is not handed over.
        if self._buffer and self._arrival is not None:
            self._arrival.set()

    def _end(self, error: OrchestratorError) -> None:
        if self._ended is None:
            self._ended = error
        for waits in (self._arrival, self._closed):
            if waits is not None:
                waits.set()

    async def _stay_alive(self, wait: Callable[[], Awaitable[T]]) -> T | None:
        """The result of ``wait``, which is begun anew after each heartbeat. None if the link ends before."""
        while self._ended is None:
            due_at = await self._beat()
            if due_at > trio.current_time():
                with trio.CancelScope(deadline=due_at) as self._wait_scope:
                    return await wait()
        return None

    async def _beat(self) -> float:
        """Do one thing that is due, if anything is. Returns the time of the next one."""
        now, is_paused = trio.current_time(), self._room is not None or self._memory.is_waiting
        if self._closing_since is not None:
            return await self._go_on_closing(now, self._closing_since, is_paused=is_paused)
        if now >= self._message_deadline:
            self._end(LinkLost(f"a message did not end within {MESSAGE_TIMEOUT_S:g} s", TOO_BIG))
            return now
        state = HeartbeatState(self._interval, self.last_received_at, self._pinged_at, paused=is_paused)
        action, wait = next_action(state, now)
        if action is HeartbeatAction.DEAD:
            self._end(LinkLost(f"nothing was heard for {now - self.last_received_at:.0f} s"))
        elif action is HeartbeatAction.PING:
            # A protocol ping beside the JSON one, for the proxies and servers between us and a busy orchestrator.
            self._pinged_at = now
            await self._send(self._control_frame("ping") + self._protocol.ping())
        elif self._pong_is_due:
            self._pong_is_due = False
            await self._send(self._control_frame("pong"))
        else:
            return min(now + wait, self._message_deadline)
        return now

    def _control_frame(self, kind: str) -> bytes:
        return self._protocol.text(control_frame(kind, self._clock.now()))

    async def _send(self, content: bytes | bytearray) -> None:
        if self._is_writing:
            return  # A frame was begun when the task was cancelled: nothing can follow it.
        with trio.move_on_after(self._interval) as scope:
            self._is_writing = True
            try:
                await self._stream.send_all(content)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the reader finds the end of the stream
            self._is_writing = False
        if scope.cancelled_caught:
            self._end(LinkLost("the orchestrator does not read our messages"))

    async def finish(self) -> None:
        if self._ended is None:
            self._begin_to_close()
            self._closed = trio.Event()
            await self._closed.wait()

    def _begin_to_close(self) -> None:
        self._closing_since = self.last_received_at = trio.current_time()
        if self._wait_scope is not None:
            self._wait_scope.cancel()

    async def _go_on_closing(self, now: float, since: float, *, is_paused: bool) -> float:
        if self._protocol.is_open:
            await self._send(self._protocol.close(1000))
            return now
        # A pause of our own reader does not count as silence.
        silent_at = math.inf if is_paused else self.last_received_at + CLOSE_TIMEOUT_S
        due_at = min(silent_at, since + DRAIN_TIMEOUT_S)
        if now >= due_at:
            self._end(_closed_by_us())
        return due_at

    async def close(self) -> None:
        """Send a close frame, wait a moment for the answer if there can be one, and close the stream."""
        self._memory.close()
        is_hasty = self._ended is not None or trio.current_effective_deadline() == -math.inf
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                timeout = SHORT_CLOSE_TIMEOUT_S if is_hasty else CLOSE_TIMEOUT_S
                nursery.start_soon(_cancel_after, timeout, nursery.cancel_scope)
                await self._close_handshake()
                nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(self._stream)

    async def _close_handshake(self) -> None:
        if self._ended is None:
            self._begin_to_close()
            await self.run()
            return
        if not self._protocol.is_open:
            return
        code = self._ended.code if isinstance(self._ended, LinkLost) else 1000
        with suppress(LinkLost, trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send(self._protocol.close(code if code in LIMIT_FLAWS else 1000))
            # A stream that is closed before all of it is read may take the close frame with it.
            while await self._stream.receive_some(RECEIVE_BUFFER_SIZE):
                pass


def _closed_by_us() -> LinkLost:
    return LinkLost("we closed the connection", 1000)


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    for _ in range(TIMEOUT_SLICES):
        await trio.sleep(seconds / TIMEOUT_SLICES)
    scope.cancel()
