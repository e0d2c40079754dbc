"""A clock that jumps with trio's."""

from datetime import UTC, datetime, timedelta

import trio


class TrioClock:
    """Wall-clock time that follows trio's clock; under ``autojump_clock`` it jumps with it.

    Only usable inside ``trio.run``.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._origin = trio.current_time()

    def now(self) -> datetime:
        """The time, aware UTC."""
        return self._start + timedelta(seconds=trio.current_time() - self._origin)

    def capped_now(self) -> datetime:
        """As ``now``: nobody sets this clock."""
        return self.now()
