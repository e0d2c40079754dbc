"""A stream that watches what passes through it on its way to the WebSocket library.

The library hides what we must know: the HTTP status when it refuses an upgrade without a length, that the
peer hung up in the middle of the handshake (it waits for ever), when bytes arrived last (pongs count as life)
and when everything that was read has been decoded (the moment to hand a batch over).
"""

import math
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_bytes
from typing import Final

import trio

from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.orchestrator.link.close_codes import TOO_BIG, error_for_status
from aintandem_notify.orchestrator.link.frame_memory import MESSAGE_TIMEOUT_S, SMALL_MESSAGE_BYTES
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_MIN_STATUS_BYTES: Final = len(b"HTTP/1.1 101 ")
MAX_HEAD_BYTES: Final = 65536
"""Bytes of an answer to the upgrade; far beyond what servers send."""
PORTION_BYTES: Final = 2048
"""Bytes that the library gets at once: as a thousand empty fragments they keep the loop for some 20 ms."""
SWITCHING_PROTOCOLS: Final = 101
CLOSE_FRAME: Final = b"\x88"
"""First byte of a close frame, which the library sends by itself: FIN and opcode 8."""
_MASKED: Final = 0x80


class HandshakeStream(trio.abc.Stream):
    """``stream``, watched.

    Up to the end of the answer to the upgrade, its end or a refusal raise our errors out of ``receive_some``,
    and so out of the library's reader; where it is given up, ``error`` is set to what to say then. After that,
    more than ``limit`` bytes without a whole message end the stream, and ``error`` says so; whoever takes
    messages sets ``message_bytes`` to 0. ``last_received_at`` is in seconds of trio's clock. While ``idle``, all
    that arrived is decoded; ``on_idle`` is called when that begins.

    ``ask`` is waited for, with the size of the message, before more than ``SMALL_MESSAGE_BYTES`` of it are read.
    After that a message that does not come to its end in time ends the stream, too.
    """

    def __init__(self, stream: trio.abc.Stream, *, limit: int) -> None:
        self.last_received_at = trio.current_time()
        self.idle = False
        self.error: OrchestratorError | None = None
        self.message_bytes = 0
        self.close_sent = False
        self.on_idle: Callable[[], None] | None = None
        self._stream = stream
        self._limit = limit
        self._open = trio.Event()
        self._head: bytearray | None = bytearray()
        self._early = b""
        self._whole: TextFrameReader | None = None
        self._wait_for_room: Callable[[], Awaitable[None]] | None = None
        self._ask: Callable[[int], Awaitable[None]] | None = None
        self._ends_until = math.inf
        self._passed = bytearray()

    def opened(
        self,
        whole: TextFrameReader,
        wait_for_room: Callable[[], Awaitable[None]],
        ask: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        """The library has accepted the handshake: from now on ``whole`` gets what arrives before it does."""
        self._whole, self._wait_for_room, self._ask = whole, wait_for_room, ask
        self._open.set()

    def on_message(self) -> None:
        """A whole message is there; what arrives now is of the next."""
        self.message_bytes = 0
        self._ends_until = math.inf

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream's own; see the class for what it raises. What ``whole`` takes never shows."""
        while True:
            if self._passed:
                # The library reads all that it gets in one go, and each two bytes may be a frame.
                await trio.lowlevel.checkpoint()
                portion = self._passed[:PORTION_BYTES]
                del self._passed[:PORTION_BYTES]
                return portion
            arrived = await self._next(max_bytes)
            if self._whole is None or self._wait_for_room is None or not arrived:
                return arrived
            passed = self._whole.split(arrived)
            while self._whole.is_full:
                await self._wait_for_room()
                passed += self._whole.split()
            self._passed = passed

    async def _next(self, max_bytes: int | None) -> bytes | bytearray:
        if self._head is None and not self._open.is_set():
            # Whoever takes messages is about to be there. What the library got before would come out behind
            # what was taken past it.
            await self._open.wait()
        if self._early:
            early, self._early = self._early, b""
            return early
        self.idle = True
        if self.on_idle is not None:
            self.on_idle()
        arrived: bytes | bytearray = b""
        try:
            with trio.move_on_at(self._ends_until) as time:
                if (
                    self._ask is not None
                    and self.message_bytes > SMALL_MESSAGE_BYTES
                    and math.isinf(self._ends_until)
                ):
                    await self._ask(self._limit if self._whole is None else self._whole.expected)
                    self._ends_until = trio.current_time() + MESSAGE_TIMEOUT_S
                arrived = await self._receive(max_bytes)
        finally:
            self.idle = False
        self.last_received_at = trio.current_time()
        if time.cancelled_caught:
            self.error = LinkLost(f"a message did not end within {MESSAGE_TIMEOUT_S:g} s", TOO_BIG)
            return b""
        if self._head is not None:
            return self._take_head(self._head, arrived)
        self.message_bytes += len(arrived)
        if self.message_bytes > self._limit:
            self.error = LinkLost(f"a message was too big: more than {self._limit} bytes", TOO_BIG)
            return b""
        return arrived

    def _take_head(self, head: bytearray, arrived: bytes | bytearray) -> bytes:
        self._head = _check_head(head, arrived)
        if self._head is not None:
            return bytes(arrived)
        beyond = len(head) - (head.index(b"\r\n\r\n") + 4)
        self._early = bytes(arrived[len(arrived) - beyond :])
        return bytes(arrived[: len(arrived) - beyond])

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
        """Send a close frame, if the library has not: it tells nobody why it gives up on what it cannot read."""
        if not self.close_sent:
            mask = token_bytes(4)
            content = bytes(one ^ other for one, other in zip(code.to_bytes(2), mask, strict=False))
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_all(CLOSE_FRAME + bytes([_MASKED | len(content)]) + mask + content)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream's own."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream's own; raises LinkLost before ``opened``.

        Only the library closes then, when what answered makes no sense to it, and it tells nobody.
        """
        await self._stream.aclose()
        if not self._open.is_set():
            raise LinkLost("what answered broke the WebSocket handshake", 1002)


def _check_head(head: bytearray, arrived: bytes | bytearray) -> bytearray | None:
    """The answer to the upgrade so far, None when it is complete and says yes; raises our errors otherwise."""
    if not arrived:
        raise LinkLost("the orchestrator hung up during the handshake")
    head += arrived
    status = _STATUS_LINE.match(head)
    if status is None and len(head) >= _MIN_STATUS_BYTES:
        raise LinkLost("what answered does not speak HTTP", 1002)
    if status is not None and int(status[1]) != SWITCHING_PROTOCOLS:
        raise error_for_status(int(status[1]))
    if b"\r\n\r\n" in head:
        return None
    if len(head) > MAX_HEAD_BYTES:
        raise LinkLost("the answer to the handshake does not end", 1002)
    return head
