"""The table from HTTP status to verdict."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Verdict(Enum):
    """The result of a response."""

    DELIVERED = auto()
    RETRY = auto()
    """The receiver has trouble: this notification and all behind it are retried later."""
    REJECTED = auto()
    """The receiver rejects this notification: the agent retries it once, then it is dead."""
    BROKEN = auto()
    """The receiver refuses us or has moved: a person must change the config."""
    GONE = auto()
    """The receiver wants no more notifications."""


STATUSES: Final[Mapping[int, Verdict]] = {
    **dict.fromkeys((400, 404, 405, 411, 413, 414, 415, 422, 431, 501), Verdict.REJECTED),
    **dict.fromkeys((401, 403), Verdict.BROKEN),
    410: Verdict.GONE,
    **dict.fromkeys((408, 425, 429), Verdict.RETRY),
}
"""Statuses whose verdict differs from that of their class."""

STATUS_CLASSES: Final[Mapping[int, Verdict]] = {
    2: Verdict.DELIVERED,
    # Following it would send the notification, with some methods also its signature, to an unconfigured host.
    3: Verdict.BROKEN,
    4: Verdict.REJECTED,
    5: Verdict.RETRY,
}


def judge(status: int) -> Verdict:
    """The verdict for a status; a status outside of HTTP's classes is retried."""
    return STATUSES.get(status) or STATUS_CLASSES.get(status // 100, Verdict.RETRY)


def describe_status(status: int) -> str:
    """One line about the status, for operators."""
    if status // 100 == 3:
        return f"HTTP {status}: a redirect, which is never followed; set url to its target"
    if status == 401:
        return "HTTP 401: the receiver does not accept the signature or the credentials"
    if status == 403:
        return "HTTP 403: the receiver refuses us"
    if status == 410:
        return "disabled: the receiver answered 410 Gone"
    return f"HTTP {status}"
