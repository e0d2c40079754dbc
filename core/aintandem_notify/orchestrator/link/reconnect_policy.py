"""What to do about a failed try, as pure functions: which kind of trouble it is, and how long to wait."""

from enum import StrEnum
from typing import Final, Protocol

from aintandem_notify.errors import (
    ApiError,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
    ServerTrouble,
)
from aintandem_notify.foundation.backoff import Chance, full_jitter, stepped_delay

STABLE_AFTER_S: Final = 60.0
"""A connection that lasted so long was a good one: two heartbeats at the usual 30 s have come back. Only then
the next loss starts again from the shortest pause; a server that hangs up at once is not asked every second."""
MAX_IMMEDIATE_RENEWALS: Final = 2
"""Refusals in a row that are answered by a new token and no pause: one by refresh, one by login."""
FORBIDDING_CODES: Final = frozenset({403, 4403})
"""The orchestrator knows us and says no: other tokens of the same user are worth no third try."""
SLOW_PAUSES: Final = (10.0, 30.0, 60.0, 300.0)
"""Pauses, in units of the first reconnect delay, before asking again for what only a person can mend."""


class ReconnectSettings(Protocol):
    """The reconnect settings; delays in seconds, ``reconnect_attempts`` None means unlimited."""

    @property
    def reconnect_initial_delay(self) -> float: ...
    @property
    def reconnect_max_delay(self) -> float: ...
    @property
    def reconnect_attempts(self) -> int | None: ...


class ConnectionTrouble(StrEnum):
    """Why a project is not connected; each kind is told once a spell."""

    LOST = "lost"
    REFUSED = "refused"
    GONE = "gone"


def classify_error(error: OrchestratorError | HttpFailed) -> ConnectionTrouble:
    """The kind of trouble behind an error of a link or of the REST API."""
    match error:
        case LinkRefused():
            return ConnectionTrouble.REFUSED
        case ProjectGone():
            return ConnectionTrouble.GONE
        case ApiError() if not isinstance(error, ServerTrouble):
            return ConnectionTrouble.REFUSED
        case _:
            return ConnectionTrouble.LOST


def pause_before_retry(
    trouble: ConnectionTrouble, failures: int, backoff: ReconnectSettings, chance: Chance
) -> float:
    """Seconds to wait after the given number of failures in a row (at least 1)."""
    if trouble is ConnectionTrouble.LOST:
        first, longest = backoff.reconnect_initial_delay, backoff.reconnect_max_delay
        return full_jitter(failures - 1, initial=first, maximum=longest, chance=chance)
    pauses = [pause * backoff.reconnect_initial_delay for pause in SLOW_PAUSES]
    return stepped_delay(failures - 1, pauses=pauses, chance=chance)


def should_give_up(failures: int, backoff: ReconnectSettings) -> bool:
    """Whether so many failures in a row are enough: the first try and all that may follow it."""
    return backoff.reconnect_attempts is not None and failures > backoff.reconnect_attempts


def should_retry_at_once(refusals: int) -> bool:
    """Whether a new token after so many refusals in a row is tried without a pause."""
    return refusals <= MAX_IMMEDIATE_RENEWALS


def should_renew_token(code: int, refusals: int) -> bool:
    """Whether a refusal with this code, the so-manieth in a row, asks for a new token."""
    return should_retry_at_once(refusals) or code not in FORBIDDING_CODES


def close_code_of(error: Exception) -> int:
    """The close code to tell people; 1006 where the connection ended without one."""
    match error:
        case LinkLost(code=code):
            return code
        case LinkRefused(code=code) if code >= 1000:
            return code
        case ProjectGone():
            return 4404
        case _:
            return 1006
