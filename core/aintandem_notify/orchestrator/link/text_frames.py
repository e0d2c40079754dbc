"""Decodes the common case without the WebSocket library: text messages that come in a single frame.

The library spends two task switches and some thirty calls on each message. Nearly all messages are short unmasked
text frames that need none of it, so they are decoded here, straight from the bytes. Everything else goes to the
library unchanged: pings, pongs, closes, fragments, extensions, and frames that are too large, invalid or not
UTF-8.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

_TEXT: Final = 0x81
"""First byte of a text message in a single frame: FIN, no extension, opcode 1."""
_PING: Final = 0x89
_PONG: Final = 0x8A
_MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}


class _Frame(NamedTuple):
    """``first`` is the first byte, 0 if the frame is masked; ``start`` and ``end`` are those of the payload."""

    first: int
    start: int
    end: int


class TextFrameReader:
    """Splits the bytes after the handshake. Each whole text message goes to ``take``, in order.

    ``take`` returns whether there is room for more. If not, ``split`` stops; the next call goes on from there.
    After the first frame that only the library can decode, all bytes go to the library: the frame may begin a
    message, and messages must keep their order. ``limit`` is the maximum size of a message in bytes.
    """

    def __init__(self, take: Callable[[str], bool], *, limit: int) -> None:
        self.is_full = False
        self._take = take
        self._limit = limit
        self._waiting = bytearray()
        self._is_bypassed = False

    @property
    def expected_size(self) -> int:
        """The size in bytes of the message that has begun to arrive; ``limit`` if it is unknown or larger."""
        frame = None if self._is_bypassed else _frame_at(self._waiting, 0)
        return self._limit if frame is None else min(frame.end - frame.start, self._limit)

    def split(self, arrived: bytes | bytearray = b"") -> bytearray:
        """Add ``arrived`` to the waiting bytes, and return those of them that are for the library."""
        waiting, passed, position = self._waiting, bytearray(), 0
        waiting += arrived
        self.is_full = False
        while not self.is_full and not self._is_bypassed and (frame := _frame_at(waiting, position)) is not None:
            first, start, end = frame
            if first == _TEXT and end - start <= self._limit and end <= len(waiting):
                self._is_bypassed = not self._decode(waiting[start:end])
            elif first in (_PING, _PONG) and end <= len(waiting):
                passed += waiting[position:end]
            elif first in (_TEXT, _PING, _PONG) and end - start <= self._limit:
                break  # the frame is incomplete
            else:
                self._is_bypassed = True
            if not self._is_bypassed:
                position = end
        if self._is_bypassed:
            passed += waiting[position:]
            position = len(waiting)
        del waiting[:position]
        return passed

    def _decode(self, payload: bytearray) -> bool:
        """Pass the text to ``take``. Returns False if the payload is not UTF-8."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return False
        self.is_full = not self._take(text)
        return True


def _frame_at(content: bytearray, position: int) -> _Frame | None:
    """The frame at ``position``, None while its head is incomplete."""
    if len(content) < position + 2:
        return None
    first, length = content[position], content[position + 1]
    start = position + 2
    if length & _MASKED:
        return _Frame(0, start, start)
    if length in _LENGTH_BYTES:
        start += _LENGTH_BYTES[length]
        if len(content) < start:
            return None
        length = int.from_bytes(content[position + 2 : start])
    return _Frame(first, start, start + length)
