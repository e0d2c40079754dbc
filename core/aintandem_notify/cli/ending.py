"""The very end of the process, which no thread of a plugin holds back."""

import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def end_process(code: int) -> NoReturn:
    """End the process with ``code`` now.

    Python waits for every thread that is no daemon before it exits, and one that a plugin has left behind may
    never end.
    """
    main = threading.main_thread()
    if all(thread is main or thread.daemon for thread in threading.enumerate()):
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or never there
            stream.flush()
    os._exit(code)
