"""Ends the process, even if a plugin left threads behind or a stream is full."""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

FLUSH_TIMEOUT_S: Final = 1.0
"""Seconds to flush standard output, where plugins may have left text; commands flush their own."""

ATEXIT_TIMEOUT_S: Final = 2.0
"""Seconds for the functions of ``atexit``; libraries of plugins may wait there for threads or children."""


def end_process(code: int) -> NoReturn:
    """Calls the functions of ``atexit``, then ends the process with ``code``.

    Python itself would wait for every non-daemon thread and for those of ``concurrent.futures``; a plugin's thread
    may never end. It would also flush its streams without a time limit, and exit with 120 if that fails. Standard
    error was flushed at the end of ``stderr_in_thread``.
    """
    _flush_output()
    if _start_thread(lambda: _exit_after_timeout(code), "last calls") is not None:
        with suppress(BaseException):
            atexit._run_exitfuncs()  # noqa: SLF001  # Python would wait for threads after it
    os._exit(code)


def _start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Returns a started thread; None if the system refuses one. Then do nothing that may hang."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _exit_after_timeout(code: int) -> None:
    time.sleep(ATEXIT_TIMEOUT_S)
    os._exit(code)


def _flush_output() -> None:
    """Tries for ``FLUSH_TIMEOUT_S`` to flush standard output."""

    def flush() -> None:
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or never there
            sys.stdout.flush()

    # Not in the main thread: a plugin's thread may hold the buffer's lock forever.
    if (flushing := _start_thread(flush, "last output")) is not None:
        flushing.join(FLUSH_TIMEOUT_S)
