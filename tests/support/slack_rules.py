"""Slack's rules for a message: returns Slack's error for the first broken rule.

Stricter than Slack in two points that people would notice: unescaped ``&`` and ``<`` in markup and a message
without a top-level ``text`` are errors here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_TOTAL: Final = 8000
_KEYS: Final = {"text", "blocks", "channel", "unfurl_links", "unfurl_media", "thread_ts", "mrkdwn"}
_ENTITY: Final = re.compile(
    r"<!(?:here|channel|everyone)>"
    r"|<!subteam\^S[A-Z0-9]+>"
    r"|<@[UW][A-Z0-9]+>"
    r"|<!date\^\d+\^[^|<>]+\|[^<>]+>"
    r"|<https?://[^\s<>|]+\|[^<>|]+>"
)
_ESCAPE: Final = re.compile(r"&(?:amp|lt|gt);")


def length(text: str) -> int:
    """The length in UTF-16 units, the largest count that a server may use."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def problem(payload: object) -> str | None:
    """Slack's error for a payload, None if it is accepted."""
    if not isinstance(payload, Mapping) or not set(payload) <= _KEYS:
        return "invalid_payload"
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return "no_text"
    if length(text) > 40_000:
        return "msg_too_long"
    if not markup_is_clean(text):
        return "invalid_payload"
    if payload.get("unfurl_links", True) or payload.get("unfurl_media", True):
        return "invalid_payload"
    return _blocks_problem(payload["blocks"]) if "blocks" in payload else None


def markup_is_clean(text: str) -> bool:
    """True if ``& < >`` appear only in entities and escapes, and code fences are paired."""
    plain = _ESCAPE.sub("", _ENTITY.sub("", text))
    return not set(plain) & set("&<>") and text.count("```") % 2 == 0


def _blocks_problem(blocks: object) -> str | None:
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= 50:
        return "invalid_blocks"
    if not all(isinstance(block, dict) and _block_is_right(block) for block in blocks):
        return "invalid_blocks"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(ids)) != len(ids) or any(
        not isinstance(block_id, str) or not 1 <= len(block_id) <= 255 for block_id in ids
    ):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(map(length, texts(blocks))) >= MAX_TOTAL else None


def texts(blocks: object) -> list[str]:
    """All texts in blocks, in reading order."""
    if isinstance(blocks, list):
        return [text for block in blocks for text in texts(block)]
    if isinstance(blocks, dict):
        inner = [value for key, value in blocks.items() if key in ("text", "fields", "elements")]
        return [text for value in inner for text in ([value] if isinstance(value, str) else texts(value))]
    return []


def _block_is_right(block: Mapping[str, Any]) -> bool:
    known = set(block) - {"type", "block_id"}
    match block.get("type"):
        case "header":
            return known == {"text"} and _text_is_right(block["text"], 150, {"plain_text"})
        case "section":
            fields = block.get("fields", [])
            return (
                len(known) > 0
                and known <= {"text", "fields", "expand"}
                and ("text" not in block or _text_is_right(block["text"], 3000))
                and ("fields" not in block or 1 <= len(fields) <= 10)
                and all(_text_is_right(field, 2000) for field in fields)
            )
        case "context":
            elements = block.get("elements", [])
            return 1 <= len(elements) <= 10 and all(_text_is_right(element, 3000) for element in elements)
        case "divider":
            return not known
    return False


def _text_is_right(text: object, limit: int, kinds: frozenset[str] | set[str] = frozenset()) -> bool:
    match text:
        case {"type": "plain_text" as kind, "text": str(content), **others}:
            right = set(others) <= {"emoji"}
        case {"type": "mrkdwn" as kind, "text": str(content), **others}:
            right = set(others) <= {"verbatim"} and markup_is_clean(content)
        case _:
            return False
    return right and (not kinds or kind in kinds) and 1 <= length(content) <= limit and content.strip() != ""
