"""A bounded queue of lines that wait to be written; lines that do not fit are counted. Pure; not thread-safe."""

from collections import deque
from typing import Final

MAX_WAITING_BYTES: Final = 1 << 20
"""Bytes that wait for a blocked stream: some thousand lines, enough to see how the trouble began."""


class LineBuffer:
    """A queue of lines, first in, first out; drops the newest when it is full."""

    def __init__(self, limit: int = MAX_WAITING_BYTES) -> None:
        """``limit`` is in bytes; a single line may be longer."""
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0

    def put(self, text: bytes) -> None:
        """Queue ``text``, or drop it. After one drop everything is dropped until ``take`` has reported it."""
        if self._dropped or (self._waiting and self._size + len(text) > self._limit):
            self._dropped += count_lines(text)
            return
        self._waiting.append(text)
        self._size += len(text)

    def take(self) -> tuple[list[bytes], int]:
        """Empty the buffer. Returns its texts, and the number of lines that were dropped after them."""
        texts, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._size = self._dropped = 0
        return texts, dropped

    def __bool__(self) -> bool:
        return bool(self._waiting or self._dropped)


def count_lines(text: bytes) -> int:
    """The number of lines in ``text``; a line without a line break at its end counts, too."""
    return max(text.count(b"\n"), 1)
