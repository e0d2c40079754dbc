"""Wall-clock time as an argument, so that tests run on virtual time.

Waits use trio's own clock (``trio.sleep``, ``trio.current_time``, float seconds). Stored and shown times use this
one (aware UTC). The two never mix.

Somebody may set the machine's clock far ahead. Expiry, and the time up to which no event is missing, therefore use
``capped_now``.
"""

import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

MAX_AHEAD: Final = timedelta(hours=1)
"""The largest jump ahead of the machine's clock that ``capped_now`` follows at once, while the agent runs.

Somebody may have corrected a wrong time zone, say.
"""


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A time before 1970 in an event or a record means "no time": Go writes year 1 for it, others year 0."""


def capped(wall: datetime, *, started: datetime, elapsed_s: float) -> datetime:
    """``wall``, but at most ``MAX_AHEAD`` after ``started`` plus ``elapsed_s`` seconds.

    Does not detect a clock that was already wrong at the start, nor one that is set back.
    """
    return min(wall, started + timedelta(seconds=elapsed_s) + MAX_AHEAD)


class Clock(Protocol):
    """Gives the wall-clock time."""

    def now(self) -> datetime:
        """The time, aware UTC."""
        ...

    def capped_now(self) -> datetime:
        """As ``now``, but bounded by the time that has really passed. Used for expiry, and for "seen until"."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._started_s = _elapsed_s()

    def now(self) -> datetime:
        """The time, aware UTC."""
        return datetime.now(UTC)

    def capped_now(self) -> datetime:
        """As ``now``, but at most ``MAX_AHEAD`` beyond the time that has passed since this clock was made."""
        return capped(self.now(), started=self._started, elapsed_s=_elapsed_s() - self._started_s)


def local_time(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """``moment`` in ``zone`` (None: the machine's), to be shown; in UTC where the zone has no such time.

    Python's calendar has the years 1 to 9999. Go's "no time" is the first moment of year 1, and west of Greenwich
    it would lie in the year before. ``TZ`` may also name a zone more than a day off, which Python does not know.
    """
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):  # OSError: Windows, for times before 1970
        return moment.astimezone(UTC)


def iso_seconds(moment: datetime, separator: str = " ") -> str:
    """``2026-03-01 12:00:05`` in its own zone; the year always has four digits."""
    return moment.replace(tzinfo=None).isoformat(separator, "seconds")


def _elapsed_s() -> float:
    """Seconds of a monotonic clock; on Linux of one that also counts while the machine is suspended."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
