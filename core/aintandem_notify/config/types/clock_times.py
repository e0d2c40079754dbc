"""The value types of hours on a wall clock: times of the day, days of the week, time zones."""

import re
from collections.abc import Sequence
from datetime import time
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, WithJsonSchema

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of a week, in order."""

_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _clock_time(value: object) -> time:
    match value:
        case time(second=0, microsecond=0, tzinfo=None):
            return value
        case str() if (parts := _TIME.fullmatch(value)) is not None:
            return time(int(parts[1]), int(parts[2]))
    raise ValueError('should be a time of the day, as "22:00"')


ClockTime = Annotated[
    time,
    BeforeValidator(_clock_time),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME.pattern}$", "examples": ["22:00"]}),
]
"""A time of the day to the minute; written as ``"22:00"``."""


def _time_zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    if isinstance(value, str) and value:
        try:
            return ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # a path, a folder, an unknown name
            pass
    raise ValueError('should be the name of a time zone, as "Europe/Berlin" or "UTC"')


TimeZone = Annotated[
    ZoneInfo,
    BeforeValidator(_time_zone),
    WithJsonSchema({"type": "string", "examples": ["Europe/Berlin", "UTC"]}),
]
"""A time zone by its name in the IANA database."""


def _weekdays(value: object) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, Sequence) or not entries:
        raise ValueError('should be a list of days, as ["mon-fri"]')
    days: set[str] = set()
    for entry in entries:
        if not isinstance(entry, str):
            raise ValueError('should be days, as "mon", "mon-fri" or "sat-sun"')
        first, dash, last = entry.partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            raise ValueError('should be days, as "mon", "mon-fri" or "sat-sun"')
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        days.update(WEEKDAYS[(begin + offset) % 7] for offset in range((end - begin) % 7 + 1))
    return tuple(day for day in WEEKDAYS if day in days)


Weekdays = Annotated[
    tuple[str, ...],
    BeforeValidator(_weekdays),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1, "examples": [["mon-fri"]]}),
]
"""Days of the week in order; written as ``["mon-fri", "sun"]``."""


def format_weekdays(days: Sequence[str]) -> str:
    """``days`` as written in a config: ``"mon-fri"``, ``"mon, wed"``; empty for every day."""
    if len(days) == len(WEEKDAYS):
        return ""
    start = WEEKDAYS.index(days[0])
    is_range = len(days) > 2 and tuple(days) == WEEKDAYS[start : start + len(days)]
    return f"{days[0]}-{days[-1]}" if is_range else ", ".join(days)
