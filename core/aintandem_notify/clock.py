"""Wall-clock time as an argument, so that tests run on virtual time.

Waits use trio's own clock (``trio.sleep``, ``trio.current_time``, float seconds); what is stored or shown
uses this one (aware UTC). The two never mix.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

import trio


class Clock(Protocol):
    """Tells what time it is."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)


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
