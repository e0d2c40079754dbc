"""Turns responses of the REST API into JSON values or typed errors. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    Conflict,
    Forbidden,
    HttpFailed,
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


class ForeignAnswer(ApiError):
    """The response says nothing that was asked for: a proxy, a login page or a notice of maintenance may be its
    source. A later try may succeed."""

    is_from_api = False


def is_refusal(error: ApiError | HttpFailed) -> bool:
    """True if the orchestrator itself has refused the request. Otherwise the same request may succeed later."""
    match error:
        case AuthenticationFailed():
            return True
        case ServerTrouble() | HttpFailed():
            return False
        case _:
            return error.is_from_api and error.status >= 400


def parse_response(answer: HttpAnswer, now: datetime) -> Any:
    """The JSON value of a 2xx response, None if it has no body. Raises ApiError for anything else."""
    if not 200 <= answer.status < 300:
        raise error_for_response(answer, now)
    if answer.truncated:
        raise ResponseTooLarge(f"the answer has more than {len(answer.body):,} bytes", status=answer.status)
    if not answer.body or answer.body.isspace():  # without a copy
        return None
    try:
        return answer.json()
    except UnreadableJson as error:
        if error.flaw in _SIZE_FLAWS:
            raise ResponseTooLarge(
                f"the answer cannot be read: {error.flaw.value}", status=answer.status
            ) from None
        raise ForeignAnswer("the answer is not JSON", status=answer.status) from None


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
    error.is_from_api = _is_from_api(answer, body)
    if isinstance(error, ServerTrouble):
        error.retry_after = answer.retry_after(now)
    return error


def _is_from_api(answer: HttpAnswer, body: object) -> bool:
    if answer.status == 401:
        return True  # whoever refuses a login may lock the account after many tries
    if answer.status == 403 and not is_page(answer):
        return True
    return answer.status >= 400 and isinstance(body, dict)


def is_page(answer: HttpAnswer) -> bool:
    """Whether the body is a page for a browser."""
    return "html" in answer.headers.get("content-type", "").lower() or answer.body.lstrip()[:1] == b"<"


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


def find_rows(content: Any, *names: str, is_strict: bool = False) -> list[Any]:
    """The list in a response: the content itself, or the list under one of ``names`` or of the usual names.

    Raises ApiError if there is no list: such a response (a proxy's page, a notice of maintenance) does not mean
    that the list is empty. The same is true of a response that names an error.

    Unless ``is_strict``, None under such a name means an empty list, and a list under any other name will do, if
    it is not empty. That is only right for a list whose emptiness has no consequences.
    """
    if isinstance(content, list):
        return content
    reason = ""
    if isinstance(content, dict):
        reason = error_message({"error": content.get("error")})
        rows = None if reason or content.get("success") is False else _find_list(content, names, is_strict)
        if rows is not None:
            return rows
    raise ForeignAnswer(f"the answer holds no list of {names[0]}{reason and f': {reason}'}", status=200)


def _find_list(content: dict[str, Any], names: Sequence[str], is_strict: bool) -> list[Any] | None:
    """The first list inside an object, or inside an object in it, as in ``{"data": {"projects": […]}}``."""
    known_names = (*names, *_LIST_KEYS)
    known = [content[name] for name in known_names if name in content]
    wrapped = [(known_names, value) for value in known] + [(tuple(names), value) for value in content.values()]
    inner = [value[name] for keys, value in wrapped if isinstance(value, dict) for name in keys if name in value]
    for value in (*known, *inner):
        if isinstance(value, list):
            return value
    if is_strict:
        return None
    others = [
        value for fields in (content, *content.values()) if isinstance(fields, dict) for value in fields.values()
    ]
    rows = next((value for value in others if isinstance(value, list) and value), None)
    return [] if rows is None and None in known else rows
