"""One WebSocket to the orchestrator, over trio-websocket.

A link reads ahead in the background into a bounded buffer, and hands over all buffered frames at once. A full
buffer stops the reader, so TCP carries the back-pressure. Beside the library's reader a link has one task, which
pings and takes the few messages that the library decodes: thousands of idle links have to be cheap. ``frames``
decides about the meaning of a frame, ``reconnect_policy`` about the reaction to the end of a link.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from aintandem_notify.config import DIRECT, Outbound
from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.link.close_codes import LIMIT_FLAWS, error_for_close
from aintandem_notify.orchestrator.link.dial import TlsContext, open_stream
from aintandem_notify.orchestrator.link.frame_memory import MESSAGE_TIMEOUT_S, FrameMemory, LinkMemory
from aintandem_notify.orchestrator.link.handshake import HandshakeStream, forget_handshake
from aintandem_notify.orchestrator.link.heartbeat import (
    PING,
    PONG,
    HeartbeatAction,
    HeartbeatState,
    control_frame,
    control_type,
    next_action,
)
from aintandem_notify.orchestrator.link.library_errors import (
    LibraryTasks,
    as_link_error,
    library_errors,
    link_groups,
)
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader
from aintandem_notify.orchestrator.protocol.address import Endpoint, SocketTarget

Frame = str | bytes
T = TypeVar("T")

MAX_MESSAGE_SIZE: Final = 16 * 2**20
"""Bytes of one message; an ``output`` can be large, but nobody reads a larger event."""
MESSAGE_QUEUE_SIZE: Final = 1
"""Messages that the library decodes ahead of our reader. It gets few messages, but each may be very large."""
RECEIVE_BUFFER_SIZE: Final = 256 * 2**10
"""Bytes read from the socket at once; a busy link costs a round of the event loop for each read."""
MAX_BATCH_FRAMES: Final = 4000
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

    ``connect_timeout`` and ``heartbeat_interval`` are in seconds. ``handshakes`` bounds the connections that are
    opened at the same time, ``memory`` the frames that all links read ahead. ``message_timeout_s``: as
    ``MESSAGE_TIMEOUT_S``. ``hasty_close_s``: as ``SHORT_CLOSE_TIMEOUT_S``.
    """

    open_stream: StreamOpener
    clock: Clock
    connect_timeout: float = 10.0
    heartbeat_interval: float = 30.0
    handshakes: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_HANDSHAKES))
    memory: FrameMemory = field(default_factory=FrameMemory)
    message_timeout_s: float = MESSAGE_TIMEOUT_S
    hasty_close_s: float = SHORT_CLOSE_TIMEOUT_S


def stream_opener(tls: TlsContext, outbound: Outbound = DIRECT) -> StreamOpener:
    """Opens streams over TCP, with TLS if the endpoint asks for it, by the rules of ``outbound``."""
    return lambda endpoint: open_stream(endpoint, tls=tls, outbound=outbound)


@asynccontextmanager
async def open_link(target: SocketTarget, settings: LinkSettings) -> AsyncIterator[Link]:
    """As ``connect_link``, and a task runs the link."""
    with link_groups:
        async with connect_link(target, settings) as link, trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            yield link
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connect_link(target: SocketTarget, settings: LinkSettings) -> AsyncIterator[Link]:
    """A link to ``target``; it is always closed at the end of the block. Somebody must run it meanwhile.

    Raises LinkLost, LinkRefused or ProjectGone if it cannot be opened.
    """
    with link_groups:
        async with trio.open_nursery() as nursery:
            async with settings.handshakes:
                link = await _connect(target, settings, nursery)
            try:
                yield link
            finally:
                await link.close()
            # Only after the stream is closed: a Cancelled from its close would hide the error that ended the link.
            nursery.cancel_scope.cancel()


async def _connect(target: SocketTarget, settings: LinkSettings, nursery: trio.Nursery) -> "_WebSocketLink":
    """Dial and do the WebSocket handshake within the deadline."""
    timeout_error = LinkLost(f"no connection within {settings.connect_timeout:g} s")
    with trio.move_on_after(settings.connect_timeout):
        stream = await settings.open_stream(target.endpoint)
        timeout_error = LinkLost(
            f"the orchestrator did not answer the handshake within {settings.connect_timeout:g} s"
        )
        handshake = HandshakeStream(
            stream,
            limit=MAX_MESSAGE_SIZE + RECEIVE_BUFFER_SIZE,
            message_timeout_s=settings.message_timeout_s,
        )
        try:
            with library_errors:
                websocket = await wrap_client_stream(
                    LibraryTasks(nursery),  # type: ignore[arg-type]  # the library only starts its reader there
                    handshake,  # type: ignore[arg-type]  # the library only sends, receives and closes
                    target.endpoint.authority,
                    target.resource,
                    message_queue_size=MESSAGE_QUEUE_SIZE,
                    max_message_size=MAX_MESSAGE_SIZE,
                    receive_buffer_size=RECEIVE_BUFFER_SIZE,
                )
            forget_handshake(websocket._wsproto)  # noqa: SLF001  # nothing else leads there
            return _WebSocketLink(websocket, handshake, settings, nursery)
        except BaseException as error:  # also if cancelled: nobody else knows the stream yet
            if isinstance(error, trio.Cancelled):
                handshake.error = timeout_error  # the library's reader finds the stream closed before it is raised
            await trio.aclose_forcefully(stream)
            raise
    raise timeout_error


class _WebSocketLink:
    """A link over trio-websocket. Pings of the protocol wait for their pong in ``nursery``."""

    def __init__(
        self,
        websocket: WebSocketConnection,
        stream: HandshakeStream,
        settings: LinkSettings,
        nursery: trio.Nursery,
    ) -> None:
        self._memory = LinkMemory(settings.memory)
        self._text_frames = TextFrameReader(self._take_texts, limit=MAX_MESSAGE_SIZE)
        stream.start_frames(self._text_frames, self._wait_for_room, self._memory.reserve)
        stream.on_idle = self._hand_over
        self._websocket = websocket
        self._stream = stream
        self._nursery = nursery
        self._settings = settings
        self._buffer: list[Frame] = []
        self._size = 0
        self._ended: OrchestratorError | None = None
        self._arrival: trio.Event | None = None
        self._room: trio.Event | None = None
        self._wait_scope: trio.CancelScope | None = None
        self._over: trio.Event | None = None
        self._pinged_at = trio.current_time()
        self._is_answered = False
        self._pong_is_due = False
        self._ping_in_flight = False

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
        return self.take_buffered()

    def take_buffered(self) -> list[Frame]:
        batch, self._buffer, self._size = self._buffer, [], 0
        if self._room is not None:
            self._room.set()
        return batch

    async def run(self) -> None:
        while self._ended is None:
            try:
                with library_errors:
                    frame = await self._stay_alive(self._websocket.get_message)
            except ConnectionClosed as closed:
                await self._on_closed(closed)
                return
            if frame is None:
                return
            content = frame.encode() if isinstance(frame, str) else BinaryFrame(frame)
            if not self._take([content], may_hold_control=True):
                await self._stay_alive(self._begin_pause().wait)
                self._end_pause()
            elif self._stream.idle:
                self._hand_over()

    async def _on_closed(self, closed: ConnectionClosed) -> None:
        if self._over is None:
            self._end(self._stream.error or as_link_error(closed) or error_for_close(1006))
        else:
            await self._over.wait()

    def _take_texts(self, texts: Sequence[Frame]) -> bool:
        return self._take(texts, may_hold_control=self._text_frames.may_hold_control)

    def _take(self, frames: Sequence[Frame], *, may_hold_control: bool) -> bool:
        """Buffer some frames, at least one, but no pongs. Returns whether there is room for more."""
        self._stream.on_message()
        if may_hold_control:
            frames = self._without_pongs(frames)
        size = sum(map(len, frames))
        has_room = self._memory.add_frames(len(frames), size)
        self._buffer += frames
        self._size += size
        return has_room and len(self._buffer) < MAX_BATCH_FRAMES and self._size < MAX_BATCH_SIZE

    def _without_pongs(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        types = list(map(control_type, frames))
        if PING in types:
            self._pong_is_due = True
            self._wake()
        if PONG not in types:
            return frames
        self._is_answered = True
        return [frame for frame, control in zip(frames, types, strict=True) if control != PONG]

    async def _wait_for_room(self) -> None:
        await self._begin_pause().wait()
        self._end_pause()

    def _begin_pause(self) -> trio.Event:
        self._hand_over()
        self._room = trio.Event()
        return self._room

    def _end_pause(self) -> None:
        self._room = None
        # The time without reading does not count as silence.
        self._stream.last_received_at = trio.current_time()

    def _hand_over(self) -> None:
        # Called when all received bytes are decoded; until then the batch grows and is not handed over.
        if self._buffer and self._arrival is not None:
            self._arrival.set()

    def _end(self, error: OrchestratorError) -> None:
        if self._ended is None:
            self._ended = error
        for waits in (self._arrival, self._over):
            if waits is not None:
                waits.set()
        self._wake()

    def _wake(self) -> None:
        if self._wait_scope is not None:
            self._wait_scope.cancel()

    async def _stay_alive(self, wait: Callable[[], Awaitable[T]]) -> T | None:
        """The result of ``wait``, which is begun anew after each heartbeat. None if the link ends before."""
        while self._ended is None:
            pause = await self._beat()
            if pause > 0:
                with trio.move_on_after(pause) as self._wait_scope:
                    return await wait()
        return None

    async def _beat(self) -> float:
        """Do one thing that is due, if anything is. Returns the seconds until the next one."""
        now, last_received_at = trio.current_time(), self._stream.last_received_at
        is_paused = self._room is not None or self._memory.is_waiting
        state = HeartbeatState(
            self._settings.heartbeat_interval, last_received_at, self._pinged_at, paused=is_paused
        )
        action, pause = next_action(state, now)
        if action is HeartbeatAction.DEAD:
            self._end(LinkLost(f"nothing was heard for {now - last_received_at:.0f} s"))
        elif action is HeartbeatAction.PING:
            is_answered, self._is_answered, self._pinged_at = self._is_answered, False, now
            await self._send(PING)
            if not is_answered and not self._ping_in_flight:
                self._nursery.start_soon(self._ping)
        elif self._pong_is_due:
            self._pong_is_due = False
            await self._send(PONG)
        return pause if action is HeartbeatAction.WAIT and not self._pong_is_due else 0.0

    async def _send(self, control: str) -> None:
        with trio.move_on_after(self._settings.heartbeat_interval) as scope:
            try:
                with library_errors:
                    await self._websocket.send_message(control_frame(control, self._settings.clock.now()))
            except ConnectionClosed:
                return  # the reader reports the reason
        if scope.cancelled_caught:
            self._end(LinkLost("the orchestrator does not read our messages"))

    async def _ping(self) -> None:
        # A protocol ping beside the JSON one, for the proxies and servers between us and a busy orchestrator. The
        # library waits for the pong and never forgets a ping, so there is one at a time.
        self._ping_in_flight = True
        try:
            with library_errors:
                await self._websocket.ping()
        except ConnectionClosed:
            return
        self._ping_in_flight = False

    async def finish(self) -> None:
        self._over = trio.Event()
        self._stream.last_received_at = trio.current_time()
        try:
            with trio.move_on_after(DRAIN_TIMEOUT_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._cancel_after_silence, nursery.cancel_scope)
                    # Within the nursery, which would put the error into a group.
                    with suppress(LinkLost), library_errors:
                        await self._websocket.aclose()
                    nursery.cancel_scope.cancel()
        finally:
            self._end(LinkLost("we closed the connection", 1000))

    async def _cancel_after_silence(self, scope: trio.CancelScope) -> None:
        while True:
            silence = trio.current_time() - self._stream.last_received_at
            # A pause of our own reader does not count as silence.
            if silence >= CLOSE_TIMEOUT_S and self._room is None and not self._memory.is_waiting:
                scope.cancel()
                return
            await trio.sleep(max(CLOSE_TIMEOUT_S - silence, self._settings.hasty_close_s))

    async def close(self) -> None:
        """Send a close frame, and wait a moment for the answer if there can be one."""
        self._memory.close()
        is_hasty = self._ended is not None or trio.current_effective_deadline() == -math.inf
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                timeout = self._settings.hasty_close_s if is_hasty else CLOSE_TIMEOUT_S
                nursery.start_soon(_cancel_after, timeout, nursery.cancel_scope)
                if isinstance(self._ended, LinkLost) and self._ended.code in LIMIT_FLAWS:
                    await self._stream.send_close(self._ended.code)
                with library_errors:
                    await self._websocket.aclose()
                nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(self._stream)


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    for _ in range(TIMEOUT_SLICES):
        await trio.sleep(seconds / TIMEOUT_SLICES)
    scope.cancel()
