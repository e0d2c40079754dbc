"""Takes the common case off the WebSocket library's hands: whole text messages that come in one frame each.

The library spends two task switches and some thirty calls on each message. Nearly all of ours are short unmasked
text frames that need none of it, so they are decoded here, straight from the bytes. Whatever else there is
(pings, pongs, closes, fragments, extensions, what is too large, broken or no UTF-8) goes to the library as it
came, which knows what to do about it.
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
    """``first`` is its first byte, 0 when it is masked; ``start`` and ``end`` are those of its payload."""

    first: int
    start: int
    end: int


class TextFrameReader:
    """Splits what arrives after the handshake; each whole text message goes to ``take``, in order.

    ``take`` says whether there is room for more; if not, ``split`` stops, and goes on where it was when it is
    called again. Once anything comes that only the library understands, all that follows is the library's
    too: it may be the first piece of a message, and messages must keep their order. ``limit`` is the most
    bytes of a message.
    """

    def __init__(self, take: Callable[[str], bool], *, limit: int) -> None:
        self.is_full = False
        self._take = take
        self._limit = limit
        self._waiting = bytearray()
        self._is_over = False

    @property
    def expected(self) -> int:
        """Bytes of the message that has begun to arrive, as far as anybody knows: at the most ``limit``."""
        frame = None if self._is_over else _frame_at(self._waiting, 0)
        return self._limit if frame is None else min(frame.end - frame.start, self._limit)

    def split(self, arrived: bytes | bytearray = b"") -> bytearray:
        """What of ``arrived``, and of what waited for it, is for the library; may be empty."""
        waiting, passed, position = self._waiting, bytearray(), 0
        waiting += arrived
        self.is_full = False
        while not self.is_full and not self._is_over and (frame := _frame_at(waiting, position)) is not None:
            first, start, end = frame
            if first == _TEXT and end - start <= self._limit and end <= len(waiting):
                self._is_over = not self._took(waiting[start:end])
            elif first in (_PING, _PONG) and end <= len(waiting):
                passed += waiting[position:end]
            elif first in (_TEXT, _PING, _PONG) and end - start <= self._limit:
                break  # the rest of it is still to come
            else:
                self._is_over = True
            if not self._is_over:
                position = end
        if self._is_over:
            passed += waiting[position:]
            position = len(waiting)
        del waiting[:position]
        return passed

    def _took(self, payload: bytearray) -> bool:
        """False when it is no text."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return False
        self.is_full = not self._take(text)
        return True


def _frame_at(content: bytearray, position: int) -> _Frame | None:
    """The frame at ``position``, None while its head is not all there."""
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
