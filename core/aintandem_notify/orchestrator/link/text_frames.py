"""Splits off the common case without the WebSocket library: text messages that come in a single frame.

The library spends two task switches and some thirty calls on each message. Nearly all messages are short unmasked
text frames that need none of it, so one loop cuts them out of all bytes that have arrived. Everything else goes to
the library unchanged: pings, pongs, closes, fragments, extensions, and frames that are too large, invalid or not
UTF-8.
"""

from collections.abc import Callable
from typing import Final

from aintandem_notify.orchestrator.link.heartbeat import PING_WORD

PORTION_FRAMES: Final = 256
"""Frames that are handed over at once, so that their bounds are checked often enough."""
PORTION_BYTES: Final = 2**14
"""Bytes of frames that are handed over at once, about."""

_TEXT: Final = 0x81
"""First byte of a text message in a single frame: FIN, no extension, opcode 1."""
_CONTROL: Final = frozenset({0x89, 0x8A})
"""First bytes of pings and pongs."""
_LENGTH_16: Final = 126
_MASKED: Final = 128


class TextFrameReader:
    """Splits the bytes after the handshake. The texts of the text messages go to ``take``, in order, undecoded.

    ``take`` gets a few at a time, and returns whether there is room for more. If not, ``split`` stops; the next
    call goes on from there. After the first frame that only the library can decode, all bytes go to the library:
    the frame may begin a message, and messages must keep their order. ``limit`` is the maximum size of a message
    in bytes. ``expected_size`` is the size of the message that has begun to arrive; ``limit`` if it is unknown or
    larger. While ``take`` is called, ``may_hold_ping`` is false if none of the messages is a ping.
    """

    def __init__(
        self, take: Callable[[list[bytes]], bool], *, limit: int, portion_frames: int = PORTION_FRAMES
    ) -> None:
        self.is_full = False
        self.may_hold_ping = False
        self.expected_size = limit
        self._take = take
        self._limit = limit
        self._portion_frames = portion_frames
        self._waiting = bytearray()
        self._needed = 0
        self._is_bypassed = False

    def split(self, arrived: bytes | bytearray = b"") -> bytearray:
        """Add ``arrived`` to the waiting bytes, and return those of them that are for the library."""
        self.is_full = False
        if self._is_bypassed:
            return bytearray(arrived)
        self._waiting += arrived
        if len(self._waiting) < self._needed:  # so a large message that arrives in many pieces is copied once
            return bytearray()
        content, position, passed = bytes(self._waiting), 0, bytearray()
        self.may_hold_ping = PING_WORD in content  # one search in all is quicker than one in each message
        while not self.is_full:
            frames, end = self._cut(content, position, passed)
            if end == position:
                break
            position = end
            self.is_full = bool(frames) and not self._take(frames)
        if self._is_bypassed:
            passed += content[position:]
            position = len(content)
        del self._waiting[:position]
        return passed

    def _cut(self, content: bytes, position: int, passed: bytearray) -> tuple[list[bytes], int]:
        """The next text messages and the position behind them; control frames between them go to ``passed``."""
        frames: list[bytes] = []
        add, size, limit = frames.append, len(content), self._limit
        last = min(position + PORTION_BYTES, size - 1)
        self._needed, self.expected_size = 0, limit
        for _ in range(self._portion_frames):
            if position >= last:
                break
            first, length, start = content[position], content[position + 1], position + 2
            if length >= _LENGTH_16:  # as in nearly every event
                start = position + 4
                if length != _LENGTH_16:
                    start, length = self._long_head(content, position)
                elif start <= size:
                    length = content[position + 2] << 8 | content[position + 3]
                if start > size:
                    break
            end = start + length
            if length > limit or (first != _TEXT and first not in _CONTROL):
                self._is_bypassed = True
                break
            if end > size:
                self._needed, self.expected_size = end - position, length
                break
            if first == _TEXT:
                payload = content[start:end]
                if not payload.isascii() and not _is_utf8(payload):
                    self._is_bypassed = True
                    break
                add(payload)
            else:
                passed += content[position:end]
            position = end
        return frames, position

    def _long_head(self, content: bytes, position: int) -> tuple[int, int]:
        """Start and length of the payload of a large frame; too long a length if it is masked."""
        start = position + 10
        if content[position + 1] >= _MASKED:
            return position + 2, self._limit + 1
        return start, int.from_bytes(content[position + 2 : start])


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
