"""Judges the result of a try. One table maps the plugin's exception to the delivery's next step. Pure.

Trouble of the destination holds back its whole queue, and no message is given up for it. Trouble of a message
concerns that message only.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aintandem_notify.errors import DestinationBroken, DestinationGone, HttpFailed, Rejected, RetryLater
from aintandem_notify.plugins.border import describe_plugin_error, plugin_error_kind

MAX_SAME_FAULTS: Final = 3
"""A message is given up after this many tries in a row that raised the same exception in the plugin."""

MAX_REQUESTED_PAUSE_S: Final = 86_400.0
"""Maximum pause in seconds that a destination may request: one day."""


class Action(StrEnum):
    """The next step of a delivery after a try."""

    DELIVERED = "delivered"
    WAIT = "wait"
    """The destination has trouble: it pauses, and the delivery stays first in its queue."""
    PARK = "park"
    """Only a person can repair the destination: rare probes; the queue is kept."""
    DISABLE = "disable"
    """The destination accepts no more deliveries: no probes; the queue is kept."""
    RETRY = "retry"
    """The plugin failed on this message: only this message is tried again."""
    REFUSE = "refuse"
    """The destination refuses this message: after one more try as plain text it is dead."""
    GIVE_UP = "give up"
    """The plugin failed on this message too often: after one more try as plain text it is dead."""


@dataclass(frozen=True, slots=True)
class FaultHistory:
    """The last tries of one delivery: the exception of the plugin in each, and their number in a row."""

    fault: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a try. ``history`` is to be stored with the delivery.

    ``retry_after_s``: pause in seconds that the destination requested; None if it requested none.
    ``retries_as_plain``: the message is not dead yet; it is tried once more as plain text.
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
    # Our own deadline, and errors of a plugin's own sockets: refused, reset, timed out.
    (TimeoutError, Action.WAIT),
    (ConnectionError, Action.WAIT),
    (DestinationGone, Action.DISABLE),
    (DestinationBroken, Action.PARK),
    (Rejected, Action.REFUSE),
)
"""The first matching class decides. Any other exception is an error in the plugin."""


def judge(error: Exception | None, history: FaultHistory, *, plain: bool = False) -> Verdict:
    """Returns the verdict on a try after ``history``. ``error`` comes from ``plugins.border``; None: delivered.

    ``plain``: this was the last try, as plain text.
    """
    if error is None:
        return DELIVERED
    reason = describe_plugin_error(error)
    for kind, action in _ACTIONS:
        if isinstance(error, kind):
            retries_as_plain = action is Action.REFUSE and not plain
            return Verdict(action, reason, requested_pause(error), history, retries_as_plain)
    return _judge_plugin_error(error, reason, history, plain)


def _judge_plugin_error(error: Exception, reason: str, history: FaultHistory, plain: bool) -> Verdict:
    fault = plugin_error_kind(error)
    count = history.count + 1 if fault == history.fault else 1
    if plain or count >= MAX_SAME_FAULTS:
        times = f" ({count} times)" if count > 1 else ""
        return Verdict(
            Action.GIVE_UP, f"{reason}{times}", history=FaultHistory(fault, count), retries_as_plain=not plain
        )
    return Verdict(Action.RETRY, reason, history=FaultHistory(fault, count))


def requested_pause(error: Exception) -> float | None:
    """Returns the pause in seconds that the destination requested, at most a day; None if it requested none."""
    after = error.after if isinstance(error, RetryLater) else None
    return None if after is None else min(after, MAX_REQUESTED_PAUSE_S)
