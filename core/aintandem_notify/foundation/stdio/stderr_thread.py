"""Standard error that never blocks its writers: they put bytes into a buffer, and a thread writes them.

A pipe without a reader and a terminal after Ctrl-S block a write for ever. Everything that uses ``sys.stderr`` is
covered: our log, warnings, tracebacks of threads, libraries and plugins.
"""

import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from aintandem_notify.foundation.stdio.encoding import ESCAPE
from aintandem_notify.foundation.stdio.line_buffer import LineBuffer, count_lines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FLUSH_TIMEOUT_S: Final = 1.0
"""Seconds that a flush waits until everything is written; the end of the process waits as long."""

PIECE_BYTES: Final = 512
"""Bytes that a writable stream takes without blocking (``_POSIX_PIPE_BUF``)."""


def plain_loss_notice(lines: int) -> str:
    """The default notice about lost lines; the log sets one in its own form (``ThreadedStderr.notice``)."""
    return f"aintandem-notify: {lines} lines could not be written to standard error"


class ThreadedStderr(io.BufferedIOBase):
    """A binary stream to a descriptor, written by a thread of its own. It never closes the descriptor.

    ``notice`` makes the line that reports the number of lost lines.
    A flush waits at most ``flush_timeout_s`` seconds.
    """

    def __init__(
        self, descriptor: int, *, is_terminal: bool = False, flush_timeout_s: float = FLUSH_TIMEOUT_S
    ) -> None:
        self.flush_timeout_s: Final = flush_timeout_s
        self.notice: Callable[[int], str] = plain_loss_notice
        self.name: Final = "<stderr>"
        self._descriptor = descriptor
        self._is_terminal = is_terminal
        self._buffer = LineBuffer()
        # Reentrant: the garbage collector may run while the lock is held, and write a warning.
        self._changed = threading.Condition(threading.RLock())
        self._writer: threading.Thread | None = None
        self._is_writing = False
        self._is_stuck = False
        self._lost_lines = 0
        self._is_mid_line = False

    def writable(self) -> bool:
        """Always true."""
        return True

    def isatty(self) -> bool:
        """True if the descriptor is a terminal."""
        return self._is_terminal

    def fileno(self) -> int:
        """The number of the descriptor."""
        return self._descriptor

    def write(self, text: "ReadableBuffer", /) -> int:
        """Put ``text`` into the buffer; returns at once."""
        content = bytes(text)
        with self._changed:
            self._buffer.put(content)
            if self._writer is None:
                self._start_writer()
            self._changed.notify_all()
        return len(content)

    def _start_writer(self) -> None:
        writer = threading.Thread(target=self._keep_writing, name="stderr", daemon=True)
        with suppress(RuntimeError):  # the system starts no thread now; the next line tries again
            writer.start()
            self._writer = writer

    def flush(self) -> None:
        """Wait a limited time for the buffer to be written; do not wait again while nothing moves."""
        if not self._is_stuck:
            self.drain(self.flush_timeout_s)

    def drain(self, seconds: float) -> bool:
        """Wait at most so many seconds until everything is written or lost. Returns whether it is."""
        with self._changed:
            if self._writer is None:
                self._write_without_thread()
            drained = self._changed.wait_for(lambda: not self._buffer and not self._is_writing, seconds)
            self._is_stuck = not drained
            return drained

    def _write_without_thread(self) -> None:
        """Write as much as the stream takes without blocking; without a thread, the rest is lost."""
        waiting, dropped = self._buffer.take()
        self._lost_lines += dropped
        for text in waiting:
            try:
                self._write_pieces(text)
            except (OSError, ValueError):
                self._lost_lines += count_lines(text)

    def _write_pieces(self, text: bytes) -> None:
        for start in range(0, len(text), PIECE_BYTES):
            if not select.select([], [self._descriptor], [], 0)[1]:
                raise BlockingIOError
            os.write(self._descriptor, text[start : start + PIECE_BYTES])

    def _keep_writing(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._buffer))
                waiting, dropped = self._buffer.take()
                self._is_writing = True
            for text in waiting:
                self._write_or_count(text)
            self._lost_lines += dropped
            if dropped:
                self._report_lost()

    def _write_or_count(self, text: bytes) -> None:
        if not self._report_lost() or not self._write_all(text):
            self._lost_lines += count_lines(text)

    def _report_lost(self) -> bool:
        """Write the notice about lost lines. Returns whether none is left to report."""
        if self._lost_lines and self._write_all(f"{self.notice(self._lost_lines)}\n".encode()):
            self._lost_lines = 0
        return not self._lost_lines

    def _write_all(self, text: bytes) -> bool:
        """Write all of ``text``, however long that takes. Returns False if the stream refuses it."""
        remaining = memoryview(b"\n" + text if self._is_mid_line else text)
        length = len(remaining)
        while remaining:
            try:
                remaining = remaining[self._write_some(remaining) :]
            except OSError:
                self._is_mid_line = self._is_mid_line or len(remaining) < length
                return False
            self._is_stuck = False
        self._is_mid_line = False
        return True

    def _write_some(self, text: memoryview) -> int:
        try:
            return os.write(self._descriptor, text)
        except BlockingIOError:  # another process that shares the terminal or pipe made it non-blocking
            select.select([], [self._descriptor], [])
            return 0


@contextmanager
def stderr_in_thread(flush_timeout_s: float = FLUSH_TIMEOUT_S) -> Iterator[None]:
    """Within the block a thread writes ``sys.stderr``. Its end waits at most ``flush_timeout_s`` for the buffer.

    Afterwards ``sys.stderr`` is as before. If the buffer could not be written, the threaded stream stays in place,
    so that later writers do not block either. Changes nothing if the process has no standard error.
    """
    before = sys.stderr
    try:
        descriptor, is_terminal = before.fileno(), before.isatty()
    except (AttributeError, OSError, ValueError):
        yield
        return
    before.flush()
    out = ThreadedStderr(descriptor, is_terminal=is_terminal, flush_timeout_s=flush_timeout_s)
    sys.stderr = io.TextIOWrapper(out, encoding=before.encoding, errors=ESCAPE, line_buffering=True)
    try:
        yield
    finally:
        if out.drain(flush_timeout_s):
            sys.stderr = before


def threaded_stderr() -> ThreadedStderr | None:
    """The stream behind ``sys.stderr`` if a thread writes it, else None."""
    out = getattr(sys.stderr, "buffer", None)
    return out if isinstance(out, ThreadedStderr) else None


def drain_stderr() -> bool:
    """Wait a limited time until the buffer of standard error is written. Returns whether it is."""
    out = threaded_stderr()
    return out is None or out.drain(out.flush_timeout_s)
