"""Splits off the common case without the WebSocket library: text messages that come in a single frame.

The library spends two task switches and some thirty calls on each message. Nearly all messages are short unmasked
text frames that need none of it, so one loop cuts them out of all bytes that have arrived. Everything else goes to
the library unchanged: pings, pongs, closes, fragments, extensions, and frames that are too large, invalid or not
UTF-8.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from aintandem_notify.orchestrator.link.heartbeat import may_hold_control

PORTION_FRAMES: Final = 512
"""Frames that are handed over at once, so that their bounds are checked often enough."""
PORTION_BYTES: Final = 2**16
"""Bytes of frames that are handed over at once, about."""

_USUAL_HEAD: Final = 0x817E
"""First two bytes of nearly every event: a text message in a single frame, unmasked, with a length of 16 bits."""
_TEXT: Final = 0x81
"""First byte of a text message in a single frame: FIN, no extension, opcode 1."""
_CONTROL: Final = frozenset({0x89, 0x8A})
"""First bytes of pings and pongs."""
_LENGTH_16: Final = 126
_MASKED: Final = 128
_PADDING: Final = bytes(4)
"""Follows all that has arrived, so that four bytes can be read at its end, too."""

_unpack_head: Final = Struct("!HH").unpack_from


class TextFrameReader:
    """Splits the bytes after the handshake. The texts of the text messages go to ``take``, in order, undecoded.

    ``take`` gets a few at a time, and returns whether there is room for more. If not, ``split`` stops; the next
    call goes on from there. After the first frame that only the library can decode, all bytes go to the library:
    the frame may begin a message, and messages must keep their order. ``limit`` is the maximum size of a message
    in bytes, at least 65,535. ``expected_size`` is the size of the message that has begun to arrive; ``limit`` if
    it is unknown or larger. While ``take`` is called, ``may_hold_control`` is false if none of the messages is a
    ping or pong.
    """

    def __init__(
        self, take: Callable[[list[bytes]], bool], *, limit: int, portion_frames: int = PORTION_FRAMES
    ) -> None:
        self.is_full: bool = False
        self.may_hold_control: bool = False
        self.expected_size: int = limit
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
        waiting = self._waiting
        if len(waiting) + len(arrived) < self._needed:  # so a large message in many pieces is copied once
            waiting += arrived
            return bytearray()
        content, position, passed = b"".join((waiting, arrived, _PADDING)), 0, bytearray()
        self.may_hold_control = may_hold_control(content)
        while not self.is_full:
            frames, end = self._cut(content, position, passed)
            if end == position:
                break
            position = end
            self.is_full = bool(frames) and not self._take(frames)
        rest = content[position : -len(_PADDING)]
        if self._is_bypassed:
            passed += rest
        waiting[:] = b"" if self._is_bypassed else rest
        return passed

    def _cut(self, content: bytes, position: int, passed: bytearray) -> tuple[list[bytes], int]:
        """The next text messages and the position behind them; control frames between them go to ``passed``."""
        frames, controls, end = self._cut_unchecked(content, position, self._portion_frames)
        if (count := _count_utf8(frames)) < len(frames):
            # The library gets the first one that is not UTF-8, and all bytes from there on.
            frames, controls, end = self._cut_unchecked(content, position, count)
            self._is_bypassed = True
        passed += controls
        return frames, end

    def _cut_unchecked(self, content: bytes, position: int, most: int) -> tuple[list[bytes], bytearray, int]:
        """At most so many text messages, UTF-8 or not, the control frames between, and the position behind."""
        frames: list[bytes] = []
        controls = bytearray()
        add, unpack_head, size, limit = frames.append, _unpack_head, len(content) - len(_PADDING), self._limit
        stop = min(position + PORTION_BYTES, size)
        self._needed, self.expected_size = 0, limit
        for _ in range(most):
            head, length = unpack_head(content, position)
            start = position + 4
            end = start + length
            if head == _USUAL_HEAD and end <= stop:
                add(content[start:end])
                position = end
                continue
            if position >= stop or position + 2 > size:
                break
            start, length = self._odd_head(content, position)
            if start > size:
                break
            end = start + length
            first = content[position]
            if length > limit or (first != _TEXT and first not in _CONTROL):
                self._is_bypassed = True
                break
            if end > size:
                self._needed, self.expected_size = end - position, length
                break
            if first == _TEXT:
                add(content[start:end])
            else:
                controls += content[position:end]
            position = end
        return frames, controls, position

    def _odd_head(self, content: bytes, position: int) -> tuple[int, int]:
        """Start and length of the payload of any frame; too long a length if it is masked."""
        length, start = content[position + 1], position + 2
        if length >= _MASKED:
            return start, self._limit + 1
        if length < _LENGTH_16:
            return start, length
        end = start + (2 if length == _LENGTH_16 else 8)
        return end, int.from_bytes(content[start:end])


def _count_utf8(frames: Sequence[bytes]) -> int:
    """The number of frames before the first one that is not UTF-8."""
    content = b" ".join(frames)  # with a space between them, so that no character is made of parts of two
    if content.isascii() or _is_utf8(content):
        return len(frames)
    return next(index for index, frame in enumerate(frames) if not _is_utf8(frame))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
