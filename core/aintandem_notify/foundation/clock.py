"""Wall-clock time as an argument, so that tests run on virtual time.

Waits use trio's own clock (``trio.sleep``, ``trio.current_time``, float seconds); what is stored or shown
uses this one (aware UTC). The two never mix.

Somebody may set the machine's clock far ahead. What dies of age, and up to when nothing is missing, is therefore
measured by ``capped_now``.
"""

import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

import trio

MAX_AHEAD: Final = timedelta(hours=1)
"""How far the machine's clock may be set ahead while we run, and be believed at once: a wrong time zone, say."""


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Nobody's task began before. An earlier time is a word for none, as year 1 is in Go and year 0 elsewhere."""


def capped(wall: datetime, *, started: datetime, elapsed_s: float) -> datetime:
    """``wall``, but at most ``MAX_AHEAD`` beyond what has really passed: ``elapsed_s`` seconds since ``started``.

    A clock that was wrong when we started cannot be told by this, nor one that is set back.
    """
    return min(wall, started + timedelta(seconds=elapsed_s) + MAX_AHEAD)


class Clock(Protocol):
    """Tells what time it is."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def capped_now(self) -> datetime:
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

    def capped_now(self) -> datetime:
        """Not more than ``MAX_AHEAD`` ahead of what has passed since this clock was made."""
        return capped(self.now(), started=self._started, elapsed_s=_elapsed_s() - self._started_s)


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

    def capped_now(self) -> datetime:
        """The same: nobody sets this clock."""
        return self.now()


def local_time(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """``moment`` in ``zone`` (None: the machine's), to be shown; in UTC where there is no such time.

    A calendar has the years 1 to 9999, and Go's word for no time is their very first moment: west of Greenwich it
    would be of the year before. ``TZ`` may also name a zone more than a day off, which Python does not know.
    """
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):  # OSError: Windows, for whatever was before 1970
        return moment.astimezone(UTC)


def iso_seconds(moment: datetime, separator: str = " ") -> str:
    """``2026-03-01 12:00:05`` as the clocks of its zone show it; the year always has four digits."""
    return moment.replace(tzinfo=None).isoformat(separator, "seconds")


def _elapsed_s() -> float:
    """Seconds of a clock that nobody sets; where the system has one, of one that goes on while it is suspended."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
