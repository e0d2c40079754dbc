"""Long texts from outside, cut to what somebody reads of them: their beginning and their end."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aintandem_notify.domain.events import Event
from aintandem_notify.log import redact_end, redact_start

HEAD_LENGTH: Final = 4000
TAIL_LENGTH: Final = 4000
"""Characters that stay of the beginning and of the end; what Slack shows of one text without folding it away."""
EVENT_TEXT_LENGTHS: Final = (65_536, HEAD_LENGTH, 200)
"""Characters that stay of both for an event that is too large, as many as there is room for."""
_WORTH_IT: Final = 2000
"""Characters that must be left out for a text to be cut."""


def truncate(text: str, *, head: int = HEAD_LENGTH, tail: int = TAIL_LENGTH) -> str:
    """``text``, or its beginning and its end if it is much longer than both.

    A secret on an edge would be known no more by its other half, so what is left is without secrets then.
    """
    left_out = len(text) - head - tail
    if left_out < _WORTH_IT:
        return text
    return _joined(redact_start(text, head), left_out, redact_end(text, tail))


def _joined(start: str, left_out: int, end: str) -> str:
    return f"{start}\n[{left_out:,} characters left out]\n{end}"


def _roughly_cut(text: str, *, head: int, tail: int) -> str:
    """As ``truncate`` in next to no time, with secrets in it; as JSON it is never shorter."""
    left_out = len(text) - head - tail
    return text if left_out < _WORTH_IT else _joined(text[:head], left_out, text[-tail:])


def truncate_value(value: Any) -> Any:
    """A JSON value as ``truncate`` leaves its text: itself if that is short, otherwise the cut text."""
    if isinstance(value, str):
        return truncate(value)
    if not isinstance(value, list | dict):
        return value
    text = json.dumps(value, ensure_ascii=False)
    shorter = truncate(text)
    return value if shorter == text else shorter


def truncate_texts(value: Any, *, head: int, tail: int, by: Callable[..., str] = truncate) -> Any:
    """A JSON value with all texts inside it cut."""
    match value:
        case str():
            return by(value, head=head, tail=tail)
        case list():
            return [truncate_texts(item, head=head, tail=tail, by=by) for item in value]
        case dict():
            return {key: truncate_texts(item, head=head, tail=tail, by=by) for key, item in value.items()}
        case _:
            return value


def fit_event(event: Event, most: int) -> Event:
    """The event in at most ``most`` characters as JSON, under its own key; the very same if it fits.

    Its texts are cut, to less and less. Where that is not enough, it is told by its identity alone.
    """
    if len(event.wire_json) <= most:
        return event
    for size in EVENT_TEXT_LENGTHS:
        # To look for secrets takes time, so it is done once, when the size is known.
        roughly = event.map_values(partial(truncate_texts, head=size, tail=size, by=_roughly_cut))
        if len(roughly.wire_json) <= most:
            return event.map_values(partial(truncate_texts, head=size, tail=size))
    return event.without_texts()
