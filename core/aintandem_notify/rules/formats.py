"""Formats numbers and times for people, and cuts and sanitizes foreign texts for a screen."""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from aintandem_notify.foundation.clock import iso_seconds
from aintandem_notify.foundation.printable import strip
from aintandem_notify.log import redact, redact_end, redact_start, secrets_generation

_DURATION_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
MAX_DURATION_S: Final = 1e12
"""Seconds; three times the range of a calendar. A duration from outside may be nonsense."""
MAX_SIZE_BYTES: Final = 10**27
"""Bytes; more than any file has."""
_SIZE_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")

# Texts are cut to this multiple of their limit before they are sanitized, since a frame can have megabytes, and
# exactly afterwards. The first cut redacts a token that it would split: half a token is not recognised.
_MARGIN: Final = 10


_MAX_SHORT_CHARACTERS: Final = 128
"""Characters of a short text. Thousands of these are cached, because names and facts repeat."""


def duration(seconds: float) -> str:
    """``seconds`` in its two largest units: ``"850 ms"``, ``"42 s"``, ``"2 min 10 s"``, ``"3 h 5 min"``.

    Negative numbers and NaN count as 0; numbers above ``MAX_DURATION_S`` as that.
    """
    seconds = min(max(0.0, seconds), MAX_DURATION_S)
    if (milliseconds := max(0, round(seconds * 1000))) < 1000:
        return f"{milliseconds} ms"
    remaining = round(seconds)
    parts: list[str] = []
    for length, unit in _DURATION_UNITS:
        count, remaining = divmod(remaining, length)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def size(count: int) -> str:
    """``count`` bytes as text: ``"512 bytes"``, ``"1.2 MB"``; a KB has 1,000 bytes.

    Negative numbers count as 0; numbers above ``MAX_SIZE_BYTES`` as that.
    """
    if count == 1:
        return "1 byte"
    amount = float(min(max(0, count), MAX_SIZE_BYTES))
    for unit in _SIZE_UNITS:
        if amount < 999.5 or unit == _SIZE_UNITS[-1]:
            break
        amount /= 1000
    digits = 0 if unit == "bytes" or amount >= 99.95 else 1
    return f"{amount:.{digits}f} {unit}"


def as_text(value: Any) -> str:
    """A value as text: None is empty, times have seconds, lists and tables are indented JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, indent=2, default=str) if value else ""
        case datetime():
            return f"{iso_seconds(value)} {value.tzname() or ''}".rstrip()
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return str(value)


def sanitize(text: str) -> str:
    """``text`` without secrets and unprintable characters.

    Sanitize before cutting: half a token is not recognised.
    """
    return redact(strip(text))


def one_line(text: str, limit: int) -> str:
    """``text``, sanitized, on one line of at most ``limit`` characters."""
    if len(text) <= _MAX_SHORT_CHARACTERS:
        return _short_line(text, limit, secrets_generation())
    return _one_line(text, limit)


@lru_cache(maxsize=4096)
def _short_line(text: str, limit: int, _at_generation: str) -> str:
    return _one_line(text, limit)


def _one_line(text: str, limit: int) -> str:
    flat = " ".join(sanitize(_start(text, limit)).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def cut_middle(text: str, limit: int) -> str:
    """``text``, sanitized and cut to about ``limit`` characters.

    A quarter of them is its beginning, the others its end: the end of an error is its most useful part.
    """
    if len(text) > (rough_limit := _MARGIN * limit):
        head = rough_limit // 4
        text = f"{redact_start(text, head)}\n[…]\n{redact_end(text, rough_limit - head)}"
    return _without_middle(sanitize(text), limit)


def cut_end(text: str, limit: int) -> str:
    """``text``, sanitized and cut to about ``limit`` characters; a cut is marked."""
    whole = sanitize(_start(text, limit))
    return whole if len(whole) <= limit else f"{whole[:limit]}\n[…]"


def _start(text: str, limit: int) -> str:
    """The beginning of ``text``: ten times ``limit``, for a later exact cut."""
    return text if len(text) <= _MARGIN * limit else redact_start(text, _MARGIN * limit)


def _without_middle(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}\n[…]\n{text[head - limit :]}"
