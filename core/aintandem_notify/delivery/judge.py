"""What the end of a try means: one table from the plugin's answer to what becomes of the delivery.

Trouble of the destination holds everything behind it and counts against nothing; trouble of the message is
this message's alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aintandem_notify.errors import DestinationBroken, DestinationGone, HttpFailed, Rejected, RetryLater
from aintandem_notify.plugins.border import describe_fault, fault_kind

MAX_SAME_FAULTS: Final = 3
"""How often a plugin may end with the same exception for one message before the message is given up."""

MAX_REQUESTED_PAUSE_S: Final = 86_400.0
"""A destination may ask for a day of rest at the most."""


class Action(StrEnum):
    """What becomes of a delivery after a try."""

    DELIVERED = "delivered"
    WAIT = "wait"
    """The destination has trouble: it rests, the delivery stays first."""
    PARK = "park"
    """Only a person can mend the destination: rare probes, the queue is kept."""
    DISABLE = "disable"
    """The destination wants nothing more: no probes at all, the queue is kept."""
    RETRY = "again"
    """The plugin failed on this message: it alone is tried again."""
    REFUSE = "refuse"
    """The destination does not take this one: after one more try as plain text it is dead."""
    GIVE_UP = "give up"
    """The plugin failed on it too often: after one more try as plain text it is dead."""


@dataclass(frozen=True, slots=True)
class FaultHistory:
    """Earlier tries of one delivery: the exception that the last ones ended with, and how many in a row."""

    fault: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``retry_after_s``: seconds that the destination asked for, None if it did not. ``history`` is to be kept.

    ``retries_as_plain``: the message is not dead yet, it gets its try as plain text.
    """

    action: Action
    reason: str = ""
    retry_after_s: float | None = None
    history: FaultHistory = FaultHistory()
    retries_as_plain: bool = False


DELIVERED: Final = Verdict(Action.DELIVERED)

_ACTIONS: Final[tuple[tuple[type[Exception], Action], ...]] = (
    (RetryLater, Action.WAIT),
    (HttpFailed, Action.WAIT),
    # A deadline of ours that passed, and what a plugin's own sockets came to: refused, reset, timed out.
    (TimeoutError, Action.WAIT),
    (ConnectionError, Action.WAIT),
    (DestinationGone, Action.DISABLE),
    (DestinationBroken, Action.PARK),
    (Rejected, Action.REFUSE),
)
"""The first class that fits decides; any other exception is the plugin's own fault."""


def judge(error: Exception | None, history: FaultHistory, *, plain: bool = False) -> Verdict:
    """What a try that ended with ``error``, as the border made it (None: delivered), means after ``history``.

    ``plain``: it was the last try, as plain text.
    """
    if error is None:
        return DELIVERED
    reason = describe_fault(error)
    for kind, action in _ACTIONS:
        if isinstance(error, kind):
            retries_as_plain = action is Action.REFUSE and not plain
            return Verdict(action, reason, requested_pause(error), history, retries_as_plain)
    return _fault(error, reason, history, plain)


def _fault(error: Exception, reason: str, history: FaultHistory, plain: bool) -> Verdict:
    fault = fault_kind(error)
    count = history.count + 1 if fault == history.fault else 1
    if plain or count >= MAX_SAME_FAULTS:
        times = f" ({count} times)" if count > 1 else ""
        return Verdict(
            Action.GIVE_UP, f"{reason}{times}", history=FaultHistory(fault, count), retries_as_plain=not plain
        )
    return Verdict(Action.RETRY, reason, history=FaultHistory(fault, count))


def requested_pause(error: Exception) -> float | None:
    """Seconds that the destination asked for, at most a day; None if it did not."""
    after = error.after if isinstance(error, RetryLater) else None
    return None if after is None else min(after, MAX_REQUESTED_PAUSE_S)
