"""Decides how to react to a failed try to connect: the kind of trouble, and the pause. Pure functions."""

from enum import StrEnum
from typing import Final, Protocol

from aintandem_notify.errors import (
    ApiError,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
)
from aintandem_notify.foundation.backoff import Chance, full_jitter, stepped_delay
from aintandem_notify.orchestrator.protocol.responses import is_refusal

STABLE_AFTER_S: Final = 60.0
"""Seconds after which a connection counts as stable: two heartbeats at the usual 30 s were answered. Only after a
stable connection does a loss start from the shortest pause again. So a server that hangs up at once is not tried
every second."""
MAX_IMMEDIATE_RENEWALS: Final = 2
"""Consecutive refusals after which a new token is tried without a pause: one by refresh, one by login."""
FORBIDDING_CODES: Final = frozenset({403, 4403})
"""Codes for "known, but not allowed": a third token of the same user would not help."""
SLOW_PAUSES: Final = (10.0, 30.0, 60.0, 300.0)
"""Pauses before the next try, in units of the first reconnect delay, if only a person can mend the trouble."""


class ReconnectSettings(Protocol):
    """The reconnect settings; delays in seconds, ``reconnect_attempts`` None means unlimited."""

    @property
    def reconnect_initial_delay(self) -> float: ...
    @property
    def reconnect_max_delay(self) -> float: ...
    @property
    def reconnect_attempts(self) -> int | None: ...


class ConnectionTrouble(StrEnum):
    """The reason why a project is not connected. Each kind is reported once in a series of failures."""

    LOST = "lost"
    REFUSED = "refused"
    GONE = "gone"


def classify_error(error: OrchestratorError | HttpFailed) -> ConnectionTrouble:
    """The kind of trouble that an error of a link or of the REST API means."""
    match error:
        case LinkRefused():
            return ConnectionTrouble.REFUSED
        case ProjectGone():
            return ConnectionTrouble.GONE
        case ApiError() if is_refusal(error):
            return ConnectionTrouble.REFUSED
        case _:
            return ConnectionTrouble.LOST


def pause_before_retry(
    trouble: ConnectionTrouble, failures: int, settings: ReconnectSettings, chance: Chance
) -> float:
    """Seconds to wait after ``failures`` consecutive failures (at least 1)."""
    if trouble is ConnectionTrouble.LOST:
        first, longest = settings.reconnect_initial_delay, settings.reconnect_max_delay
        return full_jitter(failures - 1, initial=first, maximum=longest, chance=chance)
    pauses = [pause * settings.reconnect_initial_delay for pause in SLOW_PAUSES]
    return stepped_delay(failures - 1, pauses=pauses, chance=chance)


def should_give_up(failures: int, settings: ReconnectSettings) -> bool:
    """True after so many consecutive failures that no try is left: the first one and all retries have failed."""
    return settings.reconnect_attempts is not None and failures > settings.reconnect_attempts


def should_retry_at_once(refusals: int) -> bool:
    """True if a new token is tried without a pause after ``refusals`` consecutive refusals."""
    return refusals <= MAX_IMMEDIATE_RENEWALS


def should_renew_token(code: int, refusals: int, *, is_renewable: bool = True) -> bool:
    """True if a new token is fetched after ``refusals`` consecutive refusals, the last with this close code.

    If the token is not renewable, and may not watch one project, that is no refused login: it may watch others.
    """
    return code not in FORBIDDING_CODES or (is_renewable and should_retry_at_once(refusals))


def close_code_of(error: Exception) -> int:
    """The close code to report to the user; 1006 if the connection ended without one."""
    match error:
        case LinkLost(code=code):
            return code
        case LinkRefused(code=code) if code >= 1000:
            return code
        case ProjectGone():
            return 4404
        case _:
            return 1006
