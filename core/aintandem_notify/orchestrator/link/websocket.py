"""One WebSocket to the orchestrator. No other module uses trio-websocket.

A link reads ahead in the background into a bounded buffer, and hands over all buffered frames at once. A full
buffer stops the reader, so TCP carries the back-pressure. The heartbeat runs beside the reader. ``frames`` decides
about the meaning of a frame, ``reconnect_policy`` about the reaction to the end of a link.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from h11 import ProtocolError as HttpProtocolError
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from aintandem_notify.config import DIRECT, Outbound
from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.close_codes import LIMIT_FLAWS, TOO_BIG, error_for_close, leaf_exceptions
from aintandem_notify.orchestrator.link.dial import TlsContext, open_stream
from aintandem_notify.orchestrator.link.frame_memory import FrameMemory, LinkMemory
from aintandem_notify.orchestrator.link.handshake import HandshakeStream
from aintandem_notify.orchestrator.link.heartbeat import (
    HeartbeatAction,
    HeartbeatState,
    control_frame,
    is_ping,
    next_action,
)
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader
from aintandem_notify.orchestrator.protocol.address import Endpoint, SocketTarget

Frame = str | bytes

MAX_MESSAGE_SIZE: Final = 16 * 2**20
"""Bytes of one message; an ``output`` can be large, but nobody reads a larger event."""
MESSAGE_QUEUE_SIZE: Final = 1
"""Messages that the library decodes ahead of our reader. It gets few messages, but each may be very large."""
RECEIVE_BUFFER_SIZE: Final = 256 * 2**10
"""Bytes read from the socket at once; a busy link costs a round of the event loop for each read."""
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

    async def finish(self) -> None:
        """Send a close frame, and read on until the peer has sent everything.

        Another task must receive meanwhile. At the end ``receive_batch`` raises LinkLost.
        """
        ...


StreamOpener = Callable[[Endpoint], AbstractAsyncContextManager[trio.abc.Stream]]
"""Opens the byte stream under a link."""


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
    """A link to ``target``; it is always closed at the end of the block.

    Raises LinkLost, LinkRefused or ProjectGone if it cannot be opened.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            async with AsyncExitStack() as stack:
                async with settings.handshakes:
                    link = await _connect(target, settings, nursery, stack)
                nursery.start_soon(link.read)
                nursery.start_soon(link.keep_alive, nursery)
                try:
                    yield link
                finally:
                    await link.close()
            # Only after the stream is closed: a Cancelled from its close would hide the error that ended the link.
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = primary_error(group)
    if failure is not None:
        # Outside of the handler: otherwise the group, which holds the error, would become the error's context.
        raise failure


async def _connect(
    target: SocketTarget, settings: LinkSettings, nursery: trio.Nursery, stack: AsyncExitStack
) -> "_WebSocketLink":
    """Dial and do the WebSocket handshake within the deadline; ``stack`` closes the stream."""
    problem, handshake = "no connection", None
    with trio.move_on_after(settings.connect_timeout):
        stream = await stack.enter_async_context(settings.open_stream(target.endpoint))
        problem = "the orchestrator did not answer the handshake"
        handshake = HandshakeStream(stream, limit=MAX_MESSAGE_SIZE + RECEIVE_BUFFER_SIZE)
        with _library_errors():
            websocket = await wrap_client_stream(
                _LibraryTasks(nursery),  # type: ignore[arg-type]  # the library only starts its reader there
                handshake,  # type: ignore[arg-type]  # the library only sends, receives and closes
                target.endpoint.authority,
                target.resource,
                message_queue_size=MESSAGE_QUEUE_SIZE,
                max_message_size=MAX_MESSAGE_SIZE,
                receive_buffer_size=RECEIVE_BUFFER_SIZE,
            )
        return _WebSocketLink(websocket, handshake, settings)
    timeout_error = LinkLost(f"{problem} within {settings.connect_timeout:g} s")
    if handshake is not None:
        handshake.error = timeout_error  # the library's reader may find the stream closed before this is raised
    raise timeout_error


def primary_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in the group that says why the link ended; a group if several others happened.

    Cancellations are left out: they are raised again at the next checkpoint.
    """
    _, failures = group.split(trio.Cancelled)
    if failures is None:
        return group
    errors = list(leaf_exceptions(failures))
    link_errors = [known for known in map(_as_link_error, errors) if known is not None]
    if len(link_errors) == len(errors):
        # A refusal or a missing project says more than the broken connection that comes with it.
        return min(link_errors, key=lambda error: isinstance(error, LinkLost))
    return errors[0] if len(errors) == 1 else failures


def _as_link_error(error: BaseException) -> OrchestratorError | None:
    match error:
        case OrchestratorError():
            return error
        case ConnectionClosed(reason=reason):
            # Without a reason the library's reader ended by itself: it could not decode the bytes.
            return error_for_close(*((1002, None) if reason is None else (reason.code, reason.reason)))
        case HandshakeError() | WebSocketProtocolError() | HttpProtocolError() | UnicodeError():
            return LinkLost("the server broke the WebSocket protocol", 1002)
        case MemoryError():
            return LinkLost("there was no memory for a message", TOO_BIG)
        case trio.BrokenResourceError() | trio.ClosedResourceError():
            return LinkLost("the connection broke")
        case _:
            return None


@contextmanager
def _library_errors() -> Iterator[None]:
    """Raises LinkLost for an error of the WebSocket libraries that ``primary_error`` does not know."""
    try:
        yield
    except Exception as error:
        if _as_link_error(error) is not None:
            raise
        raise LinkLost(f"the WebSocket library failed ({type(error).__name__})", 1002) from error


class _LibraryTasks:
    """A nursery for the library's tasks; it turns their unknown errors into LinkLost."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """As the nursery's own."""
        self._nursery.start_soon(self._run, task, arguments)

    async def _run(self, task: Callable[..., Awaitable[object]], arguments: tuple[object, ...]) -> None:
        with _library_errors():
            await task(*arguments)


class _WebSocketLink:
    """A link over trio-websocket; ``read`` and ``keep_alive`` run in tasks beside its user."""

    def __init__(self, websocket: WebSocketConnection, stream: HandshakeStream, settings: LinkSettings) -> None:
        self._memory = LinkMemory(settings.memory)
        self._text_frames = TextFrameReader(self._take_texts, limit=MAX_MESSAGE_SIZE)
        stream.start_frames(self._text_frames, self._wait_for_room, self._memory.reserve)
        stream.on_idle = self._flush
        self._websocket = websocket
        self._stream = stream
        self._clock = settings.clock
        self._interval = settings.heartbeat_interval
        self._max_batch = settings.batch_frames
        self._buffer: list[Frame] = []
        self._size = 0
        self._ended: OrchestratorError | None = None
        self._closing = False
        self._arrival = trio.Event()
        self._room: trio.Event | None = None
        self._pong_is_due = False
        self._ping_in_flight = False
        self._heartbeat_wakeup = trio.Event()

    @property
    def last_received_at(self) -> float:
        return self._stream.last_received_at

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

    async def read(self) -> None:
        """Read ahead until the connection ends."""
        receive, stream = self._websocket.get_message, self._stream
        while self._ended is None:
            try:
                with _library_errors():
                    frame = await receive()
            except ConnectionClosed as closed:
                if not self._closing:
                    self._end(stream.error or _as_link_error(closed) or error_for_close(1006))
                return
            content = frame.encode() if isinstance(frame, str) else BinaryFrame(frame)
            if not self._take([content], may_hold_ping=True):
                await self._wait_for_room()
            elif stream.idle:
                self._arrival.set()

    def _take_texts(self, texts: Sequence[Frame]) -> bool:
        return self._take(texts, may_hold_ping=self._text_frames.may_hold_ping)

    def _take(self, frames: Sequence[Frame], *, may_hold_ping: bool) -> bool:
        """Buffer some frames, at least one. Returns whether there is room for more."""
        self._stream.on_message()
        size = sum(map(len, frames))
        has_room = self._memory.add_frames(len(frames), size)
        self._buffer += frames
        self._size += size
        if may_hold_ping and any(map(is_ping, frames)):
            self._pong_is_due = True
            self._heartbeat_wakeup.set()
        return has_room and len(self._buffer) < MAX_BATCH_FRAMES and self._size < MAX_BATCH_SIZE

    async def _wait_for_room(self) -> None:
        self._arrival.set()
        self._room = trio.Event()
        await self._room.wait()
        self._room = None
        # The time without reading does not count as silence.
        self._stream.last_received_at = trio.current_time()

    def _flush(self) -> None:
        # Called when all received bytes are decoded; until then the batch grows and is not handed over.
        if self._buffer:
            self._arrival.set()

    def _end(self, error: OrchestratorError) -> None:
        if self._ended is None:
            self._ended = error
        self._arrival.set()

    async def keep_alive(self, nursery: trio.Nursery) -> None:
        """Send pings, answer pings, and end the link if nothing arrives any more."""
        pinged_at = trio.current_time()
        while self._ended is None:
            now = trio.current_time()
            state = HeartbeatState(
                self._interval,
                self._stream.last_received_at,
                pinged_at,
                paused=self._room is not None or self._memory.is_waiting,
            )
            action, wait = next_action(state, now)
            if action is HeartbeatAction.DEAD:
                self._end(LinkLost(f"nothing was heard for {now - state.last_received_at:.0f} s"))
                return
            if action is HeartbeatAction.PING:
                pinged_at = now
                await self._send("ping")
                if not self._ping_in_flight:
                    nursery.start_soon(self._ping)
                continue
            if self._pong_is_due:
                self._pong_is_due = False
                await self._send("pong")
                continue
            self._heartbeat_wakeup = trio.Event()
            with trio.move_on_after(wait):
                await self._heartbeat_wakeup.wait()

    async def _send(self, kind: str) -> None:
        with trio.move_on_after(self._interval) as scope:
            try:
                with _library_errors():
                    await self._websocket.send_message(control_frame(kind, self._clock.now()))
            except ConnectionClosed:
                return  # the reader reports the reason
        if scope.cancelled_caught:
            self._end(LinkLost("the orchestrator does not read our messages"))

    async def _ping(self) -> None:
        # A protocol ping beside the JSON one, for the proxies and servers between us and a busy orchestrator. The
        # library waits for the pong and never forgets a ping, so there is one at a time.
        self._ping_in_flight = True
        try:
            with _library_errors():
                await self._websocket.ping()
        except ConnectionClosed:
            return
        self._ping_in_flight = False

    async def finish(self) -> None:
        self._closing = True
        self._stream.last_received_at = trio.current_time()
        with trio.move_on_after(DRAIN_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_after_silence, nursery.cancel_scope)
                with _library_errors():
                    await self._websocket.aclose()
                nursery.cancel_scope.cancel()
        self._end(LinkLost("we closed the connection", 1000))

    async def _cancel_after_silence(self, scope: trio.CancelScope) -> None:
        while True:
            silence = trio.current_time() - self._stream.last_received_at
            # A pause of our own reader does not count as silence.
            if silence >= CLOSE_TIMEOUT_S and self._room is None and not self._memory.is_waiting:
                scope.cancel()
                return
            await trio.sleep(max(CLOSE_TIMEOUT_S - silence, SHORT_CLOSE_TIMEOUT_S))

    async def close(self) -> None:
        """Send a close frame, and wait a moment for the answer if there can be one."""
        self._memory.close()
        is_hasty = self._ended is not None or trio.current_effective_deadline() == -math.inf
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                timeout = SHORT_CLOSE_TIMEOUT_S if is_hasty else CLOSE_TIMEOUT_S
                nursery.start_soon(_cancel_after, timeout, nursery.cancel_scope)
                if isinstance(self._ended, LinkLost) and self._ended.code in LIMIT_FLAWS:
                    await self._stream.send_close(self._ended.code)
                with _library_errors():
                    await self._websocket.aclose()
                nursery.cancel_scope.cancel()


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    for _ in range(TIMEOUT_SLICES):
        await trio.sleep(seconds / TIMEOUT_SLICES)
    scope.cancel()
