"""Access and refresh tokens in the orchestrator's form: JWTs (HS256) and a rotating refresh token.

They provide no security: a client must only be able to read ``exp`` and to be refused.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aintandem_notify.foundation.clock import Clock


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The tokens that a login or a refresh returns."""

    token: str
    refresh_token: str


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(claims: Mapping[str, Any], key: bytes) -> str:
    """``claims`` as a JWT, signed with HS256."""
    head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def read(token: str, key: bytes) -> dict[str, Any] | None:
    """The claims of a token that ``key`` signed, else None. Ignores the expiry time."""
    signed, _, signature = token.rpartition(".")
    expected = _encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    claims: dict[str, Any] = json.loads(_decode(signed.split(".")[1]))
    return claims


class TokenIssuer:
    """Issues and checks tokens. ``lifetime`` is in seconds and may be changed at any time."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._refresh_tokens: dict[str, tuple[str, str]] = {}
        self._sessions: set[str] = set()
        self._generation = 0

    def login(self, username: str) -> TokenPair:
        """Begin a session, and issue its tokens."""
        session = secrets.token_hex(8)
        self._sessions.add(session)
        return self._issue(username, session)

    def refresh(self, refresh_token: str) -> TokenPair | None:
        """Issue new tokens for an unused refresh token, else None. A refresh token works only once."""
        user_and_session = self._refresh_tokens.pop(refresh_token, None)
        return self._issue(*user_and_session) if user_and_session is not None else None

    def user_of(self, token: str) -> str | None:
        """The user of a token; None if it is foreign, expired or logged out."""
        claims = read(token, self._key)
        if claims is None or claims["gen"] != self._generation or claims["sid"] not in self._sessions:
            return None
        return str(claims["username"]) if claims["exp"] > self._clock.now().timestamp() else None

    def logout(self, token: str) -> None:
        """End the session of the token, with its refresh tokens."""
        claims = read(token, self._key)
        if claims is not None:
            self._sessions.discard(claims["sid"])
            self._refresh_tokens = {
                text: (user, session)
                for text, (user, session) in self._refresh_tokens.items()
                if session != claims["sid"]
            }

    def expire_all(self, *, refresh_tokens: bool = False) -> None:
        """Refuse all access tokens issued until now, and refresh tokens as well on request."""
        self._generation += 1
        if refresh_tokens:
            self._refresh_tokens.clear()

    def _issue(self, username: str, session: str) -> TokenPair:
        now = self._clock.now().timestamp()
        claims = {
            "sub": "1",
            "username": username,
            "sid": session,
            "gen": self._generation,
            "jti": secrets.token_hex(6),
            "iat": round(now, 3),
            "exp": round(now + self.lifetime, 3),
        }
        pair = TokenPair(sign(claims, self._key), f"rt_{secrets.token_urlsafe(24)}")
        self._refresh_tokens[pair.refresh_token] = (username, session)
        return pair
