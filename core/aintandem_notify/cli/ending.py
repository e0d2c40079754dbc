"""The very end of the process, which neither a thread of a plugin nor a stream that takes nothing holds back."""

import os
import sys
import threading
from typing import Final, NoReturn

from aintandem_notify.stdio.stderr_thread import threaded_stderr

LAST_OUTPUT_S: Final = 1.0
"""Seconds that standard output gets for what plugins have left in its buffer; commands flush what they print."""


def end_process(code: int) -> NoReturn:
    """End the process with ``code`` now.

    Python waits for every thread that is no daemon before it exits, and one that a plugin has left behind may
    never end. It also flushes its streams for as long as that takes, and exits with 120 where that fails. What is
    left of standard error had its time at the end of ``stderr_in_thread``.
    """
    is_clean = _output_is_flushed() and threaded_stderr() is None
    main = threading.main_thread()
    if is_clean and all(thread is main or thread.daemon for thread in threading.enumerate()):
        sys.exit(code)
    os._exit(code)


def _output_is_flushed() -> bool:
    """Whether nothing is left in the buffer of standard output; tries for ``LAST_OUTPUT_S``."""
    flushed = threading.Event()

    def flush() -> None:
        try:
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError):  # full, closed, or never there
            return
        flushed.set()

    # A plugin's thread may hold the buffer's lock for ever, so not in the main thread, either.
    flushing = threading.Thread(target=flush, name="last output", daemon=True)
    flushing.start()
    flushing.join(LAST_OUTPUT_S)
    return flushed.is_set() or sys.stdout is None
