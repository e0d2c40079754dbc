"""The table from Slack's errors to verdicts, for the text of incoming webhooks and the JSON of the Web API.

Not every answer is Slack's. A page (HTML or XML), a redirect and any unknown error come from a portal, a proxy or
a gateway in between: they are trouble of the way, and cost no message. Any other 2xx comes from a receiver that is
compatible with Slack's webhooks: the message is delivered, because repeating it would post it twice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from aintandem_notify.api import HttpAnswer


class Verdict(Enum):
    """The result of a response."""

    DELIVERED = auto()
    TAKEN = auto()
    """A 2xx that is not Slack's: delivered to a compatible receiver, which is worth a warning."""
    RETRY = auto()
    """Slack or the way to it has trouble, or the rate is limited: this notification and all behind it are retried
    later."""
    BROKEN = auto()
    """A person must repair the webhook, token or channel."""
    REJECTED = auto()
    """Slack rejects this message: it is retried once, as plain text."""
    UNKNOWN = auto()
    """A refusal, for a reason that is not in the table."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict; ``reason`` is Slack's error name, or our text without one; ``content`` is the JSON object."""

    verdict: Verdict
    reason: str
    content: Mapping[str, Any]


RATE_LIMITED: Final = frozenset({"ratelimited", "rate_limited"})
"""Slack's names for too many messages in a short time."""

_RETRY: Final = """
    ratelimited rate_limited message_limit_exceeded
    internal_error fatal_error service_unavailable request_timeout rollup_error
    team_added_to_org org_login_required
"""
_BROKEN: Final = """
    no_service no_service_id no_active_hooks no_team team_disabled invalid_token action_prohibited
    posting_to_general_channel_denied channel_is_archived is_archived channel_not_found user_not_found
    invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission
    not_in_channel ekm_access_denied
    not_allowed_token_type access_denied accesslimited enterprise_is_restricted two_factor_setup_required
    team_access_not_granted team_not_found messages_tab_disabled as_user_not_supported
    deprecated_endpoint method_deprecated
"""
_REJECTED: Final = """
    invalid_payload no_text msg_too_long msg_blocks_too_long too_many_attachments invalid_arguments
    metadata_too_large
"""

ERRORS: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(_RETRY.split(), Verdict.RETRY),
    **dict.fromkeys(_BROKEN.split(), Verdict.BROKEN),
    **dict.fromkeys(_REJECTED.split(), Verdict.REJECTED),
}
"""The verdicts by Slack's error names."""

ERROR_FAMILIES: Final[Mapping[str, Verdict]] = {
    "invalid_blocks": Verdict.REJECTED,
    "restricted_action": Verdict.BROKEN,
}
"""The verdicts of errors with varying endings (``invalid_blocks_format``), by their beginnings."""

_BUSY: Final[Mapping[int, str]] = {408: "request_timeout", 429: "ratelimited"}
"""Statuses below 500 that ask for a pause, with Slack's name of the error."""

_NO: Final = (False, "false")

_ERROR_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")


def judge(answer: HttpAnswer) -> Judgement:
    """The judgement of a response to a posted message."""
    content = _content(answer)
    error = _error_name(answer, content)
    verdict, reason = _judge(answer, content, error)
    return Judgement(verdict, reason, content)


def _judge(answer: HttpAnswer, content: Mapping[str, Any], error: str) -> tuple[Verdict, str]:
    known = _verdict_of(error)
    is_success = answer.status // 100 == 2
    if answer.status in _BUSY or answer.status >= 500:
        return Verdict.RETRY, error if known is not None else _BUSY.get(answer.status, f"HTTP {answer.status}")
    if answer.status == 413:
        return Verdict.REJECTED, "HTTP 413: the message is too large for a server in between"
    if is_success and (content.get("ok") is True or answer.text.strip() == "ok"):
        return Verdict.DELIVERED, "ok"
    if known is not None:
        return known, error
    if _is_refusal(content) and (is_success or "ok" in content):
        return Verdict.UNKNOWN, f"a refusal for an unknown reason ({answer.describe()})"
    if is_success and not answer.is_html and not answer.text.lstrip().startswith("<"):
        return Verdict.TAKEN, answer.describe()
    return Verdict.RETRY, f"another server answers in its place, such as a proxy or a portal ({answer.describe()})"


def _is_refusal(content: Mapping[str, Any]) -> bool:
    return content.get("ok") in _NO or content.get("success") in _NO or bool(content.get("error"))


def _verdict_of(error: str) -> Verdict | None:
    """The verdict of an error's name, None if it is not in the table."""
    if error in ERRORS:
        return ERRORS[error]
    for beginning, verdict in ERROR_FAMILIES.items():
        if error.startswith(beginning):
            return verdict
    return None


def _content(answer: HttpAnswer) -> Mapping[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _error_name(answer: HttpAnswer, content: Mapping[str, Any]) -> str:
    """The error's name, or an empty text; never the whole body, which may be a page of HTML."""
    text = content.get("error") if content else answer.text.strip()
    # Text may follow the name: "invalid_blocks: at least one block is needed".
    match = _ERROR_NAME.match(text) if isinstance(text, str) else None
    return match[0] if match else ""
