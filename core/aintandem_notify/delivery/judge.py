"""Judges the result of a try. One table maps the plugin's exception to the delivery's next step. Pure.

Trouble of the destination holds back its whole queue, and no message is given up for it. Trouble of a message
concerns that message only.

Some trouble can be either: a destination that answers 500, or closes the connection, may be down, or it may never
take this one message. ``judge`` takes it for the destination's. After ``SUSPECT_AFTER`` failures of one message
``gate`` lets others probe. ``assign_blame`` then counts the failures of that message which came right after the
success of another one; only enough of those make it the message's own trouble. An outage has at most one of them,
however long it is.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aintandem_notify.errors import DestinationBroken, DestinationGone, HttpFailed, Rejected, RetryLater
from aintandem_notify.plugins.border import describe_plugin_error, plugin_error_kind

MAX_SAME_FAULTS: Final = 3
"""A message is given up after this many tries in a row that raised the same exception in the plugin."""

SUSPECT_AFTER: Final = 3
"""Failures of one message after which another one probes the destination."""

MAX_BLAME: Final = SUSPECT_AFTER + 5
"""A message is given up at this blame: the failures above, and five more while others are delivered between them.

A destination that fails at random every second time would have to do so five times in this order, with pauses
between; any other order takes blame away again.
"""

MIN_BLAMED_AGE_S: Final = 7200.0
"""Seconds that a message has waited at least before the blame ends it. A destination that takes only one message
in half a minute refuses each that comes right after another. Within this time a burst of some dozens has gone
out, so that the message is tried at a destination at rest.
"""

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
    """The trouble is that of this message: only this message is tried again."""
    REFUSE = "refuse"
    """The destination refuses this message: after one more try as plain text it is dead."""
    GIVE_UP = "give up"
    """This message has failed too often: after one more try as plain text it is dead."""


TROUBLE: Final = frozenset({Action.WAIT, Action.PARK, Action.DISABLE})
"""Actions for trouble of the destination, which close its gate."""


@dataclass(frozen=True, slots=True)
class FaultHistory:
    """The last tries of one delivery: the exception of the plugin in each, and their number in a row.

    ``blame``: how strongly failures of the destination point to this message instead; see ``assign_blame``.
    """

    fault: str | None = None
    count: int = 0
    blame: int = 0

    @property
    def is_suspect(self) -> bool:
        """True if failures of the destination may be the message's own, so that another one should probe."""
        return self.blame >= SUSPECT_AFTER


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


def judge(error: BaseException | None, history: FaultHistory, *, plain: bool = False) -> Verdict:
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


def _judge_plugin_error(error: BaseException, reason: str, history: FaultHistory, plain: bool) -> Verdict:
    fault = plugin_error_kind(error)
    count = history.count + 1 if fault == history.fault else 1
    current = replace(history, fault=fault, count=count)
    if plain or count >= MAX_SAME_FAULTS:
        times = f" ({count} times)" if count > 1 else ""
        return Verdict(Action.GIVE_UP, f"{reason}{times}", history=current, retries_as_plain=not plain)
    return Verdict(Action.RETRY, reason, history=current)


def assign_blame(
    verdict: Verdict,
    *,
    is_well: bool,
    is_common: bool,
    age_s: float,
    min_age_s: float = MIN_BLAMED_AGE_S,
    plain: bool = False,
) -> Verdict:
    """Returns the verdict with the message's new blame, and as the message's trouble if there is reason for it.

    ``is_well``: the try before this one was a success, and so it was that of another message if this one has
    failed before. ``is_common``: messages that nobody suspects have failed since the last success; this takes
    blame away. ``age_s``: seconds for which the message has waited; before ``min_age_s`` it is not given up.

    A pause that the destination requested is its own trouble, and leaves the blame as it is.
    """
    if verdict.action is not Action.WAIT or verdict.retry_after_s is not None:
        return verdict
    history = verdict.history
    if not history.is_suspect:
        return _with_blame(verdict, history.blame + 1)
    if is_common:
        return _with_blame(verdict, max(SUSPECT_AFTER, history.blame - 1))
    if not is_well:
        return verdict
    blamed = _with_blame(verdict, history.blame + 1)
    if blamed.history.blame < MAX_BLAME or age_s < min_age_s:
        return replace(blamed, action=Action.RETRY)
    reason = f"the destination took other messages, but failed {blamed.history.blame} times on this one"
    return replace(blamed, action=Action.GIVE_UP, reason=f"{reason}: {verdict.reason}", retries_as_plain=not plain)


def _with_blame(verdict: Verdict, blame: int) -> Verdict:
    return replace(verdict, history=replace(verdict.history, blame=blame))


def requested_pause(error: Exception) -> float | None:
    """Returns the pause in seconds that the destination requested, at most a day; None if it requested none."""
    after = error.after if isinstance(error, RetryLater) else None
    return None if after is None else min(after, MAX_REQUESTED_PAUSE_S)
