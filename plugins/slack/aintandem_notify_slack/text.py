"""Text for Slack: measured, cut and escaped, in this order.

Slack reads ``& < >`` as the start of mentions, links and entities. Escaping exactly these three, after cutting and
never in the middle of an entity, is what disarms ``<!channel>`` and disguised links in a task's output.
"""

import re
from collections.abc import Callable
from typing import Final

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ELLIPSIS: Final = "…"
# CSI and OSC sequences of terminals, then any other control character but tab and line break.
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_FENCE: Final = "```"
_NEIGHBOURING_BACKTICK: Final = re.compile("`(?=`)")
# A zero-width space keeps backticks from being a fence without changing what is seen.
_APART: Final = "`\u200b"
# Far more than a message holds; an error can be megabytes long, and nobody should wait for its end.
_LONGEST: Final = 50_000


def length(text: str) -> int:
    """In UTF-16 units, the strictest way that a server may count; an emoji is two."""
    return len(text) + sum(character > "\uffff" for character in text)


def clean(text: str) -> str:
    """What a terminal would show: no colours, no overwritten progress bars, no control characters."""
    text = _TERMINAL.sub("", text[:_LONGEST])
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    """Cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def plain(text: str, limit: int) -> str:
    """Cut at the end to ``limit``; for ``plain_text`` objects, which need no escaping."""
    return _cut(text, limit, length)


def escaped(text: str, limit: int) -> str:
    """Cut at the end so that it is within ``limit`` when escaped, and escaped; it opens no code block."""
    return escape(_cut(_without_fences(text), limit, _escaped_length))


def code(text: str, limit: int, *, keep_end: bool = False) -> str:
    """A code block within ``limit``, fences included, that its content cannot break out of.

    Cut at the end, or at the start with ``keep_end``: of an output, the last lines matter.
    """
    safe = _without_fences(text.strip("\n"))
    if keep_end:
        safe = _cut(safe[::-1], limit - 8, _escaped_length)[::-1]
    else:
        safe = _cut(safe, limit - 8, _escaped_length)
    return f"{_FENCE}\n{escape(safe)}\n{_FENCE}"


def escape(text: str) -> str:
    """``& < >`` as entities, nothing else."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def _without_fences(text: str) -> str:
    return _NEIGHBOURING_BACKTICK.sub(_APART, text)


def _escaped_length(character: str) -> int:
    return len(_ENTITIES[character]) if character in _ENTITIES else length(character)


def _cut(text: str, limit: int, measure: Callable[[str], int]) -> str:
    """The longest start of ``text`` within ``limit``, with an ellipsis in place of what is gone."""
    if sum(map(measure, text)) <= limit:
        return text
    room = limit - length(_ELLIPSIS)
    for position, character in enumerate(text):
        room -= measure(character)
        if room < 0:
            return text[:position].rstrip() + _ELLIPSIS
    raise AssertionError("a text over the limit ends before it")  # pragma: no cover
