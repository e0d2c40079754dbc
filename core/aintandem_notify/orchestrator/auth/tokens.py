"""Reads the lifetime out of a token, and decides when to renew it. Pure. Only the server can verify a token."""

import math
import re
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeGuard

from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.untrusted_json import read_json

RENEW_FROM: Final = 0.75
"""The part of a token's life after which a request for a token renews it."""
RENEW_UNTIL: Final = 0.9
"""The part of a token's life by which it should be replaced; each project draws its moment between the two."""
MIN_LIFE_S: Final = 1.0
"""Seconds; a shorter life counts as this one, so that a server's mistake does not cause a busy loop."""
MAX_TOKEN_LENGTH: Final = 16_384
"""Characters; common servers accept so many of all headers together. The log searches its texts for tokens."""
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class TokenOrigin(StrEnum):
    """The source of a token."""

    STATIC = "static"
    LOGIN = "login"
    REFRESH = "refresh"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    ``expires_at`` is aware UTC, None if the token does not say. ``renew_from`` and ``renew_until`` are seconds of
    trio's clock, infinite if the end is unknown: such a token is renewed when it is refused.
    """

    text: str = field(repr=False)
    origin: TokenOrigin
    expires_at: datetime | None = None
    renew_from: float = math.inf
    renew_until: float = math.inf


def is_token(text: object) -> TypeGuard[str]:
    """True if the text can be sent as a token: headers and URLs hold only visible ASCII (RFC 6750)."""
    return has_token_length(text) and _VISIBLE.fullmatch(text) is not None


def has_token_length(text: object) -> TypeGuard[str]:
    """True if it is a str, not empty, and not longer than a token may be."""
    return isinstance(text, str) and 0 < len(text) <= MAX_TOKEN_LENGTH


def make_token(text: str, origin: TokenOrigin, *, now: datetime, current_time: float) -> Token:
    """A token that arrived just now (``now`` aware UTC, ``current_time`` of trio's clock).

    If the token has an issue time, its life is measured on the orchestrator's clock, so a wrong clock of ours does
    no harm. A token that seems expired on arrival comes from a wrong clock, so its end is unknown.
    """
    claims = _claims(text)
    expires, issued = _parse_timestamp(claims.get("exp")), _parse_timestamp(claims.get("iat"))
    if expires is None:
        return Token(text, origin)
    life = (expires - (issued or now)).total_seconds()
    if life <= 0:
        return Token(text, origin, expires)
    life = max(life, MIN_LIFE_S)
    return Token(text, origin, expires, current_time + life * RENEW_FROM, current_time + life * RENEW_UNTIL)


def make_stored_token(text: str, *, now: datetime, current_time: float) -> Token | None:
    """A token that was stored at an earlier start, None if it has expired.

    Its age by the orchestrator's clock is unknown, so its end is measured by our clock.
    """
    claims = _claims(text)
    expires, issued = _parse_timestamp(claims.get("exp")), _parse_timestamp(claims.get("iat"))
    if expires is None:
        return Token(text, TokenOrigin.STORED)
    remaining = (expires - now).total_seconds()
    if remaining <= 0:
        return None
    life = max((expires - (issued or now)).total_seconds(), remaining)
    renew_from, renew_until = (current_time + remaining - life * (1 - part) for part in (RENEW_FROM, RENEW_UNTIL))
    return Token(text, TokenOrigin.STORED, expires, renew_from, renew_until)


def renewal_time(token: Token, chance: Chance) -> float:
    """The time at which one holder of the token should renew it: random, so that many do not do it at once.

    Seconds of trio's clock; infinite if the end of the token is unknown.
    """
    if math.isinf(token.renew_from):
        return math.inf
    return token.renew_from + (token.renew_until - token.renew_from) * chance()


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        content = read_json(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), strict=False)
    except (NotBase64, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _parse_timestamp(value: object) -> datetime | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    except (OverflowError, ValueError):
        return None
