"""Turns close codes and HTTP statuses into typed errors. Pure tables and functions.

``reconnect_policy`` decides how to react to an error.
"""

from collections.abc import Mapping
from typing import Final

from aintandem_notify.errors import LinkLost, LinkRefused, OrchestratorError, ProjectGone
from aintandem_notify.log import redact

REFUSING_CODES: Final = frozenset({1008, 4001, 4401, 4403})
"""Close codes of a server that refuses our token (1008: policy violation)."""
GONE_CODES: Final = frozenset({4404})
"""Close codes of a server that does not know the project."""
REFUSING_STATUSES: Final = frozenset({401, 403})
GONE_STATUSES: Final = frozenset({404, 410})
PROXY_STATUSES: Final = frozenset({200, 204, 301, 302, 303, 307, 308, 400, 405, 426, 501, 502})
"""Statuses of servers that know nothing of the socket; an orchestrator without trouble sends none of them."""
PROXY_ADVICE: Final = "does a proxy in front of it pass WebSocket upgrades?"

TOO_BIG: Final = 1009
"""The close code that we send if a message exceeds the limit."""

LIMIT_FLAWS: Final[Mapping[int, str]] = {
    1002: "broken WebSocket frame",
    1007: "no UTF-8",
    TOO_BIG: "message too big",
}
"""Close codes that we send because of a bad frame, and the name of the flaw to count."""

_MEANINGS: Final[Mapping[int, str]] = {
    1000: "the orchestrator closed the connection",
    1001: "the orchestrator is going away",
    1002: "a frame broke the WebSocket protocol",
    1005: "the orchestrator closed the connection without a code",
    1006: "the connection broke",
    1007: "a frame was not UTF-8",
    1008: "the orchestrator refused the token",
    TOO_BIG: "a message was too big",
    1011: "the orchestrator failed inside",
    1012: "the orchestrator restarts",
    1013: "the orchestrator is overloaded",
    4001: "the orchestrator refused the token",
    4401: "the orchestrator refused the token",
    4403: "the orchestrator does not let us watch the project",
    4404: "the orchestrator does not know the project",
}


def error_for_close(code: int, reason: str | None = None) -> OrchestratorError:
    """The typed error for a WebSocket close code; ``reason`` is the peer's own text."""
    code = int(code)  # the library's enum would show its name in logs
    meaning = _MEANINGS.get(code, "the connection was closed")
    text = f"{meaning} ({code}{f': {redact(reason)}' if reason else ''})"
    if code in REFUSING_CODES:
        return LinkRefused(text, code)
    if code in GONE_CODES:
        return ProjectGone(text, code)
    return LinkLost(text, code)


def error_for_status(status: int) -> OrchestratorError:
    """The typed error for an upgrade that was answered with an HTTP status other than 101."""
    if status in REFUSING_STATUSES:
        return LinkRefused(f"the orchestrator refused the token (HTTP {status})", status)
    if status in GONE_STATUSES:
        return ProjectGone(f"the orchestrator does not know the project (HTTP {status})", status)
    text = f"the orchestrator did not open a WebSocket (HTTP {status})"
    return LinkLost(f"{text}: {PROXY_ADVICE}" if status in PROXY_STATUSES else text)


def error_if_known(gone: ProjectGone, doubt: Exception | None = None) -> LinkLost:
    """The error in place of ``gone`` if the REST API knows the project, or if it could not say so: ``doubt``."""
    is_status = gone.code < 1000
    refusal = f"answers HTTP {gone.code} at the socket" if is_status else f"closes the socket with {gone.code}"
    if doubt is not None:
        text = f"the orchestrator {refusal}, and its REST API could not say whether it knows the project: {doubt}"
    else:
        text = f"the orchestrator {refusal} although its REST API knows the project"
        text = f"{text}: {PROXY_ADVICE}" if is_status else text
    return LinkLost(text) if is_status else LinkLost(text, gone.code)
