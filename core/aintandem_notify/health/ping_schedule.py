"""Decides which ping is due: a state that knows neither clock nor socket, for ``heartbeat``."""

from dataclasses import dataclass
from typing import Final

from aintandem_notify.domain.health import Health, HealthState
from aintandem_notify.health.pings import Signal

LOG_PAUSE_S: Final = 15.0
"""Seconds between two pings that only report changed reasons. healthchecks.io takes five pings a minute."""

Reasons = frozenset[tuple[str, str | None]]


@dataclass(slots=True)
class PingSchedule:
    """The pings that one address got. All times are seconds of one monotonic clock."""

    _last: Signal | None = None
    """The last success or failure, unless a silence followed it."""
    _last_at: float = float("-inf")
    _reported: Reasons = frozenset()
    _may_log_at: float = float("-inf")

    def due(self, health: Health, *, conventions: bool, interval_s: float, now: float) -> Signal | None:
        """Returns the ping that is due now; None for none.

        A failure, and a success after it, are due at once and then once an interval. Reasons that begin or end
        between them are due for the log. Nothing is due while the agent is still starting. Without ``conventions``
        only successes are due.
        """
        wanted = _signal_for(health)
        if wanted is None or (wanted is Signal.FAIL and not conventions):
            self._last = None
            return None
        if wanted is not self._last:
            return wanted
        if conventions and reasons_of(health) != self._reported and now >= self._may_log_at:
            return Signal.LOG
        return wanted if now >= self._last_at + interval_s else None

    def record(self, signal: Signal, health: Health, *, now: float) -> None:
        """Records that ``signal`` was sent at ``now`` with the reasons of ``health``."""
        self._reported = reasons_of(health)
        if signal is Signal.LOG:
            self._may_log_at = now + LOG_PAUSE_S
        else:
            self._last, self._last_at = signal, now

    def next_due(self, interval_s: float) -> float:
        """Returns the time of the next regular ping, which may be over."""
        return self._last_at + interval_s


def _signal_for(health: Health) -> Signal | None:
    if health.state is HealthState.FAILING:
        return Signal.FAIL
    return None if health.is_starting else Signal.SUCCESS


def reasons_of(health: Health) -> Reasons:
    """Returns the reasons without their texts, which may hold numbers that change all the time."""
    return frozenset((reason.id.value, reason.subject) for reason in health.reasons)
