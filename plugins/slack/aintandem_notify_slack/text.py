"""Measures, cuts and escapes text for Slack, in this order.

Slack reads ``& < >`` as the start of mentions, links and entities. Escaping exactly these three disarms
``<!channel>`` and disguised links in a task's output. Text is cut before, so that no entity is cut apart.
"""

import re
from collections.abc import Callable
from typing import Final

from aintandem_notify.api import strip_unprintable

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ELLIPSIS: Final = "…"
Measure = Callable[[str], int]
"""Returns the length that a character counts."""
_FENCE: Final = "```"
_ADJACENT_BACKTICK: Final = re.compile("`(?=`)")
# A zero-width space between backticks prevents a fence and is not visible.
_SPACED_BACKTICK: Final = "`\u200b"
# Far more than a message holds; cleaning an error of megabytes would take too long.
_MAX_INPUT_CHARACTERS: Final = 50_000


def length(text: str) -> int:
    """The length in UTF-16 units, the largest count that a server may use; an emoji is two."""
    return len(text) + sum(character > "\uffff" for character in text)


def clean(text: str) -> str:
    """``text`` as a terminal shows it, without colours, overwritten progress bars and invisible characters."""
    return strip_unprintable(text[:_MAX_INPUT_CHARACTERS])


def one_line(text: str) -> str:
    """Cleaned text with every run of white space as one space."""
    return " ".join(clean(text).split())


def plain(text: str, limit: int) -> str:
    """``text`` cut at its end to ``limit``; for ``plain_text`` objects, which need no escaping."""
    return _cut(text, limit, length)


def escaped(text: str, limit: int) -> str:
    """Escaped ``text``, cut at its end to at most ``limit`` after escaping; it opens no code block."""
    return escape(_cut(_without_fences(text), limit, _escaped_length))


def code(text: str, limit: int) -> str:
    """A code block of at most ``limit`` (20 or more) with its fences, which its content cannot close.

    Long text loses its middle: the end of a traceback or an output is the most important part.
    """
    safe = _without_fences(text.strip("\n"))
    return f"{_FENCE}\n{escape(_cut_middle(safe, limit - 2 * len(_FENCE) - 2, _escaped_length))}\n{_FENCE}"


def escape(text: str) -> str:
    """``text`` with ``& < >`` as entities."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def _without_fences(text: str) -> str:
    return _ADJACENT_BACKTICK.sub(_SPACED_BACKTICK, text)


def _escaped_length(character: str) -> int:
    return len(_ENTITIES[character]) if character in _ENTITIES else length(character)


def _cut(text: str, limit: int, measure: Measure) -> str:
    """The longest start of ``text`` within ``limit``, with an ellipsis if it was cut."""
    if _count_fitting(text, limit, measure) == len(text):
        return text
    return text[: _count_fitting(text, limit - length(_ELLIPSIS), measure)].rstrip() + _ELLIPSIS


def _cut_middle(text: str, limit: int, measure: Measure) -> str:
    """A quarter from the start of ``text``, a line with an ellipsis, and the rest of ``limit`` from its end."""
    if _count_fitting(text, limit, measure) == len(text):
        return text
    gap = f"\n{_ELLIPSIS}\n"
    head = text[: _count_fitting(text, limit // 4, measure)]
    room = limit - sum(map(measure, head)) - length(gap)
    return f"{head}{gap}{text[len(text) - _count_fitting(text[::-1], room, measure) :]}"


def _count_fitting(text: str, limit: int, measure: Measure) -> int:
    """The number of characters from the start of ``text`` that fit into ``limit``."""
    for position, character in enumerate(text):
        limit -= measure(character)
        if limit < 0:
            return position
    return len(text)
