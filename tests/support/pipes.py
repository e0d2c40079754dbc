"""Full pipes and paused terminals, for a process's standard output or error."""

import os
import pty
import termios
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that is full of dots: a write blocks until somebody reads."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        for size in (65536, 1):
            try:
                while True:
                    os.write(writer, b"." * size)
            except BlockingIOError:
                continue
        os.set_blocking(writer, True)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def read_until(reader: int, text: bytes) -> bytes:
    """Read the pipe until a line with ``text`` has ended, and return everything read. Blocks."""
    content = b""
    while text not in content or not content.endswith(b"\n"):
        chunk = os.read(reader, 65536)
        assert chunk, content
        content += chunk
    return content


@contextmanager
def paused_terminal() -> Iterator[int]:
    """A terminal on which somebody has pressed Ctrl-S."""
    screen, terminal = pty.openpty()
    try:
        termios.tcflow(terminal, termios.TCOOFF)
        yield terminal
    finally:
        os.close(screen)
        os.close(terminal)
