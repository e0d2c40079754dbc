"""Text for Slack: measured, cut and escaped, in this order.

Slack reads ``& < >`` as the start of mentions, links and entities. Escaping exactly these three, after cutting and
never in the middle of an entity, is what disarms ``<!channel>`` and disguised links in a task's output.
"""

import re
from collections.abc import Callable
from typing import Final

from aintandem_notify.api import strip_unprintable

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ELLIPSIS: Final = "…"
Measure = Callable[[str], int]
"""How much room a character takes."""
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
    """What a terminal would show: no colours, no overwritten progress bars, nothing invisible."""
    return strip_unprintable(text[:_LONGEST])


def one_line(text: str) -> str:
    """Cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def plain(text: str, limit: int) -> str:
    """Cut at the end to ``limit``; for ``plain_text`` objects, which need no escaping."""
    return _cut(text, limit, length)


def escaped(text: str, limit: int) -> str:
    """Cut at the end so that it is within ``limit`` when escaped, and escaped; it opens no code block."""
    return escape(_cut(_without_fences(text), limit, _escaped_length))


def code(text: str, limit: int) -> str:
    """A code block within ``limit`` (20 at least), fences included, that its content cannot break out of.

    What is too long loses its middle: a traceback or an output says the most at its end.
    """
    safe = _without_fences(text.strip("\n"))
    return f"{_FENCE}\n{escape(_cut_middle(safe, limit - 2 * len(_FENCE) - 2, _escaped_length))}\n{_FENCE}"


def escape(text: str) -> str:
    """``& < >`` as entities, nothing else."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def _without_fences(text: str) -> str:
    return _NEIGHBOURING_BACKTICK.sub(_APART, text)


def _escaped_length(character: str) -> int:
    return len(_ENTITIES[character]) if character in _ENTITIES else length(character)


def _cut(text: str, limit: int, measure: Measure) -> str:
    """The longest start of ``text`` within ``limit``, with an ellipsis in place of what is gone."""
    if _fitting(text, limit, measure) == len(text):
        return text
    return text[: _fitting(text, limit - length(_ELLIPSIS), measure)].rstrip() + _ELLIPSIS


def _cut_middle(text: str, limit: int, measure: Measure) -> str:
    """A quarter from the start of ``text``, a line with an ellipsis, and the rest of ``limit`` from its end."""
    if _fitting(text, limit, measure) == len(text):
        return text
    gap = f"\n{_ELLIPSIS}\n"
    head = text[: _fitting(text, limit // 4, measure)]
    room = limit - sum(map(measure, head)) - length(gap)
    return f"{head}{gap}{text[len(text) - _fitting(text[::-1], room, measure) :]}"


def _fitting(text: str, limit: int, measure: Measure) -> int:
    """How many characters from the start of ``text`` are within ``limit``."""
    for position, character in enumerate(text):
        limit -= measure(character)
        if limit < 0:
            return position
    return len(text)
