"""Reads the times of a scenario: as a person writes them, each after the one before. Pure."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from aintandem_notify.config.types.clock_times import WEEKDAYS
from aintandem_notify.config.types.values import parse_duration

MONDAY: Final = datetime(2026, 1, 5)  # noqa: DTZ001  # a time on the clock of any zone
"""The begin of a scenario that does not name its start: midnight of a Monday."""

_CLOCK: Final = re.compile(rf"(?:({'|'.join(WEEKDAYS)}) +)?([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_DAY: Final = timedelta(days=1)

EXPECTED: Final = 'should be a time, as "22:05", "sat 22:05", "+5m" or "2026-03-02 22:05"'


def next_moment(value: object, previous: datetime, zone: ZoneInfo) -> datetime:
    """The moment that ``value`` names, in UTC; raises ValueError with a sentence.

    ``"22:05"`` and ``"sat 22:05"``: when the clock of the zone next shows it, at ``previous`` at the earliest.
    ``"+5m"``: so long after ``previous``. Else a date and time, in the zone if it names none.
    """
    match value:
        case str() if value.startswith("+"):
            return _later(previous, value[1:])
        case str() if (shown := _CLOCK.fullmatch(value)) is not None:
            day, hour, minute, second = shown.groups()
            return _next_on_clock(time(int(hour), int(minute), int(second or 0)), day, previous, zone)
        case time():
            return _next_on_clock(value, None, previous, zone)
        case str() | datetime():
            return _not_before(previous, moment_of(value, zone))
    raise ValueError(EXPECTED)


def moment_of(value: object, zone: ZoneInfo) -> datetime:
    """The date and time in UTC; of one without a zone, in ``zone``. Raises ValueError with a sentence."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None


def _later(previous: datetime, length: str) -> datetime:
    try:
        return previous + timedelta(seconds=parse_duration(length))
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None


def _not_before(previous: datetime, moment: datetime) -> datetime:
    if moment < previous:
        raise ValueError("is before the step above; write the steps in the order of their times")
    return moment


def _next_on_clock(shown: time, day: str | None, previous: datetime, zone: ZoneInfo) -> datetime:
    today = previous.astimezone(zone).date()
    days = (today + offset * _DAY for offset in range(9))
    moments = (
        datetime.combine(date, shown.replace(fold=fold), zone).astimezone(UTC)
        for date in days
        if day is None or WEEKDAYS[date.weekday()] == day
        for fold in (0, 1)  # the first and the second of a time that comes twice
    )
    return next(moment for moment in moments if moment >= previous)


def show_moment(moment: datetime, zone: ZoneInfo, start: datetime) -> str:
    """``moment`` for people: ``Mon 22:05:00``; with its date from a week after ``start`` on."""
    local = moment.astimezone(zone)
    date = f" {local.day} {local:%b}" if moment - start >= 7 * _DAY else ""
    return f"{WEEKDAYS[local.weekday()].title()}{date} {local:%H:%M:%S}"
