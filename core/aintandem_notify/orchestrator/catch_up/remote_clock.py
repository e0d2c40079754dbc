"""What time it is at the orchestrator, at least: what it has stamped has happened, and since then time has passed.

Its clock and ours may differ by any amount, so they are not compared; but for a bound on nonsense.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import trio

FUTURE: Final = timedelta(seconds=60)
"""A stamp that is further ahead of our clock than this may be of another time zone, and is not believed."""
FORGET_AFTER_S: Final = 600.0
"""For how long a stamp counts, and up to twice as long: the orchestrator's clock may be set back."""
PACE: Final = 0.999
"""How much of the time that passes here surely passes there: a clock that is being set right may go slower."""


class _Heard(NamedTuple):
    stamp: datetime
    at: float

    def at_least(self, at: float) -> datetime:
        return self.stamp + timedelta(seconds=PACE * (at - self.at))


class RemoteClock:
    """Hears the orchestrator's stamps; works inside ``trio.run`` only."""

    def __init__(self) -> None:
        self._latest: _Heard | None = None
        self._before: _Heard | None = None
        self._since = trio.current_time()

    def add_timestamps(self, stamps: Iterable[datetime | None], now: datetime) -> None:
        """The orchestrator has written these times, by ``now`` of our clock."""
        stamp = max((one for one in stamps if one is not None and one <= now + FUTURE), default=None)
        if stamp is None:
            return
        self._forget()
        at = trio.current_time()
        if self._latest is None or stamp > self._latest.at_least(at):
            self._latest = _Heard(stamp, at)

    def at_least(self) -> datetime | None:
        """What happens from now on has no earlier time than this; None when nothing is known."""
        self._forget()
        at = trio.current_time()
        return max((one.at_least(at) for one in (self._latest, self._before) if one is not None), default=None)

    def _forget(self) -> None:
        passed = trio.current_time() - self._since
        if passed < FORGET_AFTER_S:
            return
        self._before = self._latest if passed < 2 * FORGET_AFTER_S else None
        self._latest, self._since = None, trio.current_time()
