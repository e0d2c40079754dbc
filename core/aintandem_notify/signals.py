"""How the process is told to end: once in good order, twice at once, and never held back for ever.

The handlers are the interpreter's own and not ``trio.open_signal_receiver``, and the limit is watched from a
thread, because both must work while a plugin blocks the event loop.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import trio

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
EXIT_HELD_BACK: Final = 1
"""Exit code when the limit passed and something still held the exit back."""


@contextmanager
def stop_signals(limit: Callable[[], float]) -> Iterator[trio.Event]:
    """The event is set by the first SIGINT or SIGTERM.

    A second one ends the process at once, with 128 + its number, as a kill would. ``limit`` tells the seconds
    after the first by which the process ends in any case. Call it in the main thread, inside ``trio.run``.
    """
    asked = trio.Event()
    armed = threading.Event()
    left = threading.Event()
    token = trio.lowlevel.current_trio_token()

    def receive(number: int, _frame: FrameType | None) -> None:
        if armed.is_set():
            os._exit(128 + number)
        armed.set()
        token.run_sync_soon(asked.set)

    def watch() -> None:
        armed.wait()
        if not left.wait(seconds := limit()):
            sys.stderr.write(f"aintandem-notify: something held the exit back for {seconds:g} s; leaving now\n")
            os._exit(EXIT_HELD_BACK)

    threading.Thread(target=watch, name="exit limit", daemon=True).start()
    before = {number: signal.signal(number, receive) for number in STOP_SIGNALS}
    try:
        yield asked
    finally:
        left.set()
        armed.set()
        for number, handler in before.items():
            signal.signal(number, handler)
