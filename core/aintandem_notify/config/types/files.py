"""Reads the files that a config names: a bounded number of bytes in bounded time, also from pipes."""

import os
import select
import stat
import time
from pathlib import Path
from typing import Final

PIPE_TIMEOUT_S: Final = 5.0
"""Seconds in which a pipe must deliver everything; our limit. Long enough for a password manager."""
_CHUNK_BYTES: Final = 65_536
# Opening a pipe would block until there is a writer. Windows has no such pipes, but would change line breaks.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bounded(path: Path, max_bytes: int, *, pipe_timeout_s: float = PIPE_TIMEOUT_S) -> bytes:
    """The first ``max_bytes`` bytes of the file; raises OSError.

    Raises TimeoutError if a pipe or terminal has not delivered them, or ended, within ``pipe_timeout_s``.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) or not hasattr(select, "poll"):
            return _read_regular_file(descriptor, max_bytes)
        return _read_pipe(descriptor, max_bytes, time.monotonic() + pipe_timeout_s)
    finally:
        os.close(descriptor)


def _read_regular_file(descriptor: int, max_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < max_bytes and (chunk := os.read(descriptor, min(_CHUNK_BYTES, max_bytes - len(content)))):
        content += chunk
    return bytes(content)


def _read_pipe(descriptor: int, max_bytes: int, deadline: float) -> bytes:
    content = bytearray()
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while len(content) < max_bytes:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError(None, "nobody writes into it")
        try:
            chunk = os.read(descriptor, min(_CHUNK_BYTES, max_bytes - len(content)))
        except BlockingIOError:
            continue
        if not chunk:
            break
        content += chunk
    return bytes(content)
