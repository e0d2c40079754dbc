"""What a token says about its own end, and when to renew it. Pure; nothing is verified, only the server can."""

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
"""The part of a token's life after which anybody who asks gets a new one."""
RENEW_UNTIL: Final = 0.9
"""The part of a token's life after which nobody should hold it; between the two each project draws its moment."""
MIN_LIFE_S: Final = 1.0
"""What is said to live for less is renewed as if it lived so long: a server's slip must not be a hot loop."""
MAX_TOKEN_LENGTH: Final = 16_384
"""Characters of a token: what common servers take of all headers together. Each is looked for in every text."""
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class TokenOrigin(StrEnum):
    """How we came by a token."""

    GIVEN = "given"
    LOGIN = "login"
    REFRESH = "refresh"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    ``expires_at`` is aware UTC, None when the token does not say. ``renew_from`` and ``renew_until`` are
    seconds of trio's clock, infinite when nobody can tell: such a token is renewed when it is refused.
    """

    text: str = field(repr=False)
    origin: TokenOrigin
    expires_at: datetime | None = None
    renew_from: float = math.inf
    renew_until: float = math.inf


def is_token(text: object) -> TypeGuard[str]:
    """Whether it can be sent as one: in a header and a URL there is room for visible ASCII only (RFC 6750)."""
    return has_token_length(text) and _VISIBLE.fullmatch(text) is not None


def has_token_length(text: object) -> TypeGuard[str]:
    """Whether it is a text that is no longer than a token may be, and not empty."""
    return isinstance(text, str) and 0 < len(text) <= MAX_TOKEN_LENGTH


def make_token(text: str, origin: TokenOrigin, *, now: datetime, current_time: float) -> Token:
    """A token that arrived just now (``now`` aware UTC, ``current_time`` of trio's clock).

    Its life is measured on the orchestrator's own clock where it says when it was issued, so that a clock of
    ours that is wrong costs nothing. A token that seems to be over on arrival comes from a clock that is
    wrong, and says nothing about its end.
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
    """A token that was kept since an earlier start; None when it is over.

    Nobody knows how old it is by the orchestrator's clock, so its end is taken as ours tells it.
    """
    claims = _claims(text)
    expires, issued = _parse_timestamp(claims.get("exp")), _parse_timestamp(claims.get("iat"))
    if expires is None:
        return Token(text, TokenOrigin.KEPT)
    left = (expires - now).total_seconds()
    if left <= 0:
        return None
    life = max((expires - (issued or now)).total_seconds(), left)
    renew_from, renew_until = (current_time + left - life * (1 - part) for part in (RENEW_FROM, RENEW_UNTIL))
    return Token(text, TokenOrigin.KEPT, expires, renew_from, renew_until)


def renewal_time(token: Token, chance: Chance) -> float:
    """When one holder of the token should get another: drawn, so that many do not do it at once.

    Seconds of trio's clock; infinite when nobody can tell.
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
