"""The very end of the process, which neither what a plugin has left behind nor a full stream holds back."""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

LAST_OUTPUT_S: Final = 1.0
"""Seconds that standard output gets for what plugins have left in its buffer; commands flush what they print."""


LAST_CALLS_S: Final = 2.0
"""Seconds that functions of ``atexit`` get; libraries of plugins leave some that wait for threads or children."""


def end_process(code: int) -> NoReturn:
    """End the process with ``code`` now, once what ``atexit`` has to call was called.

    Python itself would wait for every thread that is no daemon, and for those of ``concurrent.futures`` in any
    case, and one that a plugin has left behind may never end. It also flushes its streams for as long as that
    takes, and exits with 120 where that fails. What is left of standard error had its time at the end of
    ``stderr_in_thread``.
    """
    _flush_output()
    if _begun(lambda: _leave_late(code), "last calls") is not None:
        with suppress(BaseException):
            atexit._run_exitfuncs()  # noqa: SLF001  # as Python does, which would then wait for ever
    os._exit(code)


def _begun(work: Callable[[], None], name: str) -> threading.Thread | None:
    """A thread that is at the work; None where the system starts none, and nothing that may hang can be tried."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _leave_late(code: int) -> None:
    time.sleep(LAST_CALLS_S)
    os._exit(code)


def _flush_output() -> None:
    """Try for ``LAST_OUTPUT_S`` to leave nothing in the buffer of standard output."""

    def flush() -> None:
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or never there
            sys.stdout.flush()

    # A plugin's thread may hold the buffer's lock for ever, so not in the main thread, either.
    if (flushing := _begun(flush, "last output")) is not None:
        flushing.join(LAST_OUTPUT_S)
