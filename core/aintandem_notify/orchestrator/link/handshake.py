"""A stream between the socket and the WebSocket library. It observes the handshake and the bytes that arrive.

The library hides facts that a link needs:

- the HTTP status, if a refusal of the upgrade has no length
- that the peer closed the connection during the handshake: the library would wait for ever
- the time at which bytes arrived last; pongs count
- the moment at which all received bytes are decoded: then a batch is handed over
"""

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from secrets import token_bytes
from typing import Final

import trio
from wsproto import WSConnection

from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.orchestrator.link.close_codes import TOO_BIG, error_for_status
from aintandem_notify.orchestrator.link.frame_memory import MESSAGE_TIMEOUT_S, SMALL_MESSAGE_BYTES
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_MIN_STATUS_BYTES: Final = len(b"HTTP/1.1 101 ")
MAX_HEAD_BYTES: Final = 65536
"""Bytes of a response to the upgrade; servers send far less."""
PORTION_BYTES: Final = 2048
"""Bytes that the library gets at once. In the worst case, a thousand empty fragments, they take it some 20 ms."""
SWITCHING_PROTOCOLS: Final = 101
CLOSE_FRAME: Final = b"\x88"
"""First byte of a close frame: FIN and opcode 8."""
_MASKED: Final = 0x80


class HandshakeStream(trio.abc.Stream):
    """Wraps ``stream``, and observes the handshake and the bytes that arrive.

    Until the upgrade response is complete, ``receive_some`` raises LinkLost at EOF, and the error of
    ``error_for_status`` for a status other than 101. The library's reader passes these errors on. A caller that
    abandons the handshake sets ``error`` to the error to raise then.

    After the handshake, more than ``limit`` bytes without a whole message end the stream, and ``error`` says so.
    The link calls ``on_message`` for each message. ``reserve`` is awaited with the size of a message before more
    than ``SMALL_MESSAGE_BYTES`` of it are read; a message that is not complete ``message_timeout_s`` after that
    ends the stream, too.

    ``last_received_at`` is in seconds of trio's clock. While ``idle``, all received bytes are decoded; ``on_idle``
    is called when that begins.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, limit: int, message_timeout_s: float = MESSAGE_TIMEOUT_S
    ) -> None:
        self.last_received_at: float = trio.current_time()
        self.idle: bool = False
        self.error: OrchestratorError | None = None
        self.message_bytes: int = 0
        self.close_sent: bool = False
        self.on_idle: Callable[[], None] | None = None
        self._stream = stream
        self._limit = limit
        self._message_timeout_s = message_timeout_s
        self._open: trio.Event | None = trio.Event()
        self._head: bytearray | None = bytearray()
        self._after_head = b""
        self._text_frames: TextFrameReader | None = None
        self._wait_for_room: Callable[[], Awaitable[None]] | None = None
        self._reserve: Callable[[int], Awaitable[None]] | None = None
        self._message_deadline = math.inf
        self._for_library = bytearray()

    def start_frames(
        self,
        text_frames: TextFrameReader,
        wait_for_room: Callable[[], Awaitable[None]],
        reserve: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        """Begin to decode frames: from now on ``text_frames`` gets the bytes first, then the library."""
        self._text_frames, self._wait_for_room, self._reserve = text_frames, wait_for_room, reserve
        if self._open is not None:
            self._open.set()
            self._open = None  # a stream lives as long as its link, and there are thousands

    def on_message(self) -> None:
        """Record that a whole message was decoded; bytes that arrive now belong to the next one."""
        self.message_bytes = 0
        self._message_deadline = math.inf

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes for the library, without the text frames. Raises as the class says."""
        while True:
            if self._for_library:
                # The library decodes all that it gets in one go, and every two bytes may be a frame.
                await trio.lowlevel.checkpoint()
                portion = self._for_library[:PORTION_BYTES]
                del self._for_library[:PORTION_BYTES]
                return portion
            arrived = await self._next(max_bytes)
            if self._text_frames is None or self._wait_for_room is None or not arrived:
                return arrived
            passed = self._text_frames.split(arrived)
            while self._text_frames.is_full:
                await self._wait_for_room()
                passed += self._text_frames.split()
            self._for_library = passed

    async def _next(self, max_bytes: int | None) -> bytes | bytearray:
        if self._head is None and self._open is not None:
            # Frames that the library got before ``start_frames`` would come out after frames that bypass it.
            await self._open.wait()
        if self._after_head:
            after_head, self._after_head = self._after_head, b""
            return after_head
        self.idle = True
        if self.on_idle is not None:
            self.on_idle()
        try:
            is_small = self.message_bytes <= SMALL_MESSAGE_BYTES
            arrived = await (self._receive(max_bytes) if is_small else self._receive_in_time(max_bytes))
        finally:
            self.idle = False
        self.last_received_at = trio.current_time()
        if self._head is not None:
            return self._take_head(self._head, arrived)
        self.message_bytes += len(arrived)
        if self.message_bytes > self._limit:
            self.error = LinkLost(f"a message was too big: more than {self._limit} bytes", TOO_BIG)
            return b""
        return arrived

    async def _receive_in_time(self, max_bytes: int | None) -> bytes | bytearray:
        """The next bytes of a large message; none once it has taken too long."""
        if math.isinf(self._message_deadline):
            await self._reserve_memory()
        with trio.move_on_at(self._message_deadline):
            return await self._receive(max_bytes)
        self.error = LinkLost(f"a message did not end within {self._message_timeout_s:g} s", TOO_BIG)
        return b""

    async def _reserve_memory(self) -> None:
        if self._reserve is not None:
            await self._reserve(self._limit if self._text_frames is None else self._text_frames.expected_size)
            self._message_deadline = trio.current_time() + self._message_timeout_s

    def _take_head(self, head: bytearray, arrived: bytes | bytearray) -> bytes:
        self._head = _check_head(head, arrived)
        if self._head is not None:
            return bytes(arrived)
        excess = len(head) - (head.index(b"\r\n\r\n") + 4)
        self._after_head = bytes(arrived[len(arrived) - excess :])
        return bytes(arrived[: len(arrived) - excess])

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        try:
            return await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if self._head is not None:
                raise self.error or LinkLost("the connection broke during the handshake") from error
            raise

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream's own."""
        self.close_sent = self.close_sent or data[:1] == CLOSE_FRAME
        await self._stream.send_all(data)

    async def send_close(self, code: int) -> None:
        """Send a close frame, unless the library has sent one. For invalid frames it sends none."""
        if not self.close_sent:
            mask = token_bytes(4)
            content = bytes(byte ^ key for byte, key in zip(code.to_bytes(2), mask, strict=False))
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_all(CLOSE_FRAME + bytes([_MASKED | len(content)]) + mask + content)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream's own."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream's own; raises LinkLost before ``start_frames``.

        Before ``start_frames`` only the library closes the stream, after an invalid response, and it raises
        nothing itself.
        """
        await self._stream.aclose()
        if self._open is not None:
            raise LinkLost("the server broke the WebSocket handshake", 1002)


def _check_head(head: bytearray, arrived: bytes | bytearray) -> bytearray | None:
    """The head of the response so far, None if it is complete with status 101. Raises our errors otherwise."""
    if not arrived:
        raise LinkLost("the orchestrator hung up during the handshake")
    head += arrived
    status = _STATUS_LINE.match(head)
    if status is None and len(head) >= _MIN_STATUS_BYTES:
        raise LinkLost("the server does not speak HTTP", 1002)
    if status is not None and int(status[1]) != SWITCHING_PROTOCOLS:
        raise error_for_status(int(status[1]))
    if b"\r\n\r\n" in head:
        return None
    if len(head) > MAX_HEAD_BYTES:
        raise LinkLost("the answer to the handshake does not end", 1002)
    return head


class _HandshakeIsOver:
    """Takes the place of the library's own handshake."""

    def events(self) -> Sequence[object]:
        return ()


def forget_handshake(protocol: WSConnection) -> None:
    """Drop the library's parser of HTTP and all headers. It would keep them for as long as the link is open."""
    if protocol.connection is not None:
        protocol.handshake = _HandshakeIsOver()  # type: ignore[assignment]  # only its events are asked for
