"""Finds the end of quiet hours, also on days on which the clocks change."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from aintandem_notify.config.rule_config import QuietConfig
from aintandem_notify.config.types.clock_times import WEEKDAYS

_DAY: Final = timedelta(days=1)
_MAX_NIGHTS: Final = 8
"""Nights that follow each other without a pause: one more than a week has, so that an endless row is cut."""


def quiet_until(hours: QuietConfig, moment: datetime) -> datetime | None:
    """The time, in UTC, at which the quiet hours end in which ``moment`` is; None if it is in none.

    Hours that follow each other without a pause are one. A time that the clocks skip counts as an hour later. Of a
    time that comes twice, quiet begins at the first and ends at the second.
    """
    end: datetime | None = None
    for _ in range(_MAX_NIGHTS):
        next_end = _end_of_window(hours, end or moment)
        if next_end is None:
            break
        end = next_end
    return end


def _end_of_window(hours: QuietConfig, moment: datetime) -> datetime | None:
    """The latest end of the windows in which ``moment`` is."""
    today = moment.astimezone(hours.tz).date()
    # A window lasts a day at the most, and an hour more when clocks change.
    windows = (_window(hours, today + offset * _DAY) for offset in (-2, -1, 0))
    return max((end for begin, end in filter(None, windows) if begin <= moment < end), default=None)


def _window(hours: QuietConfig, day: date) -> tuple[datetime, datetime] | None:
    """The window that begins on ``day``; None if none does."""
    if WEEKDAYS[day.weekday()] not in hours.days:
        return None
    last_day = day if hours.start < hours.end else day + _DAY
    begin = datetime.combine(day, hours.start, hours.tz)
    end = datetime.combine(last_day, hours.end, hours.tz)
    # The second of a time that comes twice; of a time that is skipped, "the second" would be an hour earlier.
    return begin.astimezone(UTC), max(end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
