"""Turns responses of the REST API into JSON values or typed errors. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerTrouble,
)
from aintandem_notify.foundation.untrusted_json import JsonFlaw, UnreadableJson
from aintandem_notify.http_client import HttpAnswer
from aintandem_notify.log import redact_start

MAX_MESSAGE_LENGTH: Final = 300
"""Characters of an error's message; a proxy's error page has thousands."""

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: AuthenticationFailed,
    403: Forbidden,
    404: NotFound,
    410: NotFound,
    409: Conflict,
    408: ServerTrouble,
    425: ServerTrouble,
    429: ServerTrouble,
}
_BY_CODE: Final[Mapping[str, type[ApiError]]] = {
    "UNAUTHORIZED": AuthenticationFailed,
    "AUTHENTICATION_FAILED": AuthenticationFailed,
    "FORBIDDEN": Forbidden,
    "CONFLICT": Conflict,
    "ALREADY_EXISTS": Conflict,
    "WORKFLOW_IN_USE": Conflict,
}
_SIZE_FLAWS: Final = frozenset({JsonFlaw.TOO_MANY_VALUES, JsonFlaw.TOO_DEEP, JsonFlaw.NO_MEMORY})

_LIST_KEYS: Final = ("items", "data", "results", "list")


class ResponseTooLarge(ApiError):
    """The response exceeds a limit. A retry does not help, but a request for a smaller part may."""


def parse_response(answer: HttpAnswer, now: datetime) -> Any:
    """The JSON value of a 2xx response, None if it has no body. Raises ApiError for anything else."""
    if not 200 <= answer.status < 300:
        raise error_for_response(answer, now)
    if answer.truncated:
        raise ResponseTooLarge(f"the answer has more than {len(answer.body):,} bytes", status=answer.status)
    if not answer.body.strip():
        return None
    try:
        return answer.json()
    except UnreadableJson as error:
        if error.flaw in _SIZE_FLAWS:
            raise ResponseTooLarge(
                f"the answer cannot be read: {error.flaw.value}", status=answer.status
            ) from None
        raise ApiError("the answer is not JSON", status=answer.status) from None


def error_for_response(answer: HttpAnswer, now: datetime) -> ApiError:
    """The typed error for a response whose status is not 2xx; its body may be anything."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    code, details = fields.get("code"), fields.get("details")
    kind = _error_class(answer.status, code if isinstance(code, str) else "")
    error = kind(
        error_message(fields) or _default_message(answer.status),
        status=answer.status,
        code=code if isinstance(code, str) else "",
        details=details if isinstance(details, dict) else None,
    )
    if isinstance(error, ServerTrouble):
        error.retry_after = answer.retry_after(now)
    return error


def _error_class(status: int, code: str) -> type[ApiError]:
    # The status decides whether a retry may help. The code only refines an error that no retry helps.
    if status >= 500:
        return ServerTrouble
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if code == "NOT_FOUND" or code.endswith("_NOT_FOUND"):
        return NotFound
    return _BY_CODE.get(code, InvalidRequest if status >= 400 else ApiError)


def error_message(fields: Mapping[str, Any]) -> str:
    """The error message of a response, in one line without secrets; empty if it has none."""
    for name in ("error", "message"):
        text = fields.get(name)
        if isinstance(text, dict):
            text = text.get("message")
        if isinstance(text, str) and text.strip():
            return redact_start(" ".join(text.split()), MAX_MESSAGE_LENGTH)
    return ""


def _default_message(status: int) -> str:
    if status >= 400:
        return "the orchestrator answered with an error"
    return "the orchestrator answered with an unexpected status"


def find_rows(content: Any, *names: str) -> list[Any]:
    """The list in a response: the content itself, or the list under one of ``names`` or of the usual names.

    None under such a name means an empty list. Raises ApiError if there is no list at all: such a response (a
    proxy's page, a notice of maintenance) does not mean that the list is empty.
    """
    if isinstance(content, list):
        return content
    rows = _find_list(content, names)
    if rows is None:
        raise ApiError(f"the answer holds no list of {names[0]}", status=200)
    return rows


def _find_list(content: Any, names: Sequence[str]) -> list[Any] | None:
    """The first list inside an object, or inside an object in it, as in ``{"data": {"projects": […]}}``."""
    if not isinstance(content, dict):
        return None
    known = [name for name in (*names, *_LIST_KEYS) if name in content]
    values = [*(content[name] for name in known), *content.values()]
    inner = [value for wrapped in values if isinstance(wrapped, dict) for value in wrapped.values()]
    rows = next((value for value in (*values, *inner) if isinstance(value, list)), None)
    return [] if rows is None and any(content[name] is None for name in known) else rows
