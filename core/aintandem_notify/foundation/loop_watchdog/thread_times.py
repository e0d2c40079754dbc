"""Tells why a thread woke late: the interpreter was held, the machine was busy, or the process was stopped.

Linux counts both for each thread: how often it gave the processor away by itself, and how long it stood in the
queue for one. A thread that waits for the interpreter's lock asks for it every 5 ms, so it gives the processor
away 200 times a second; in a stopped process it never does. Elsewhere nothing is counted, and the answer is
"stopped": nobody gets the blame without a reason. While a machine is suspended, no time passes on this clock.
"""

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

if sys.platform == "linux":
    import resource

LATE_S: Final = 0.5
"""Seconds by which a wait must be late before anybody asks why."""
MIN_REQUESTS_PER_S: Final = 20
"""Least number of waits a second that count as waiting for the interpreter's lock; 200 on an idle machine."""
STARVED_SHARE: Final = 0.5
"""Share of a time spent in the queue for a processor from which the machine is the reason."""


class Lateness(Enum):
    """Why a wait took longer than it should."""

    ON_TIME = auto()
    INTERPRETER_HELD = auto()
    """C code kept the interpreter's lock, so that no Python code could run."""
    STARVED = auto()
    """Other processes had the processors."""
    STOPPED = auto()
    """The process was stopped (SIGSTOP, a debugger, a paused virtual machine), or the reason is unknown."""


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """The counts of a thread at one moment of the monotonic clock: its waits, and its seconds in the queue."""

    at_s: float
    waits: int = 0
    queued_s: float = 0.0


def own_times() -> ThreadTimes:
    """The counts of the thread that calls."""
    waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if sys.platform == "linux" else 0
    return ThreadTimes(time.monotonic(), waits, queued_s(threading.get_native_id()))


def queued_s(native_id: int) -> float:
    """Seconds that the thread has stood in the queue for a processor; 0 if the system does not count them."""
    return _counted_s(native_id, 1)


def running_s() -> dict[int, float]:
    """For each thread of Python, by ``ident``, the seconds that it has run."""
    return {
        thread.ident: _counted_s(thread.native_id, 0)
        for thread in threading.enumerate()
        if thread.ident is not None and thread.native_id is not None
    }


def busiest(before: Mapping[int, float], after: Mapping[int, float]) -> int | None:
    """The ``ident`` of the thread that ran for most of the time in which any did; None if none ran for long."""
    ran = {ident: after_s - before.get(ident, 0.0) for ident, after_s in after.items()}
    ident = max(ran, key=lambda ident: ran[ident], default=None)
    return ident if ident is not None and ran[ident] >= LATE_S else None


def _counted_s(native_id: int, index: int) -> float:
    try:
        counts = Path(f"/proc/self/task/{native_id}/schedstat").read_text(encoding="ascii")
        return int(counts.split()[index]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def lateness(before: ThreadTimes, after: ThreadTimes, waited_s: float) -> Lateness:
    """Why a wait of ``waited_s`` seconds at most, between the two moments, ended late."""
    late_s = after.at_s - before.at_s - waited_s
    if late_s < LATE_S:
        return Lateness.ON_TIME
    if after.queued_s - before.queued_s >= late_s * STARVED_SHARE:
        return Lateness.STARVED
    if after.waits - before.waits >= late_s * MIN_REQUESTS_PER_S:
        return Lateness.INTERPRETER_HELD
    return Lateness.STOPPED
