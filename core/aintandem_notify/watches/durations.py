"""The usual duration of a subject, from the last durations of its successful runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.watch_config import SlowerThan

MIN_DURATIONS: Final = 5
"""Durations from which on a subject has a usual one."""

MAX_DURATIONS: Final = 50
"""Durations that are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class UsualDuration:
    """The last durations in seconds, the shortest first."""

    durations: tuple[float, ...] = ()

    @property
    def is_known(self) -> bool:
        """True if there are enough of them."""
        return len(self.durations) >= MIN_DURATIONS

    @property
    def median(self) -> float | None:
        """The median; None if there are too few."""
        return quantile(self.durations, 0.5) if self.is_known else None

    def allowed_s(self, slower_than: SlowerThan | None) -> float | None:
        """Seconds that a run may take by ``slower_than``; None without it, and if there are too few durations."""
        if slower_than is None or not self.is_known:
            return None
        return max(slower_than.at_least, slower_than.times * quantile(self.durations, slower_than.quantile))


def usual_duration(durations: Sequence[float]) -> UsualDuration:
    """The usual duration by these, in any order."""
    return UsualDuration(
        tuple(sorted(seconds for seconds in durations if math.isfinite(seconds) and seconds >= 0))
    )


def quantile(ascending: Sequence[float], part: float) -> float:
    """The smallest of the ascending values that at least this part of them does not exceed."""
    return ascending[max(0, math.ceil(part * len(ascending) - 1e-9) - 1)]
