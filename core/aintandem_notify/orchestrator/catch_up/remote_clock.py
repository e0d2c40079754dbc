"""A lower bound of the orchestrator's clock: its latest timestamp, plus the time that has passed here since.

Its clock and ours may differ by any amount, so they are not compared. The only exception is a bound on absurd
timestamps.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import trio

MAX_AHEAD: Final = timedelta(seconds=60)
"""A timestamp further ahead of our clock than this is ignored: it may be in another time zone."""
FORGET_AFTER_S: Final = 600.0
"""A timestamp is forgotten after this time, or twice this time at the latest: the orchestrator's clock may be set
back."""
MIN_RATE: Final = 0.999
"""Slowest rate of the orchestrator's clock against ours: a clock that is being adjusted may run slower."""


class _Timestamp(NamedTuple):
    value: datetime
    received_at: float

    def lower_bound(self, at: float) -> datetime:
        return self.value + timedelta(seconds=MIN_RATE * (at - self.received_at))


class RemoteClock:
    """Collects the orchestrator's timestamps; works inside ``trio.run`` only."""

    def __init__(self) -> None:
        self._latest: _Timestamp | None = None
        self._previous: _Timestamp | None = None
        self._since = trio.current_time()

    def add_timestamps(self, timestamps: Iterable[datetime | None], now: datetime) -> None:
        """Add times that the orchestrator has written, received at ``now`` of our clock."""
        latest = max(
            (value for value in timestamps if value is not None and value <= now + MAX_AHEAD), default=None
        )
        if latest is None:
            return
        self._forget()
        at = trio.current_time()
        if self._latest is None or latest > self._latest.lower_bound(at):
            self._latest = _Timestamp(latest, at)

    def lower_bound(self) -> datetime | None:
        """A time that the orchestrator's clock has certainly reached; None if no timestamp is known."""
        self._forget()
        at = trio.current_time()
        return max(
            (timestamp.lower_bound(at) for timestamp in (self._latest, self._previous) if timestamp is not None),
            default=None,
        )

    def _forget(self) -> None:
        passed = trio.current_time() - self._since
        if passed < FORGET_AFTER_S:
            return
        self._previous = self._latest if passed < 2 * FORGET_AFTER_S else None
        self._latest, self._since = None, trio.current_time()
