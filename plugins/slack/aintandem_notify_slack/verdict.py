"""What Slack's answers mean, as one table: an incoming webhook's plain words and the Web API's JSON alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from aintandem_notify.api import HttpAnswer


class Verdict(Enum):
    """What to do after an answer."""

    DELIVERED = auto()
    RETRY = auto()
    """Slack has trouble or has had enough: later, and everything behind it too."""
    BROKEN = auto()
    """Only a person can mend the webhook, token or channel."""
    TOO_RICH = auto()
    """This message is not to Slack's taste: once more as plain text."""
    UNKNOWN = auto()
    """Nothing that Slack is known to say; never taken for a success."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``reason`` is Slack's word, or ours where it had none."""

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
_TOO_RICH: Final = """
    invalid_payload no_text msg_too_long msg_blocks_too_long too_many_attachments invalid_arguments
    metadata_too_large
"""

ERRORS: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(_RETRY.split(), Verdict.RETRY),
    **dict.fromkeys(_BROKEN.split(), Verdict.BROKEN),
    **dict.fromkeys(_TOO_RICH.split(), Verdict.TOO_RICH),
}
"""Slack's errors by name."""

ERROR_FAMILIES: Final[Mapping[str, Verdict]] = {
    "invalid_blocks": Verdict.TOO_RICH,
    "restricted_action": Verdict.BROKEN,
}
"""Errors that come with endings (``invalid_blocks_format``), by what they begin with."""

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")


def judge(answer: HttpAnswer) -> Judgement:
    """What an answer to a posted message means."""
    content = _content(answer)
    word = _word(answer, content)
    if answer.status == 429:
        return Judgement(Verdict.RETRY, word or "ratelimited", content)
    if answer.status >= 500:
        return Judgement(Verdict.RETRY, word or f"HTTP {answer.status}", content)
    if answer.status == 200 and (content.get("ok") is True or answer.text.strip() == "ok"):
        return Judgement(Verdict.DELIVERED, "ok", content)
    if answer.status == 408:
        return Judgement(Verdict.RETRY, word or "request_timeout", content)
    return Judgement(_meaning(word), word or f"HTTP {answer.status} without a word that Slack says", content)


def _meaning(word: str) -> Verdict:
    if word in ERRORS:
        return ERRORS[word]
    for beginning, verdict in ERROR_FAMILIES.items():
        if word.startswith(beginning):
            return verdict
    return Verdict.UNKNOWN


def _content(answer: HttpAnswer) -> Mapping[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _word(answer: HttpAnswer, content: Mapping[str, Any]) -> str:
    """The error's name or nothing; never more of the body, which may be a whole page."""
    said = content.get("error") if content else answer.text.strip()
    # An error may go on after its name: "invalid_blocks: at least one block is needed".
    found = _WORD.match(said) if isinstance(said, str) else None
    return found[0] if found else ""
