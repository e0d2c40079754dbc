"""The table from HTTP status to verdict, and the answers that another server gives in the receiver's place.

Portals, proxies and load balancers answer with pages of HTML, under any status; redirects and 404 come from
them as well, while a receiver is being replaced. Such an answer says nothing about the message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from aintandem_notify.api import HttpAnswer


class Verdict(Enum):
    """The result of a response."""

    DELIVERED = auto()
    RETRY = auto()
    """The receiver or the way to it has trouble: this notification and all behind it are retried later."""
    REJECTED = auto()
    """The receiver rejects this notification: the agent retries it once, then it is dead."""
    MISSING = auto()
    """Another server answers in the receiver's place: retried later, and for a person to repair if it lasts."""
    BROKEN = auto()
    """The receiver refuses us: a person must change the config."""
    GONE = auto()
    """The receiver wants no more notifications."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the reason for it in one line."""

    verdict: Verdict
    reason: str


STATUSES: Final[Mapping[int, Verdict]] = {
    **dict.fromkeys((400, 411, 413, 414, 415, 422, 431, 501), Verdict.REJECTED),
    **dict.fromkeys((404, 405), Verdict.MISSING),
    **dict.fromkeys((401, 403), Verdict.BROKEN),
    410: Verdict.GONE,
    # 407 is the proxy's. After a 421 the request has reached a server that is not responsible for the host.
    **dict.fromkeys((407, 408, 421, 425, 429), Verdict.RETRY),
}
"""Statuses whose verdict differs from that of their class."""

STATUS_CLASSES: Final[Mapping[int, Verdict]] = {
    2: Verdict.DELIVERED,
    # Following it would send the notification, with some methods also its signature, to an unconfigured host.
    3: Verdict.MISSING,
    4: Verdict.REJECTED,
    5: Verdict.RETRY,
}

_SIZES: Final = frozenset({413, 414, 431})
"""Statuses about the size of a request: a proxy decides about it for the receiver, and answers with its page."""

_PROXY_HEADERS: Final = frozenset({"cf-mitigated", "proxy-authenticate", "x-squid-error"})
"""Headers of answers that a proxy gives by itself."""

_REASONS: Final[Mapping[int, str]] = {
    401: "the receiver does not accept the signature or the credentials",
    403: "the receiver refuses us",
    404: "nothing receives notifications at this URL; correct url if that stays so",
    405: "nothing receives a POST at this URL; correct url if that stays so",
    407: "the proxy asks for credentials; set them in proxy of [connection]",
    421: "the request has reached another server than the receiver",
    511: "the network asks for a login",
}


def judge(answer: HttpAnswer, *, accept_html: bool = False) -> Judgement:
    """The judgement of a response. ``accept_html``: the receiver itself answers with pages of HTML."""
    status = answer.status
    verdict = STATUSES.get(status) or STATUS_CLASSES.get(status // 100, Verdict.RETRY)
    if verdict is Verdict.RETRY or status in _SIZES:
        return Judgement(verdict, _describe(answer))
    # Under a status that concerns one message, the page may be the receiver's own: parking would stop the others.
    in_its_place = Verdict.RETRY if verdict is Verdict.REJECTED else Verdict.MISSING
    if answer.is_html and not accept_html:
        return Judgement(in_its_place, _describe_page(answer))
    if status >= 400 and _PROXY_HEADERS & answer.headers.keys():
        return Judgement(in_its_place, f"HTTP {status}, which a proxy answers in the receiver's place")
    return Judgement(verdict, _describe(answer))


def _describe(answer: HttpAnswer) -> str:
    status = answer.status
    if status // 100 == 3:
        return f"{answer.describe()}, which is never followed; if the receiver has moved, correct url"
    if status == 410:
        return "disabled: the receiver answered 410 Gone"
    return f"HTTP {status}: {_REASONS[status]}" if status in _REASONS else f"HTTP {status}"


def _describe_page(answer: HttpAnswer) -> str:
    remedy = "; if the receiver itself answers so, set accept_html = true" if answer.status < 300 else ""
    return f"{answer.describe()}, as portals and proxies answer in the receiver's place{remedy}"
