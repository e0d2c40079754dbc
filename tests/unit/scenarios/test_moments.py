from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from aintandem_notify.scenarios.moments import moment_of, next_moment, show_moment

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
"""A Monday, 13:00 in Berlin."""


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("13:00", "2026-01-05 12:00:00"),
        ("22:05", "2026-01-05 21:05:00"),
        ("22:05:30", "2026-01-05 21:05:30"),
        ("12:59", "2026-01-06 11:59:00"),
        (time(22, 5), "2026-01-05 21:05:00"),
        ("sat 10:00", "2026-01-10 09:00:00"),
        ("mon 12:00", "2026-01-12 11:00:00"),
        ("mon 13:00", "2026-01-05 12:00:00"),
        ("+5m", "2026-01-05 12:05:00"),
        ("+0s", "2026-01-05 12:00:00"),
        ("2026-01-06 08:00", "2026-01-06 07:00:00"),
        ("2026-01-06T08:00Z", "2026-01-06 08:00:00"),
        (datetime.fromisoformat("2026-01-06 08:00"), "2026-01-06 07:00:00"),
    ],
)
def test_a_time_is_the_next_one_in_the_zone(written: object, moment: str) -> None:
    assert next_moment(written, START, BERLIN) == datetime.fromisoformat(f"{moment}Z")


@pytest.mark.parametrize("written", ["", "25:00", "5m", "+5", "sun", "funday 10:00", "tomorrow", 5, "+99999999d"])
def test_anything_else_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match='should be a time, as "22:05"'):
        next_moment(written, START, BERLIN)


def test_a_date_before_the_step_above_is_refused() -> None:
    with pytest.raises(ValueError, match="is before the step above"):
        next_moment("2026-01-05 12:59", START, BERLIN)


def test_of_a_time_that_comes_twice_the_next_one_counts() -> None:
    before = moment_of("2026-10-25 01:00", BERLIN)
    first = next_moment("02:30", before, BERLIN)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_moment("02:30", next_moment("+1m", first, BERLIN), BERLIN) == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )


def test_a_time_that_the_clocks_skip_counts_as_an_hour_later() -> None:
    before = moment_of("2026-03-29 01:00", BERLIN)
    assert next_moment("02:30", before, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_time_is_shown_in_the_zone_and_after_a_week_with_its_date() -> None:
    assert show_moment(START, BERLIN, START) == "Mon 13:00:00"
    assert show_moment(START.replace(day=12), BERLIN, START) == "Mon 12 Jan 13:00:00"
