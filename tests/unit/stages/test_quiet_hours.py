"""The end of quiet hours, as a table and against a clock that is looked at minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config import QuietConfig
from aintandem_notify.stages.quiet_hours import quiet_until

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BERLIN = ZoneInfo("Europe/Berlin")


def hours(start: str, end: str, days: str | list[str] = "mon-sun", tz: str = "Europe/Berlin") -> QuietConfig:
    return QuietConfig.model_validate({"from": start, "to": end, "days": days, "tz": tz})


def local(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("quiet", "moment", "end"),
    [
        (hours("22:00", "07:00"), "2026-01-05T21:59", None),
        (hours("22:00", "07:00"), "2026-01-05T22:00", "2026-01-06T07:00"),
        (hours("22:00", "07:00"), "2026-01-06T06:59", "2026-01-06T07:00"),
        (hours("22:00", "07:00"), "2026-01-06T07:00", None),
        (hours("12:00", "13:00"), "2026-01-06T12:30", "2026-01-06T13:00"),
        # 5 January 2026 is a Monday. Quiet that begins on Friday ends on Saturday.
        (hours("22:00", "07:00", "mon-fri"), "2026-01-10T03:00", "2026-01-10T07:00"),
        (hours("22:00", "07:00", "mon-fri"), "2026-01-10T23:00", None),
        # A weekend is two days that follow each other.
        (hours("00:00", "00:00", ["sat", "sun"]), "2026-01-10T03:00", "2026-01-12T00:00"),
        (hours("00:00", "00:00", ["sat", "sun"]), "2026-01-12T00:00", None),
        (hours("18:00", "18:00", "fri-sat"), "2026-01-09T17:59", None),
        (hours("18:00", "18:00", "fri-sat"), "2026-01-09T18:00", "2026-01-11T18:00"),
        # The clocks skip 02:00 to 03:00 on 29 March 2026.
        (hours("22:00", "02:30"), "2026-03-29T01:59", "2026-03-29T03:30"),
        (hours("02:30", "04:00"), "2026-03-29T03:15", None),
        (hours("02:30", "04:00"), "2026-03-29T03:30", "2026-03-29T04:00"),
    ],
)
def test_the_end_of_quiet_hours(quiet: QuietConfig, moment: str, end: str | None) -> None:
    assert quiet_until(quiet, local(moment).astimezone(UTC)) == (None if end is None else local(end))


def test_of_a_time_that_comes_twice_quiet_begins_at_the_first_and_ends_at_the_second() -> None:
    """The clocks show 02:00 to 03:00 twice on 25 October 2026."""
    ends = hours("22:00", "02:30")
    assert quiet_until(ends, local("2026-10-25T02:29").astimezone(UTC)) == local("2026-10-25T02:30", 1).astimezone(
        UTC
    )
    assert quiet_until(ends, local("2026-10-25T02:29", 1).astimezone(UTC)) is not None
    assert quiet_until(ends, local("2026-10-25T02:30", 1).astimezone(UTC)) is None
    begins = hours("02:30", "05:00")
    assert quiet_until(begins, local("2026-10-25T02:29").astimezone(UTC)) is None
    assert quiet_until(begins, local("2026-10-25T02:30").astimezone(UTC)) is not None


times = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))


@given(
    times,
    times,
    st.sets(st.sampled_from(DAYS), min_size=1, max_size=6),
    st.integers(0, 14 * 24 * 60 - 1),
)
def test_quiet_lasts_as_long_as_a_clock_shows_it(start: str, end: str, days: set[str], minute: int) -> None:
    """The reference walks through a week in UTC, minute by minute, and looks at day and time."""
    quiet = hours(start, end, sorted(days), "UTC")
    monday = datetime(2026, 1, 5, tzinfo=UTC)

    def is_quiet(moment: datetime) -> bool:
        for begun in (moment.date(), moment.date() - timedelta(days=1)):
            begin = datetime.combine(begun, quiet.start, UTC)
            length = (
                datetime.combine(begun, quiet.end, UTC) - begin
                if quiet.start < quiet.end
                else datetime.combine(begun, quiet.end, UTC) - begin + timedelta(days=1)
            )
            if DAYS[begun.weekday()] in quiet.days and begin <= moment < begin + length:
                return True
        return False

    moment = monday + timedelta(minutes=minute)
    expected = moment
    while is_quiet(expected):
        expected += timedelta(minutes=1)
    assert quiet_until(quiet, moment) == (None if expected == moment else expected)
