"""The times at which runs are expected, against plain models."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.watches.missing import EARLY, MAX_MISSED, arrived, first_timer, missed, next_expected
from aintandem_notify.watches.timers import Timer
from support.outbox import NOW
from support.watches import watch

DAILY = watch("missing", cron="0 6 * * *", grace=1800.0)
HOURLY = watch("missing", every=3600.0, grace=60.0)


def timer(config: object, now: datetime = NOW) -> Timer:
    return first_timer(config, "", project_id="p", project_name="Sales", about="task", now=now)  # type: ignore[arg-type]


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def test_the_first_run_is_expected_at_the_next_time() -> None:
    assert (timer(DAILY).expected_at, timer(DAILY).due_at) == (at(6), at(6.5))
    assert (timer(HOURLY).expected_at, timer(HOURLY).due_at) == (at(1), at(1) + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("hours", "expected"), [(5, 6), (5.98, 6), (5.99, 30), (6, 30), (6.2, 30), (8, 30), (40, 54), (-100, 6)]
)
def test_a_start_counts_for_the_times_before_it_and_a_minute_after(hours: float, expected: float) -> None:
    assert arrived(DAILY, timer(DAILY), at(hours)).expected_at == at(expected)


def test_an_old_start_neither_counts_nor_ends_trouble() -> None:
    late = arrived(HOURLY, timer(HOURLY), at(-3))
    assert (late.expected_at, late.seen) == (at(1), at(-3))
    assert arrived(HOURLY, late, at(-5)).seen == at(-3)


@given(st.lists(st.integers(0, 100), max_size=30).map(sorted))
def test_a_run_every_so_often_is_missed_as_the_model_says(starts: list[int]) -> None:
    """In minutes; one is expected every ten, a minute of grace."""
    config = watch("missing", every=600.0, grace=60.0)
    current, found = timer(config), []
    for minute in range(150):
        now = NOW + timedelta(minutes=minute)
        if current.due_at is not None and current.due_at <= now and current.fired_at is None:
            found.append(minute)
            current = replace(current, fired_at=current.due_at, due_at=None)
        if minute in starts:
            current = arrived(config, current, now)
    last, expected, is_open = 0, [], False
    for minute in range(150):
        if not is_open and minute - last >= 11:
            expected.append(minute)
            is_open = True
        if minute in starts:
            last, is_open = minute, False
    assert found == expected


def test_the_number_of_missed_times() -> None:
    assert [missed(HOURLY, at(1), at(hours)) for hours in (1, 1.1, 2, 2.1, 30.1)] == [1, 1, 1, 2, 30]
    assert [missed(DAILY, at(6), at(hours)) for hours in (6.5, 30, 30.5, 7 * 24)] == [1, 1, 2, 7]
    assert missed(watch("missing", cron="* * * * *"), NOW, at(24 * 365)) == MAX_MISSED


@pytest.mark.parametrize(
    ("cron", "day", "expected"),
    [
        ("30 2 * * *", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),  # the clock skips this hour
        ("30 2 * * *", "2026-10-24T12:00Z", "2026-10-25T00:30Z"),  # and has this one twice
        ("0 6 * * mon-fri", "2026-11-27T12:00Z", "2026-11-30T05:00Z"),
    ],
)
def test_a_cron_expression_follows_the_clock_of_its_zone(cron: str, day: str, expected: str) -> None:
    config = watch("missing", cron=cron, tz=ZoneInfo("Europe/Berlin"))
    assert next_expected(config, datetime.fromisoformat(day)) == datetime.fromisoformat(expected)


def test_an_early_start_of_a_run_that_is_expected_every_minute_counts_once() -> None:
    config = watch("missing", cron="* * * * *", grace=0.0)
    current = arrived(config, timer(config), NOW)
    assert current.expected_at == NOW + EARLY + timedelta(minutes=1)
