"""Long texts from outside, cut to what somebody reads of them: their beginning and their end."""

import json
from functools import partial
from typing import Any, Final

from aintandem_notify.events import Event
from aintandem_notify.log import redact_end, redact_start

HEAD: Final = 4000
TAIL: Final = 4000
"""Characters that stay of the beginning and of the end; what Slack shows of one text without folding it away."""
SIZES: Final = (65_536, HEAD, 200)
"""Characters that stay of both for an event that is too large, as many as there is room for."""
_WORTH_IT: Final = 2000
"""Characters that must be left out for a text to be cut."""


def cut(text: str, *, head: int = HEAD, tail: int = TAIL) -> str:
    """``text``, or its beginning and its end if it is much longer than both.

    A secret on an edge would be known no more by its other half, so what is left is without secrets then.
    """
    left_out = len(text) - head - tail
    if left_out < _WORTH_IT:
        return text
    return f"{redact_start(text, head)}\n[{left_out:,} characters left out]\n{redact_end(text, tail)}"


def cut_value(value: Any) -> Any:
    """A JSON value as ``cut`` leaves its text: itself if that is short, otherwise the cut text."""
    if isinstance(value, str):
        return cut(value)
    if not isinstance(value, list | dict):
        return value
    text = json.dumps(value, ensure_ascii=False)
    shorter = cut(text)
    return value if shorter == text else shorter


def cut_texts(value: Any, *, head: int, tail: int) -> Any:
    """A JSON value with all texts inside it cut."""
    match value:
        case str():
            return cut(value, head=head, tail=tail)
        case list():
            return [cut_texts(item, head=head, tail=tail) for item in value]
        case dict():
            return {key: cut_texts(item, head=head, tail=tail) for key, item in value.items()}
        case _:
            return value


def fitted(event: Event, most: int) -> Event:
    """The event in at most ``most`` characters as JSON, under its own key; the very same if it fits.

    Its texts are cut, to less and less. Where that is not enough, it is told by its identity alone.
    """
    if len(event.wire_json) <= most:
        return event
    for size in SIZES:
        told = event.retold(partial(cut_texts, head=size, tail=size))
        if len(told.wire_json) <= most:
            return told
    return event.bare()
