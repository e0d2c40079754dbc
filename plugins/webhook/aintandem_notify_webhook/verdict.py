"""What a receiver's status means, as one table."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Verdict(Enum):
    """What to do after an answer."""

    DELIVERED = auto()
    RETRY = auto()
    """The receiver has trouble: later, and everything behind it too."""
    TRY_TWICE = auto()
    """The receiver dislikes this message: it is dead after a second try, which the agent makes."""
    REFUSED = auto()
    """The receiver does not know us, or lives elsewhere: somebody has to look."""
    GONE = auto()
    """The receiver wants no more of this."""


STATUSES: Final[Mapping[int, Verdict]] = {
    **dict.fromkeys((400, 404, 405, 411, 413, 414, 415, 422, 431, 501), Verdict.TRY_TWICE),
    **dict.fromkeys((401, 403), Verdict.REFUSED),
    410: Verdict.GONE,
    **dict.fromkeys((408, 425, 429), Verdict.RETRY),
}
"""Statuses that mean something else than their hundred does."""

HUNDREDS: Final[Mapping[int, Verdict]] = {
    2: Verdict.DELIVERED,
    # Following would send the notification, and for some kinds its signature, to whom nobody configured.
    3: Verdict.REFUSED,
    4: Verdict.TRY_TWICE,
    5: Verdict.RETRY,
}


def judge(status: int) -> Verdict:
    """What a status means; one that HTTP does not know is the receiver's trouble."""
    return STATUSES.get(status) or HUNDREDS.get(status // 100, Verdict.RETRY)


def describe(status: int) -> str:
    """One line for the status, as an operator reads it."""
    if status // 100 == 3:
        return f"HTTP {status}: a redirect, which is never followed; set url to where it leads"
    if status == 401:
        return "HTTP 401: the receiver does not accept the signature or the credentials"
    if status == 403:
        return "HTTP 403: the receiver refuses us"
    if status == 410:
        return "disabled: the receiver answered 410 Gone"
    return f"HTTP {status}"
