"""The clocks of watches against a plain model: every second of a run's life is looked at."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.runs import Run, RunState
from aintandem_notify.watches.timers import (
    Look,
    Sign,
    fired,
    lag_of,
    look_at_overdue,
    look_at_stalled,
    look_at_waiting,
    new_timer,
    our_time,
)
from support.outbox import NOW
from support.watches import watch

STARTED = Run("p", Family.TASK, "t1", started_at=NOW, updated_at=NOW)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def blind_of(gaps: list[tuple[int, int]]) -> Any:
    def seconds(since: datetime, until: datetime) -> float:
        overlaps = (min(at(end), until) - max(at(begin), since) for begin, end in gaps)
        return sum((overlap.total_seconds() for overlap in overlaps if overlap > timedelta(0)), 0.0)

    return seconds


moments = st.lists(st.integers(1, 200), max_size=6).map(sorted)


@st.composite
def lives(draw: Any) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The times of output and of progress, and the times in which nothing is heard, which hold neither."""
    borders = draw(st.lists(st.integers(1, 200), max_size=6, unique=True).map(sorted))
    gaps = list(zip(borders[::2], borders[1::2], strict=False))
    heard = lambda second: not any(begin < second <= end for begin, end in gaps)  # noqa: E731
    return list(filter(heard, draw(moments))), list(filter(heard, draw(moments))), gaps


Life = tuple[list[int], list[int], list[tuple[int, int]]]


def model(life: Life, silent_for: int | None, stuck_for: int | None) -> list[tuple[int, str]]:
    """Second by second: when the run is found, and when it moves again."""
    outputs, progress, gaps = life
    silence = standstill = 0
    trouble = ""
    events: list[tuple[int, str]] = []
    for second in range(1, 301):
        if any(begin < second <= end for begin, end in gaps):
            continue
        silence, standstill = silence + 1, standstill + 1
        if not trouble:
            if silent_for is not None and silence >= silent_for:
                trouble = "silence"
            elif stuck_for is not None and standstill >= stuck_for:
                trouble = "no_progress"
            if trouble:
                events.append((second, trouble))
        if second in progress:
            standstill = 0
        if second in outputs or second in progress:
            silence = 0
            if trouble == "silence" or (trouble and second in progress):
                events.append((second, "moves"))
                trouble = ""
    return events


@given(lives(), st.none() | st.integers(5, 60), st.none() | st.integers(5, 90))
def test_stalled_runs_are_found_as_the_model_says(
    life: Life, silent_for: int | None, stuck_for: int | None
) -> None:
    outputs, progress, gaps = life
    if silent_for is None and stuck_for is None:
        return
    keys: dict[str, Any] = {"silent_for": silent_for, "no_progress_for": stuck_for}
    given_keys: dict[str, Any] = {name: float(value) for name, value in keys.items() if value is not None}
    config = watch("stalled", None, **given_keys)
    run, timer = STARTED, new_timer(config, "", STARTED, "Sales", NOW)
    blind = blind_of(gaps)
    events: list[tuple[int, str]] = []
    for second in range(1, 301):
        if any(begin < second <= end for begin, end in gaps):
            continue  # parked, for the same seconds as in the model
        while timer.due_at is not None and timer.due_at <= at(second):
            look = look_at_stalled(config, timer, run, at(second), blind=blind, child_moved=None)
            assert look.timer is not None
            timer = look.timer
            if look.finding is not None:
                events.append((second, look.finding.sign.value))
                timer = fired(config, timer, look.finding, "key", at(second))
        if second in outputs or second in progress:
            run = replace(run, updated_at=at(second))
            if second in progress:
                run = replace(run, progress=float(second), progressed_at=at(second))
            if timer.fired_at is not None:
                look = look_at_stalled(config, timer, run, at(second), blind=blind, child_moved=None)
                assert look.timer is not None
                timer = look.timer if look.finding is None else replace(look.timer, due_at=at(second))
                if look.has_moved:
                    events.append((second, "moves"))
    expected = model(life, silent_for, stuck_for)
    assert [event for event in events if event[0] < 300] == [event for event in expected if event[0] < 300]


@given(st.integers(0, 10_000), st.floats(1, 5000), st.none() | st.floats(1, 5000))
def test_overdue_runs_are_found_at_the_shorter_limit(
    started: int, running_for: float, allowed: float | None
) -> None:
    config = watch("overdue", running_for=running_for)
    run = replace(STARTED, started_at=at(started))
    timer = new_timer(config, "", run, "Sales", at(started), allowed_s=allowed)
    limit = min(running_for, allowed or running_for)
    assert timer.due_at == at(started) + timedelta(seconds=limit)
    early = look_at_overdue(config, timer, timer.due_at - timedelta(seconds=0.5), allowed)
    assert early == Look(timer)
    found = look_at_overdue(config, timer, timer.due_at, allowed).finding
    assert found is not None
    assert (found.at, found.late_by) == (timer.due_at, 0.0)
    late = look_at_overdue(config, timer, timer.due_at + timedelta(hours=3), allowed).finding
    assert late is not None
    assert (late.at, late.late_by) == (timer.due_at, 3 * 3600)
    assert late.seconds == pytest.approx(limit + 3 * 3600)


def test_a_limit_that_grows_while_the_run_goes_on_makes_it_due_later() -> None:
    config = watch("overdue", slower_than={})
    timer = new_timer(config, "", STARTED, "Sales", NOW, allowed_s=600.0)
    look = look_at_overdue(config, timer, at(600), 900.0)
    assert look.finding is None
    assert look.timer is not None
    assert look.timer.due_at == at(900)
    assert new_timer(config, "", STARTED, "Sales", NOW, allowed_s=None).due_at is None


def test_reminders_come_each_time_and_once_after_a_pause() -> None:
    config = watch("queued", waiting_for=600.0, remind_every=300.0)
    queued = Run("p", Family.TASK, "t1", state=RunState.QUEUED, created_at=NOW, updated_at=NOW)
    timer = new_timer(config, "", queued, "Sales", NOW)
    assert look_at_waiting(timer, at(599)).finding is None
    found = look_at_waiting(timer, at(600)).finding
    assert found is not None
    timer = fired(config, timer, found, "key", at(600))
    assert (timer.due_at, timer.reminders) == (at(900), 1)
    late = look_at_waiting(timer, at(5000)).finding
    assert late is not None
    assert fired(config, timer, late, "key", at(5000)).due_at == at(5300)


def test_a_stalled_workflow_is_looked_at_again_for_its_tasks() -> None:
    config = watch("stalled", silent_for=900.0)
    run = replace(STARTED, kind=Family.WORKFLOW)
    timer = new_timer(config, "", run, "Sales", NOW)
    look = look_at_stalled(config, timer, run, at(900), blind=blind_of([]), child_moved=None)
    assert look.finding is not None
    assert look.timer is not None
    timer = fired(config, look.timer, look.finding, "key", at(900))
    assert timer.due_at == at(960)
    again = look_at_stalled(config, timer, run, at(960), blind=blind_of([]), child_moved=None)
    assert (again.has_moved, again.timer and again.timer.due_at) == (False, at(1020))
    moved = look_at_stalled(config, timer, run, at(1020), blind=blind_of([]), child_moved=at(1000))
    assert moved.has_moved
    assert moved.timer is not None
    assert (moved.timer.due_at, moved.timer.fired_at) == (at(1900), None)


@pytest.mark.parametrize(
    "moment",
    [
        None,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        at(1),
    ],
)
def test_a_time_that_cannot_be_right_is_none(moment: datetime | None) -> None:
    assert our_time(moment, 0.0, no_later_than=NOW) is None
    assert our_time(moment, 1e11, no_later_than=NOW) is None


@given(st.datetimes(timezones=st.just(UTC)), st.booleans(), st.floats(-1e9, 1e9))
def test_no_time_of_an_event_leads_to_a_start_in_the_future_or_before_1970(
    moment: datetime, is_live: bool, lag_s: float
) -> None:
    run = replace(STARTED, started_at=moment, updated_at=moment, progressed_at=moment)
    for config in (watch("stalled", silent_for=900.0, no_progress_for=60.0), watch("overdue", running_for=60.0)):
        for lag in (lag_s, lag_of(moment, NOW, is_live=is_live)):
            timer = new_timer(config, "", run, "Sales", NOW, lag_s=lag, was_there=True)
            assert datetime(1970, 1, 1, tzinfo=UTC) <= timer.since <= NOW
            if config.kind == "stalled":
                look = look_at_stalled(config, timer, run, NOW, blind=blind_of([]), child_moved=moment)
                assert look.timer is not None


def test_a_live_event_from_a_wrong_clock_counts_from_its_arrival() -> None:
    config = watch("stalled", silent_for=900.0)
    for moment in (at(-72_000), at(72_000)):
        run = replace(STARTED, started_at=moment, updated_at=moment)
        lag_s = lag_of(moment, NOW, is_live=True)
        timer = new_timer(config, "", run, "Sales", NOW, lag_s=lag_s)
        assert timer.since == NOW
        later = replace(run, updated_at=moment + timedelta(seconds=500))
        look = look_at_stalled(config, timer, later, at(900), blind=blind_of([]), child_moved=None)
        assert look.timer is not None
        assert (look.finding, look.timer.due_at) == (None, at(1400))


def test_a_caught_up_event_tells_nothing_about_the_clock() -> None:
    assert lag_of(at(-72_000), NOW, is_live=False) == 0.0
    assert lag_of(at(-300), NOW, is_live=True) == 0.0
    assert Sign.SILENCE.value == "silence"
