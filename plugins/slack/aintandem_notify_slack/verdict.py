"""The table from Slack's errors to verdicts, for the text of incoming webhooks and the JSON of the Web API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from aintandem_notify.api import HttpAnswer


class Verdict(Enum):
    """The result of a response."""

    DELIVERED = auto()
    RETRY = auto()
    """Slack has trouble or limits the rate: this notification and all behind it are retried later."""
    BROKEN = auto()
    """A person must repair the webhook, token or channel."""
    REJECTED = auto()
    """Slack rejects this message: it is retried once, as plain text."""
    UNKNOWN = auto()
    """No response that Slack is known to send; never taken for a success."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict; ``reason`` is Slack's error name, or our text without one; ``content`` is the JSON object."""

    verdict: Verdict
    reason: str
    content: Mapping[str, Any]


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

_ERROR_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")


def judge(answer: HttpAnswer) -> Judgement:
    """The judgement of a response to a posted message."""
    content = _content(answer)
    error = _error_name(answer, content)
    if answer.status == 429:
        return Judgement(Verdict.RETRY, error or "ratelimited", content)
    if answer.status >= 500:
        return Judgement(Verdict.RETRY, error or f"HTTP {answer.status}", content)
    if answer.status == 200 and (content.get("ok") is True or answer.text.strip() == "ok"):
        return Judgement(Verdict.DELIVERED, "ok", content)
    if answer.status == 408:
        return Judgement(Verdict.RETRY, error or "request_timeout", content)
    return Judgement(_verdict_of(error), error or f"HTTP {answer.status} without a known Slack error", content)


def _verdict_of(error: str) -> Verdict:
    if error in ERRORS:
        return ERRORS[error]
    for beginning, verdict in ERROR_FAMILIES.items():
        if error.startswith(beginning):
            return verdict
    return Verdict.UNKNOWN


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
