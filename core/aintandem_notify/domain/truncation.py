"""Truncates long texts from outside to their beginning and their end.

Used on REST records and on live events before they are stored.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aintandem_notify.domain.events import Event
from aintandem_notify.log import redact_end, redact_start

HEAD_CHARACTERS: Final = 4000
TAIL_CHARACTERS: Final = 4000
"""Characters that stay of the beginning and of the end; Slack shows so long a text without collapsing it."""
EVENT_TEXT_CHARACTERS: Final = (65_536, HEAD_CHARACTERS, 200)
"""Characters that stay of the beginning and of the end of each text, if an event is too large. The first number is
used that makes the event small enough."""
_MIN_OMITTED: Final = 2000
"""A text is truncated only if at least this many characters are left out."""


def truncate(text: str, *, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> str:
    """``text``, or its beginning and its end if it is much longer than both.

    Secrets are redacted in a truncated text, because half of a secret at its edge would not be recognised later.
    """
    left_out = len(text) - head - tail
    if left_out < _MIN_OMITTED:
        return text
    return _join(redact_start(text, head), left_out, redact_end(text, tail))


def _join(start: str, left_out: int, end: str) -> str:
    return f"{start}\n[{left_out:,} characters left out]\n{end}"


def _truncate_unredacted(text: str, *, head: int, tail: int) -> str:
    """As ``truncate``, but faster, because secrets stay. As JSON, its result is at least as long."""
    left_out = len(text) - head - tail
    return text if left_out < _MIN_OMITTED else _join(text[:head], left_out, text[-tail:])


def truncate_value(value: Any) -> Any:
    """A JSON value as it is if its text is short, otherwise its truncated text."""
    if isinstance(value, str):
        return truncate(value)
    if not isinstance(value, list | dict):
        return value
    text = json.dumps(value, ensure_ascii=False)
    shorter = truncate(text)
    return value if shorter == text else shorter


def truncate_texts(value: Any, *, head: int, tail: int, by: Callable[..., str] = truncate) -> Any:
    """A JSON value with all texts inside it truncated."""
    match value:
        case str():
            return by(value, head=head, tail=tail)
        case list():
            return [truncate_texts(item, head=head, tail=tail, by=by) for item in value]
        case dict():
            return {key: truncate_texts(item, head=head, tail=tail, by=by) for key, item in value.items()}
        case _:
            return value


def fit_event(event: Event, limit: int) -> Event:
    """The event in at most ``limit`` characters of JSON, under its own key; the same object if it fits.

    Its texts are truncated to shorter and shorter lengths. If none of them fits, only its identity is left.
    """
    if len(event.wire_json) <= limit:
        return event
    for size in EVENT_TEXT_CHARACTERS:
        # Finding secrets takes time, so it is done once, when the size is known.
        roughly = event.map_values(partial(truncate_texts, head=size, tail=size, by=_truncate_unredacted))
        if len(roughly.wire_json) <= limit:
            return event.map_values(partial(truncate_texts, head=size, tail=size))
    return event.without_texts()
