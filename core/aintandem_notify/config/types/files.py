"""Reading what a config names: a bounded part of it, in bounded time, whatever it is."""

import os
import select
import stat
import time
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 5.0
"""Seconds that whoever writes into a pipe has for all of it; ours. A password manager answers within them."""
_PIECE: Final = 65_536
# To open a pipe would itself wait for a writer; Windows has no such pipes, and would change line breaks.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bounded(path: Path, most: int) -> bytes:
    """At most ``most`` bytes of the file; raises OSError.

    One that is a pipe or a terminal gives nothing until somebody writes; that is a TimeoutError in the end.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) or not hasattr(select, "poll"):
            return _rest(descriptor, most)
        return _waited_for(descriptor, most, time.monotonic() + PATIENCE_S)
    finally:
        os.close(descriptor)


def _rest(descriptor: int, most: int) -> bytes:
    content = bytearray()
    while len(content) < most and (piece := os.read(descriptor, min(_PIECE, most - len(content)))):
        content += piece
    return bytes(content)


def _waited_for(descriptor: int, most: int, until: float) -> bytes:
    content = bytearray()
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while len(content) < most:
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError(None, "nobody writes into it")
        try:
            piece = os.read(descriptor, min(_PIECE, most - len(content)))
        except BlockingIOError:
            continue
        if not piece:
            break
        content += piece
    return bytes(content)
