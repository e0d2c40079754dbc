"""Standard error that holds nobody up: a thread writes to it, and all others only hand over what is to be written.

A pipe that nobody reads and a terminal after Ctrl-S take nothing, for ever. Whatever writes to ``sys.stderr`` is
covered: our log, warnings, tracebacks of threads, and what libraries and plugins print there.
"""

import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from aintandem_notify.foundation.stdio.line_buffer import LineBuffer, count_lines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FLUSH_TIMEOUT_S: Final = 1.0
"""Seconds that whoever flushes the stream waits until it is written, and so does the end of the process."""

PIECE_BYTES: Final = 512
"""Bytes that a stream takes without waiting when it says that it can be written (POSIX: at least so many)."""


def plain_loss_notice(lines: int) -> str:
    """What is said of lines that were lost, where the log has no form for it."""
    return f"aintandem-notify: {lines} lines could not be written to standard error"


class ThreadedStderr(io.BufferedIOBase):
    """Bytes for a descriptor, written by a thread of its own; never closes the descriptor.

    ``notice`` makes the line that tells how many lines were lost before it, full of trouble as the stream was.
    """

    def __init__(self, descriptor: int, *, is_terminal: bool = False) -> None:
        self.notice: Callable[[int], str] = plain_loss_notice
        self.name: Final = "<stderr>"
        self._descriptor = descriptor
        self._is_terminal = is_terminal
        self._buffer = LineBuffer()
        # Reentrant: the garbage collector may run in the middle, and warn of something.
        self._news = threading.Condition(threading.RLock())
        self._writer: threading.Thread | None = None
        self._busy = False
        self._stuck = False
        self._lost = 0
        self._torn = False

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether a person may look at it."""
        return self._is_terminal

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, text: "ReadableBuffer", /) -> int:
        """Hand ``text`` over; returns at once."""
        content = bytes(text)
        with self._news:
            self._buffer.put(content)
            if self._writer is None:
                self._start_writer()
            self._news.notify_all()
        return len(content)

    def _start_writer(self) -> None:
        writer = threading.Thread(target=self._keep_writing, name="stderr", daemon=True)
        with suppress(RuntimeError):  # the system has no thread to give now; it is tried again with the next line
            writer.start()
            self._writer = writer

    def flush(self) -> None:
        """Wait for what was written, at most ``FLUSH_TIMEOUT_S``, and not again while nothing moves."""
        if not self._stuck:
            self.drain(FLUSH_TIMEOUT_S)

    def drain(self, seconds: float) -> bool:
        """Wait so long at most until all is written, or lost; whether it is."""
        with self._news:
            if self._writer is None:
                self._write_without_thread()
            drained = self._news.wait_for(lambda: not self._buffer and not self._busy, seconds)
            self._stuck = not drained
            return drained

    def _write_without_thread(self) -> None:
        """What the stream takes at once; the rest is lost, for nobody may wait and there is no other to do it."""
        waiting, dropped = self._buffer.take()
        self._lost += dropped
        for text in waiting:
            try:
                self._write_pieces(text)
            except (OSError, ValueError):
                self._lost += count_lines(text)

    def _write_pieces(self, text: bytes) -> None:
        for start in range(0, len(text), PIECE_BYTES):
            if not select.select([], [self._descriptor], [], 0)[1]:
                raise BlockingIOError
            os.write(self._descriptor, text[start : start + PIECE_BYTES])

    def _keep_writing(self) -> None:
        while True:
            with self._news:
                self._busy = False
                self._news.notify_all()
                self._news.wait_for(lambda: bool(self._buffer))
                waiting, dropped = self._buffer.take()
                self._busy = True
            for text in waiting:
                self._write_or_count(text)
            self._lost += dropped
            if dropped:
                self._tell_lost()

    def _write_or_count(self, text: bytes) -> None:
        if not self._tell_lost() or not self._is_written(text):
            self._lost += count_lines(text)

    def _tell_lost(self) -> bool:
        """Whether all that was lost has been told of."""
        if self._lost and self._is_written(f"{self.notice(self._lost)}\n".encode()):
            self._lost = 0
        return not self._lost

    def _is_written(self, text: bytes) -> bool:
        """Write all of it, however long that takes; false when the stream refuses it."""
        left = memoryview(b"\n" + text if self._torn else text)
        whole = len(left)
        while left:
            try:
                left = left[self._write_some(left) :]
            except OSError:
                self._torn = self._torn or len(left) < whole
                return False
            self._stuck = False
        self._torn = False
        return True

    def _write_some(self, text: memoryview) -> int:
        try:
            return os.write(self._descriptor, text)
        except BlockingIOError:  # whoever shares the terminal or pipe with us set it so
            select.select([], [self._descriptor], [])
            return 0


@contextmanager
def stderr_in_thread() -> Iterator[None]:
    """Within the block a thread writes ``sys.stderr``; at its end there are ``FLUSH_TIMEOUT_S`` for the rest.

    Afterwards it is what it was before, or, if the rest was not taken, stays as it is: nobody is held up then
    either. Changes nothing where the process has no standard error.
    """
    before = sys.stderr
    try:
        descriptor, is_terminal = before.fileno(), before.isatty()
    except (AttributeError, OSError, ValueError):
        yield
        return
    before.flush()
    out = ThreadedStderr(descriptor, is_terminal=is_terminal)
    sys.stderr = io.TextIOWrapper(out, encoding=before.encoding, errors="backslashreplace", line_buffering=True)
    try:
        yield
    finally:
        if out.drain(FLUSH_TIMEOUT_S):
            sys.stderr = before


def threaded_stderr() -> ThreadedStderr | None:
    """What is behind ``sys.stderr`` if a thread writes it, else None."""
    out = getattr(sys.stderr, "buffer", None)
    return out if isinstance(out, ThreadedStderr) else None


def drain_stderr() -> bool:
    """Wait at most ``FLUSH_TIMEOUT_S`` until what was written to standard error is; whether it is."""
    out = threaded_stderr()
    return out is None or out.drain(FLUSH_TIMEOUT_S)
