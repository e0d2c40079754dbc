"""The one way from trio into a thread. The system may refuse one: a limit of processes counts threads, too.

Whatever else the user or the container runs takes part in that limit, so it comes and goes. Who needs a thread
then waits for it, as for a disk that is slow; a nursery that ended by it would take the whole process along.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RETRY_S: Final = 0.1
"""Seconds until the system is asked again for a thread."""
LOG_EVERY_S: Final = 60.0
"""Seconds between two lines in the log about it: a limit that is just reached is reached again and again."""

NO_MORE_THREADS: Final = (
    "the system starts no more threads; memory is short, or a limit of processes is reached: "
    "raise it with `ulimit -u`, with TasksMax= in a systemd unit, or for the container"
)
"""A sentence for the operator."""

_log = logging.getLogger(__name__)


def is_thread_start_failure(error: BaseException) -> bool:
    """Whether the error is that the system starts no thread. Python has no class of its own for it."""
    return type(error) is RuntimeError and error.args == ("can't start new thread",)


async def run_in_thread(
    work: Callable[[*Ts], T],
    *args: *Ts,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """As ``trio.to_thread.run_sync``, but waits until a thread can be started, or until it is cancelled."""
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return work(*args)

    while True:
        try:
            return await trio.to_thread.run_sync(begin, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
        except RuntimeError as error:
            # What was begun may have raised it about threads of its own, and is not done twice.
            if begun or not is_thread_start_failure(error):
                raise
        _log_rate_limited()
        await trio.sleep(RETRY_S)


_logged_at: float | None = None


def _log_rate_limited() -> None:
    global _logged_at  # the limit is the whole process's
    now = time.monotonic()
    if _logged_at is None or now - _logged_at >= LOG_EVERY_S:
        _logged_at = now
        _log.warning("work waits: %s", NO_MORE_THREADS)
