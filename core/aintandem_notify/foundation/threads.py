"""Runs blocking work in threads, and waits while the system refuses to start one. All threads of trio start here.

A limit of processes counts threads, too. Everything that the user or the container runs counts towards it, so a
refusal is temporary. The work then waits, as for a slow disk: an exception would end the whole process.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RETRY_S: Final = 0.1
"""Seconds until the next try to start a thread."""
LOG_EVERY_S: Final = 60.0
"""Seconds between two log lines about it: a limit that is just reached is reached again and again."""

NO_MORE_THREADS: Final = (
    "the system starts no more threads; memory is short, or a limit of processes is reached: "
    "raise it with `ulimit -u`, with TasksMax= in a systemd unit, or for the container"
)
"""A sentence for the operator."""

_log = logging.getLogger(__name__)


def is_thread_start_failure(error: BaseException) -> bool:
    """True if the error says that the system starts no thread. Python has no class of its own for it."""
    return type(error) is RuntimeError and error.args == ("can't start new thread",)


async def run_in_thread(
    work: Callable[[*Ts], T],
    *args: *Ts,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
    retry_s: float = RETRY_S,
) -> T:
    """As ``trio.to_thread.run_sync``, but waits until a thread can be started, or until cancelled.

    Tries every ``retry_s`` seconds.
    """
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return work(*args)

    while True:
        try:
            return await trio.to_thread.run_sync(begin, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
        except RuntimeError as error:
            # Work that has begun may have raised it about threads of its own; it does not run twice.
            if begun or not is_thread_start_failure(error):
                raise
        _log_rate_limited()
        await trio.sleep(retry_s)


_logged_at: float | None = None


def _log_rate_limited() -> None:
    global _logged_at  # the limit is the whole process's
    now = time.monotonic()
    if _logged_at is None or now - _logged_at >= LOG_EVERY_S:
        _logged_at = now
        _log.warning("work waits: %s", NO_MORE_THREADS)
