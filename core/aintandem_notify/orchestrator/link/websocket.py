"""One WebSocket to the orchestrator, the only door to trio-websocket.

A link reads ahead in the background into a bounded buffer and hands over all that is there at once; when the
buffer is full it stops reading, so that back-pressure is TCP's. It keeps the heartbeat beside the reader. What
a frame says and what to do when the link ends is for others to decide.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from h11 import ProtocolError as HttpProtocolError
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from aintandem_notify.config import DIRECT, Outbound
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
"""Bytes of one message; an ``output`` can be large, and beyond this it is no event that anybody reads."""
MESSAGE_QUEUE_SIZE: Final = 1
"""Messages that the library decodes ahead of our reader; each may be of the largest size, and few go that way."""
RECEIVE_BUFFER_SIZE: Final = 64 * 2**10
"""Bytes taken off the socket at once."""
MAX_BATCH_FRAMES: Final = 2000
"""Frames that wait for the reader of the link; what one transaction of the store takes without delay."""
MAX_BATCH_SIZE: Final = 4 * 2**20
"""Characters that wait for the reader of the link."""
CLOSE_TIMEOUT_S: Final = 1.0
"""How long a closing handshake may take; the other side may be gone."""
DRAIN_TIMEOUT_S: Final = 30.0
"""How long the other side may go on after our goodbye, as it does with a backlog on the way."""
SHORT_CLOSE_TIMEOUT_S: Final = 0.05
"""As above when we are being cancelled or nobody answers: enough to write a word of goodbye."""
TIMEOUT_SLICES: Final = 5
"""In how many pieces these are waited for. A machine that lets us stand still takes one of them, however long it
does, and the goodbye is still written."""
MAX_HANDSHAKES: Final = 32
"""Connections that are being opened at the same time, so that many projects do not arrive as a herd."""


class Link(Protocol):
    """An open connection, as its user sees it."""

    @property
    def last_received_at(self) -> float:
        """When something arrived last, by trio's clock; all that came before has been read."""
        ...

    async def receive_batch(self) -> list[Frame]:
        """The frames that are there, at least one, in order, as many as are handed over at once; waits for it.

        Raises LinkLost, LinkRefused or ProjectGone when the link has ended and everything was handed over.
        """
        ...

    def leftover(self) -> list[Frame]:
        """The frames that were read and not handed over yet; for the last moments, when nobody may wait."""
        ...

    async def finish(self) -> None:
        """Say goodbye, and read on until the other side has said all that it has to say.

        Somebody must receive meanwhile; when it is over, ``receive_batch`` raises LinkLost.
        """
        ...


StreamOpener = Callable[[Endpoint], AbstractAsyncContextManager[trio.abc.Stream]]
"""Opens the byte stream under a link."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What all links of an agent share.

    ``connect_timeout`` and ``heartbeat_interval`` are in seconds. ``batch_frames`` are handed over at
    once at the most. ``handshakes`` bounds the connections that are being opened at the same time, ``memory`` the
    memory of all that they read ahead.
    """

    open_stream: StreamOpener
    clock: Clock
    connect_timeout: float = 10.0
    heartbeat_interval: float = 30.0
    batch_frames: int = MAX_BATCH_FRAMES
    handshakes: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_HANDSHAKES))
    memory: FrameMemory = field(default_factory=FrameMemory)


def stream_opener(tls: TlsContext, outbound: Outbound = DIRECT) -> StreamOpener:
    """Dials over TCP, with TLS where the endpoint asks for it, as ``outbound`` says."""
    return lambda endpoint: open_stream(endpoint, tls=tls, outbound=outbound)


@asynccontextmanager
async def open_link(target: SocketTarget, settings: LinkSettings) -> AsyncIterator[Link]:
    """A link to ``target``, closed in the end whatever happens.

    Raises LinkLost, LinkRefused or ProjectGone when it cannot be opened.
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
            # Not before the stream is closed: a Cancelled out of that would replace what ended the link.
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = primary_error(group)
    if failure is not None:
        # Outside of the handler, so that the group does not come along as a context that holds the error itself.
        raise failure


async def _connect(
    target: SocketTarget, settings: LinkSettings, nursery: trio.Nursery, stack: AsyncExitStack
) -> "_WebSocketLink":
    """Dial and shake hands within the deadline; the stream is closed by ``stack``."""
    problem, tap = "no connection", None
    with trio.move_on_after(settings.connect_timeout):
        stream = await stack.enter_async_context(settings.open_stream(target.endpoint))
        problem = "the orchestrator did not answer the handshake"
        tap = HandshakeStream(stream, limit=MAX_MESSAGE_SIZE + RECEIVE_BUFFER_SIZE)
        with _library_errors():
            websocket = await wrap_client_stream(
                _LibraryTasks(nursery),  # type: ignore[arg-type]  # the library only starts its reader there
                tap,  # type: ignore[arg-type]  # the library only sends, receives and closes
                target.endpoint.authority,
                target.resource,
                message_queue_size=MESSAGE_QUEUE_SIZE,
                max_message_size=MAX_MESSAGE_SIZE,
                receive_buffer_size=RECEIVE_BUFFER_SIZE,
            )
        return _WebSocketLink(websocket, tap, settings)
    late = LinkLost(f"{problem} within {settings.connect_timeout:g} s")
    if tap is not None:
        tap.error = late  # the library's reader may find the stream closed before we are back
    raise late


def primary_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that says what happened; a group when something else went wrong more than once.

    Cancellations that come along are left out: whoever cancelled will do it again at the next checkpoint.
    """
    _, failures = group.split(trio.Cancelled)
    if failures is None:
        return group
    errors = list(leaf_exceptions(failures))
    ours = [known for known in map(_as_link_error, errors) if known is not None]
    if len(ours) == len(errors):
        # A refusal or a missing project says more than the broken connection that comes with it.
        return min(ours, key=lambda error: isinstance(error, LinkLost))
    return errors[0] if len(errors) == 1 else failures


def _as_link_error(error: BaseException) -> OrchestratorError | None:
    match error:
        case OrchestratorError():
            return error
        case ConnectionClosed(reason=reason):
            # Without a reason the library's reader ended on its own: it could not make sense of the bytes.
            return error_for_close(*((1002, None) if reason is None else (reason.code, reason.reason)))
        case HandshakeError() | WebSocketProtocolError() | HttpProtocolError() | UnicodeError():
            return LinkLost("what answered broke the WebSocket protocol", 1002)
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
    """A nursery for the tasks of the library."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """As a nursery's."""
        self._nursery.start_soon(self._run, task, arguments)

    async def _run(self, task: Callable[..., Awaitable[object]], arguments: tuple[object, ...]) -> None:
        with _library_errors():
            await task(*arguments)


class _WebSocketLink:
    """A link over trio-websocket; ``read`` and ``keep_alive`` run beside its user."""

    def __init__(self, websocket: WebSocketConnection, tap: HandshakeStream, settings: LinkSettings) -> None:
        self._memory = LinkMemory(settings.memory)
        tap.opened(TextFrameReader(self._take, limit=MAX_MESSAGE_SIZE), self._wait_for_room, self._memory.reserve)
        tap.on_idle = self._flush
        self._websocket = websocket
        self._tap = tap
        self._clock = settings.clock
        self._interval = settings.heartbeat_interval
        self._most_frames = settings.batch_frames
        self._buffer: list[Frame] = []
        self._size = 0
        self._ended: OrchestratorError | None = None
        self._closing = False
        self._arrival = trio.Event()
        self._room: trio.Event | None = None
        self._pong_is_due = False
        self._ping_in_flight = False
        self._nudge = trio.Event()

    @property
    def last_received_at(self) -> float:
        return self._tap.last_received_at

    async def receive_batch(self) -> list[Frame]:
        while not self._buffer:
            if self._ended is not None:
                raise self._ended
            self._arrival = trio.Event()
            self._memory.hand_over()
            await self._arrival.wait()
        self._memory.hand_over()
        if len(self._buffer) <= self._most_frames:
            return self.leftover()
        batch = self._buffer[: self._most_frames]
        del self._buffer[: self._most_frames]
        self._size -= sum(map(len, batch))
        return batch

    def leftover(self) -> list[Frame]:
        batch, self._buffer, self._size = self._buffer, [], 0
        if self._room is not None:
            self._room.set()
        return batch

    async def read(self) -> None:
        """Read ahead until the connection ends."""
        receive, tap = self._websocket.get_message, self._tap
        while self._ended is None:
            try:
                with _library_errors():
                    frame = await receive()
            except ConnectionClosed as closed:
                if not self._closing:
                    self._end(tap.error or _as_link_error(closed) or error_for_close(1006))
                return
            if not self._take(frame):
                await self._wait_for_room()
            elif tap.idle:
                self._arrival.set()

    def _take(self, frame: Frame) -> bool:
        """Whether there is room for more."""
        self._tap.on_message()
        has_room = self._memory.add_frame(len(frame))
        self._buffer.append(frame)
        self._size += len(frame)
        if is_ping(frame):
            self._pong_is_due = True
            self._nudge.set()
        return has_room and len(self._buffer) < MAX_BATCH_FRAMES and self._size < MAX_BATCH_SIZE

    async def _wait_for_room(self) -> None:
        self._arrival.set()
        self._room = trio.Event()
        await self._room.wait()
        self._room = None
        # What could not be heard while nobody read was no silence.
        self._tap.last_received_at = trio.current_time()

    def _flush(self) -> None:
        # Called when all that was read is decoded; until then a batch grows instead of being handed over.
        if self._buffer:
            self._arrival.set()

    def _end(self, error: OrchestratorError) -> None:
        if self._ended is None:
            self._ended = error
        self._arrival.set()

    async def keep_alive(self, nursery: trio.Nursery) -> None:
        """Ping, answer pings, and end the link when nothing comes back."""
        pinged_at = trio.current_time()
        while self._ended is None:
            now = trio.current_time()
            pulse = HeartbeatState(
                self._interval,
                self._tap.last_received_at,
                pinged_at,
                paused=self._room is not None or self._memory.is_waiting,
            )
            beat, wait = next_action(pulse, now)
            if beat is HeartbeatAction.DEAD:
                self._end(LinkLost(f"nothing was heard for {now - pulse.last_received_at:.0f} s"))
                return
            if beat is HeartbeatAction.PING:
                pinged_at = now
                await self._send("ping")
                if not self._ping_in_flight:
                    nursery.start_soon(self._ping)
                continue
            if self._pong_is_due:
                self._pong_is_due = False
                await self._send("pong")
                continue
            self._nudge = trio.Event()
            with trio.move_on_after(wait):
                await self._nudge.wait()

    async def _send(self, kind: str) -> None:
        with trio.move_on_after(self._interval) as scope:
            try:
                with _library_errors():
                    await self._websocket.send_message(control_frame(kind, self._clock.now()))
            except ConnectionClosed:
                return  # the reader says why
        if scope.cancelled_caught:
            self._end(LinkLost("the orchestrator does not take what we send"))

    async def _ping(self) -> None:
        # A protocol ping beside the JSON one, for what stands between us and a busy orchestrator. The library
        # waits for the pong and never forgets a ping, so there is one at a time.
        self._ping_in_flight = True
        try:
            with _library_errors():
                await self._websocket.ping()
        except ConnectionClosed:
            return
        self._ping_in_flight = False

    async def finish(self) -> None:
        self._closing = True
        self._tap.last_received_at = trio.current_time()
        with trio.move_on_after(DRAIN_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_after_silence, nursery.cancel_scope)
                with _library_errors():
                    await self._websocket.aclose()
                nursery.cancel_scope.cancel()
        self._end(LinkLost("we closed the connection", 1000))

    async def _cancel_after_silence(self, scope: trio.CancelScope) -> None:
        while True:
            silence = trio.current_time() - self._tap.last_received_at
            # A pause of our own reader is none.
            if silence >= CLOSE_TIMEOUT_S and self._room is None and not self._memory.is_waiting:
                scope.cancel()
                return
            await trio.sleep(max(CLOSE_TIMEOUT_S - silence, SHORT_CLOSE_TIMEOUT_S))

    async def close(self) -> None:
        """Say goodbye, and wait a moment for the answer if there can be one."""
        self._memory.close()
        hasty = self._ended is not None or trio.current_effective_deadline() == -math.inf
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                patience = SHORT_CLOSE_TIMEOUT_S if hasty else CLOSE_TIMEOUT_S
                nursery.start_soon(_cancel_after, patience, nursery.cancel_scope)
                if isinstance(self._ended, LinkLost) and self._ended.code in LIMIT_FLAWS:
                    await self._tap.send_close(self._ended.code)
                with _library_errors():
                    await self._websocket.aclose()
                nursery.cancel_scope.cancel()


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    for _ in range(TIMEOUT_SLICES):
        await trio.sleep(seconds / TIMEOUT_SLICES)
    scope.cancel()
