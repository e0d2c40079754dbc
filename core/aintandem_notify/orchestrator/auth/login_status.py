"""The state of the login, for people and for the agent's health. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from aintandem_notify.errors import ApiError, HttpFailed
from aintandem_notify.orchestrator.protocol.responses import is_refusal


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """The trouble with the login. All fields are None while it is well, and before the first request for a token.

    ``refused`` is the reason of a refused login; it stays until a login is accepted. ``unreachable`` is the reason
    why the last request for a token got no answer that says yes or no. Both may be set. There has been trouble
    since ``since`` (aware UTC).
    """

    refused: str | None = None
    unreachable: str | None = None
    since: datetime | None = None

    @property
    def reason(self) -> str | None:
        """The reason why there is no new token, in one line; None if there is no trouble."""
        return self.unreachable or self.refused

    def after(self, error: ApiError | HttpFailed, now: datetime) -> Self:
        """The status after a failed request for a token."""
        since = self.since or now
        if is_refusal(error):
            return replace(self, refused=str(error), unreachable=None, since=since)
        return replace(self, unreachable=str(error), since=since)
