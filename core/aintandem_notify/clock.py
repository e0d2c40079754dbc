"""Wall-clock time as an argument, so that tests run on virtual time.

Waits use trio's own clock (``trio.sleep``, ``trio.current_time``, float seconds); what is stored or shown
uses this one (aware UTC). The two never mix.

Somebody may set the machine's clock far ahead. What dies of age, and up to when nothing is missing, is therefore
measured by ``unhurried``.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import trio

AHEAD: Final = timedelta(hours=1)
"""How far the machine's clock may be set ahead while we run, and be believed at once: a wrong time zone, say."""


def not_ahead(wall: datetime, *, started: datetime, elapsed_s: float) -> datetime:
    """``wall``, but at most ``AHEAD`` beyond what has really passed: ``elapsed_s`` seconds since ``started``.

    A clock that was wrong when we started cannot be told by this, nor one that is set back.
    """
    return min(wall, started + timedelta(seconds=elapsed_s) + AHEAD)


class Clock(Protocol):
    """Tells what time it is."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def unhurried(self) -> datetime:
        """As ``now``, but not ahead of what has really passed: for what dies of age, or counts as seen."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._started_s = _elapsed_s()

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)

    def unhurried(self) -> datetime:
        """Not more than ``AHEAD`` ahead of what has passed since this clock was made."""
        return not_ahead(self.now(), started=self._started, elapsed_s=_elapsed_s() - self._started_s)


class TrioClock:
    """Wall-clock time that follows trio's clock; under ``autojump_clock`` it jumps with it.

    Only usable inside ``trio.run``.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._origin = trio.current_time()

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._start + timedelta(seconds=trio.current_time() - self._origin)

    def unhurried(self) -> datetime:
        """The same: nobody sets this clock."""
        return self.now()


def _elapsed_s() -> float:
    """Seconds of a clock that nobody sets; where the system has one, of one that goes on while it is suspended."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
