"""Lines that wait to be written: bounded, in order, and what does not fit is counted. Pure; not thread-safe."""

from collections import deque
from typing import Final

MAX_WAITING_BYTES: Final = 1 << 20
"""Bytes that wait for a stream that takes nothing: some thousand lines, which tell how the trouble began."""


class LineBuffer:
    """Takes lines in and gives them out in the same order; drops the newest when it is full."""

    def __init__(self, limit: int = MAX_WAITING_BYTES) -> None:
        """``limit`` is in bytes; a single line may be longer."""
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0

    def put(self, text: bytes) -> None:
        """Let ``text`` wait, or drop it. Once something was dropped, all is until ``take`` has said so."""
        if self._dropped or (self._waiting and self._size + len(text) > self._limit):
            self._dropped += count_lines(text)
            return
        self._waiting.append(text)
        self._size += len(text)

    def take(self) -> tuple[list[bytes], int]:
        """All that waits, and how many lines were dropped behind it; the buffer is empty then."""
        taken, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._size = self._dropped = 0
        return taken, dropped

    def __bool__(self) -> bool:
        return bool(self._waiting or self._dropped)


def count_lines(text: bytes) -> int:
    """How many lines ``text`` is; one without an end counts, too."""
    return max(text.count(b"\n"), 1)
