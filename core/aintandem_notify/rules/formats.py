"""Numbers and texts as people read them, and what keeps foreign text from doing harm on a screen."""

import json
from datetime import datetime
from typing import Any, Final

from aintandem_notify.foundation.clock import iso_seconds
from aintandem_notify.foundation.printable import strip
from aintandem_notify.log import redact, redact_end, redact_start

_DURATION_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
MAX_DURATION_S: Final = 1e12
"""Seconds; three times what a calendar has. A number of somebody else may mean nothing."""
MAX_SIZE_BYTES: Final = 10**27
"""Bytes; more than there are."""
_SIZE_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")

# Texts are cut roughly before they are made safe, for a frame can have megabytes, and finely after it. The first
# cut hides what it parts, for half a token is not recognised.
_MARGIN: Final = 10


def duration(seconds: float) -> str:
    """``"850 ms"``, ``"42 s"``, ``"2 min 10 s"``, ``"3 h 5 min"``, ``"2 d 4 h"``: the two units that matter.

    Less than nothing, and what is no number, is nothing; there is no more than ``MAX_DURATION_S``.
    """
    seconds = min(max(0.0, seconds), MAX_DURATION_S)
    if (milliseconds := max(0, round(seconds * 1000))) < 1000:
        return f"{milliseconds} ms"
    left = round(seconds)
    parts: list[str] = []
    for length, unit in _DURATION_UNITS:
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def size(count: int) -> str:
    """``"512 bytes"``, ``"1.2 MB"``; a KB has 1,000 bytes. There is no less than none, and no more than
    ``MAX_SIZE_BYTES``.
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
    """A value as text: texts as they are, None as nothing, times to the second, the rest as indented JSON."""
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
    """``text`` without secrets and what is unprintable.

    To be done before it is cut: half a token is not recognised.
    """
    return redact(strip(text))


def one_line(text: str, limit: int) -> str:
    """``text`` made safe, on one line of at most ``limit`` characters."""
    flat = " ".join(sanitize(_start(text, limit)).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def cut_middle(text: str, limit: int) -> str:
    """``text`` made safe, in about ``limit`` characters: its beginning and, longer, its end.

    Errors say the most at their end.
    """
    if len(text) > (rough := _MARGIN * limit):
        head = rough // 4
        text = f"{redact_start(text, head)}\n[…]\n{redact_end(text, rough - head)}"
    return _without_middle(sanitize(text), limit)


def cut_end(text: str, limit: int) -> str:
    """``text`` made safe, in about ``limit`` characters; what is left out is marked."""
    whole = sanitize(_start(text, limit))
    return whole if len(whole) <= limit else f"{whole[:limit]}\n[…]"


def _start(text: str, limit: int) -> str:
    """As much of ``text`` as may be seen of it."""
    return text if len(text) <= _MARGIN * limit else redact_start(text, _MARGIN * limit)


def _without_middle(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}\n[…]\n{text[head - limit :]}"
