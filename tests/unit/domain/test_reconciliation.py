"""Reconciliation as a table: the known run, the observation, and the events that were missed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.observation import Gap, Observation
from aintandem_notify.domain.reconciliation import DOUBTFUL, NO_DIFF, RunDiff, end_events, reconcile
from aintandem_notify.domain.runs import TERMINAL_STATES, Run, RunRef, RunState, advance
from support.outbox import NOW, event

DAY = 86_400.0
GAP = Gap(since=NOW, until=NOW + timedelta(seconds=200), watched_since=NOW - timedelta(days=1), catch_up_max=DAY)
LATER = NOW + timedelta(seconds=205)
ENDED = RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ref(kind: Family = Family.TASK) -> RunRef:
    return RunRef("p", kind, "r1")


def known(state: str, kind: Family = Family.TASK, **facts: Any) -> Run:
    """A run in the state in which the connection was lost, started 100 seconds before."""
    started = None if state == "queued" else at(-100)
    ended = at(-10) if RunState(state) in TERMINAL_STATES else None
    usual: dict[str, Any] = {"name": "Analyse", "created_at": at(-110), "started_at": started, "ended_at": ended}
    return Run(*ref(kind), state=RunState(state), **(usual | facts))


def observation(state: str, kind: Family = Family.TASK, **facts: Any) -> Observation:
    return Observation(ref(kind), RunState(state), **facts)


def timed_events(diff: RunDiff) -> list[tuple[str, float]]:
    """Types and times of the events, in seconds after the loss."""
    return [(event.type, (event.timestamp - NOW).total_seconds()) for event in diff.events]


def diff_of(
    run: Run | None, observation: Observation, gap: Gap = GAP, now: datetime = LATER, **known: Any
) -> RunDiff:
    return reconcile(run, observation, gap, now, **known)


@pytest.mark.parametrize(
    ("before", "observed", "events"),
    [
        # An open run ends, with any times.
        (known("running"), observation("completed", ended_at=at(50)), [("task_completed", 50)]),
        (known("running"), observation("failed", ended_at=at(-50)), [("task_failed", -50)]),
        (known("running"), observation("cancelled"), [("task_cancelled", 205)]),
        (known("queued"), observation("failed", ended_at=at(50)), [("task_failed", 50)]),
        (
            known("queued"),
            observation("completed", started_at=at(5), ended_at=at(50)),
            [("task_started", 5), ("task_completed", 50)],
        ),
        # It goes on: only state changes are reported.
        (known("running"), observation("running"), []),
        (known("queued"), observation("queued"), []),
        (known("queued"), observation("running", started_at=at(5)), [("task_started", 5)]),
        (known("running"), observation("queued"), []),
        (known("running"), observation("paused"), []),
        # It had ended: the same end is not reported again, a later one is another attempt.
        (known("completed"), observation("completed"), []),
        (known("completed"), observation("completed", started_at=at(-100), ended_at=at(-10)), []),
        (known("completed"), observation("completed", ended_at=at(45)), []),
        (known("failed"), observation("cancelled", ended_at=at(45)), []),
        (
            known("completed"),
            observation("completed", ended_at=at(55)),
            [("task_queued", 55), ("task_completed", 55)],
        ),
        (
            known("completed"),
            observation("completed", started_at=at(-5), ended_at=at(20)),
            [("task_started", -5), ("task_completed", 20)],
        ),
        (
            known("failed"),
            observation("completed", created_at=at(10), started_at=at(11), ended_at=at(20)),
            [("task_started", 11), ("task_completed", 20)],
        ),
        (known("failed"), observation("running", started_at=at(10)), [("task_started", 10)]),
        (known("failed"), observation("queued", created_at=at(10)), [("task_queued", 10)]),
        (known("failed"), observation("running", confirmed=True), [("task_started", 205)]),
        (known("completed"), observation("failed"), [("task_failed", 205)]),
        # Never seen: ends since the loss are reported, earlier ones are not.
        (None, observation("failed", started_at=at(1), ended_at=at(2)), [("task_started", 1), ("task_failed", 2)]),
        (None, observation("failed", created_at=at(1), ended_at=at(2)), [("task_queued", 1), ("task_failed", 2)]),
        (None, observation("failed", ended_at=at(-50)), [("task_queued", -50), ("task_failed", -50)]),
        (None, observation("failed", ended_at=at(-61)), []),
        (None, observation("failed"), []),
        (None, observation("failed", started_at=at(3)), [("task_started", 3), ("task_failed", 205)]),
        (None, observation("running", started_at=at(3)), [("task_started", 3)]),
        (None, observation("queued", created_at=at(3)), [("task_queued", 3)]),
        (None, observation("running", started_at=at(-90)), []),
        (None, observation("running"), []),
    ],
)
def test_a_task(before: Run | None, observed: Observation, events: list[tuple[str, float]]) -> None:
    diff = diff_of(before, observed)
    assert timed_events(diff) == events
    assert diff.changed is bool(events)
    assert (diff.too_old, diff.doubtful) == (False, False)
    assert all(event.caught_up for event in diff.events)


WORKFLOW = Family.WORKFLOW


@pytest.mark.parametrize(
    ("before", "observed", "types"),
    [
        ("running", observation("paused", WORKFLOW), ["paused"]),
        ("paused", observation("running", WORKFLOW), ["resumed"]),
        ("paused", observation("paused", WORKFLOW), []),
        ("queued", observation("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        ("paused", observation("failed", WORKFLOW, ended_at=at(5)), ["failed"]),
        ("failed", observation("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        (None, observation("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        (None, observation("queued", WORKFLOW, created_at=at(5)), ["created"]),
        (None, observation("completed", WORKFLOW, started_at=at(5), ended_at=at(9)), ["started", "completed"]),
        (None, observation("cancelled", WORKFLOW, started_at=at(5), ended_at=at(9)), []),
    ],
)
def test_a_workflow_execution(before: str | None, observed: Observation, types: list[str]) -> None:
    diff = diff_of(known(before, WORKFLOW, workflow_id="w1") if before else None, observed)
    assert [event.type for event in diff.events] == [f"workflow_execution_{name}" for name in types]


def test_a_cancelled_execution_moves_without_a_word() -> None:
    diff = diff_of(known("running", WORKFLOW), observation("cancelled", WORKFLOW, ended_at=at(9)))
    assert (diff.events, diff.changed) == ((), True)
    assert diff.run is not None
    assert (diff.run.state, diff.run.ended_at) == (RunState.CANCELLED, at(9))


SANDBOX = Family.SANDBOX


@pytest.mark.parametrize(
    ("before", "observed", "types", "attempt"),
    [
        ("running", observation("completed", SANDBOX), ["stopped"], 1),
        ("running", observation("failed", SANDBOX, error="OOM"), ["error"], 1),
        ("queued", observation("running", SANDBOX), ["started"], 1),
        ("failed", observation("completed", SANDBOX), ["stopped"], 1),
        ("failed", observation("completed", SANDBOX, ended_at=at(3)), ["stopped"], 1),
        ("completed", observation("failed", SANDBOX, ended_at=at(-20)), [], 1),
        # The next attempt failed: it is not certain that it started.
        ("failed", observation("failed", SANDBOX, created_at=at(3), ended_at=at(4)), ["error"], 2),
        ("completed", observation("running", SANDBOX, confirmed=True), ["started"], 2),
    ],
)
def test_a_sandbox(before: str, observed: Observation, types: list[str], attempt: int) -> None:
    diff = diff_of(known(before, SANDBOX), observed)
    assert [event.type for event in diff.events] == [f"sandbox_{name}" for name in types]
    assert after(diff, known(before, SANDBOX)).attempt == attempt


def after(diff: RunDiff, before: Run | None) -> Run:
    """The run after the diff."""
    run = diff.run or before
    for item in diff.events:
        run = advance(run, item)
    assert run is not None
    return run


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("before", [None, "queued", "running", "failed"])
def test_ends_too_long_ago_are_only_counted(before: str | None, state: RunState) -> None:
    gap = replace(GAP, catch_up_max=100.0)
    run = known(before, ended_at=at(-900) if before == "failed" else None) if before else None
    diff = diff_of(run, observation(state, started_at=at(90), ended_at=at(99)), gap)
    assert (diff.events, diff.too_old, diff.changed) == ((), True, False)
    assert (diff.run and diff.run.state) == (state if before else None)
    assert not diff_of(run, observation(state, started_at=at(90), ended_at=at(101)), gap).too_old


def test_a_clock_that_was_set_a_year_ahead_makes_nothing_too_old() -> None:
    diff = reconcile(None, observation(RunState.FAILED, started_at=at(90), ended_at=at(106)), GAP, at(365 * DAY))
    assert (diff.too_old, diff.changed) == (False, True)


def test_the_orchestrators_clock_shows_that_ours_was_wrong_when_the_link_opened() -> None:
    ended = observation(RunState.FAILED, started_at=at(9 * DAY), ended_at=at(10 * DAY))
    diff = reconcile(None, replace(ended, confirmed=True), GAP, at(20 * DAY))
    assert (diff.events, diff.too_old) == ((), True)


def test_a_first_connection_reports_no_old_runs_and_stores_open_ones() -> None:
    first = Gap(since=NOW, until=NOW, watched_since=NOW, catch_up_max=DAY)
    assert diff_of(None, observation("failed", started_at=at(-9), ended_at=at(-1)), first) == NO_DIFF
    diff = diff_of(None, observation("running", name="Analyse", started_at=at(-9)), first)
    assert diff == RunDiff(run=Run(*ref(), name="Analyse", started_at=at(-9)))


@pytest.mark.parametrize(
    ("before", "observed"),
    [
        (known("completed"), observation("running")),
        (known("completed"), observation("running", started_at=at(-100))),
        (known("running"), observation("completed", ended_at=at(-101))),
        # It ended after the link had opened: a live event should be on the way.
        (known("running"), observation("completed", ended_at=at(201))),
        (None, observation("running", started_at=at(201))),
    ],
)
def test_an_observation_that_may_be_old_is_doubtful_until_confirmed(
    before: Run | None, observed: Observation
) -> None:
    diff = diff_of(before, observed)
    assert (diff.events, diff.changed, diff.doubtful) == ((), False, True)
    assert diff_of(before, replace(observed, confirmed=True)).changed


def test_news_about_a_run_that_live_events_have_moved_since_is_doubted() -> None:
    end = observation("failed", started_at=at(1), ended_at=at(2))
    for run in (None, known("running"), known("completed")):
        assert diff_of(run, end, changed_since_request=True) == DOUBTFUL
    assert diff_of(known("failed"), observation("failed"), changed_since_request=True) == NO_DIFF


@pytest.mark.parametrize(
    ("before", "buffered_since", "types", "doubtful"),
    [
        (None, at(1), [], True),
        (None, at(2), ["task_started"], True),
        (None, at(3), ["task_started", "task_failed"], False),
        (known("running"), at(2), [], True),
        (known("running"), at(3), ["task_failed"], False),
        (known("failed"), at(2), ["task_started"], True),
    ],
)
def test_changes_that_buffered_events_may_report_are_left_to_them(
    before: Run | None, buffered_since: datetime, types: list[str], doubtful: bool
) -> None:
    diff = diff_of(before, observation("failed", started_at=at(1), ended_at=at(2)), buffered_since=buffered_since)
    assert ([event.type for event in diff.events], diff.doubtful) == (types, doubtful)


def test_a_synthesized_end_equals_a_live_one() -> None:
    def end(state: str, kind: Family = Family.TASK) -> Event:
        observed = observation(state, kind, name="Analyse", error="boom", output={"rows": 2}, duration=9.0)
        return diff_of(known("running", kind, workflow_id="w1"), observed).events[-1]

    assert (end("completed").wire()["task"], end("completed").wire()["output"]) == ("Analyse", {"rows": 2})
    assert (end("completed").wire()["duration"], end("failed").wire()["error"]) == (9.0, "boom")
    assert "error" not in end("completed").wire()
    assert end("failed", WORKFLOW).wire()["error"] == "boom"
    assert end("failed", SANDBOX).wire()["error"] == "boom"


@pytest.mark.parametrize(
    ("before", "observed", "tail"),
    [
        (
            known("running"),
            observation("running"),
            "one\n[output missing: not connected 00:00:00 to 00:03:20 UTC]\n",
        ),
        (
            known("running", output_tail="half a line"),
            observation("failed", ended_at=at(9)),
            "half a line\n[output missing: not connected 00:00:00 to 00:03:20 UTC]\n",
        ),
        (known("queued"), observation("queued"), "one\n"),
        (known("queued"), observation("cancelled", ended_at=at(9)), "one\n"),
        (known("running", started_at=at(201)), observation("running"), "one\n"),
        (known("completed"), observation("completed"), "one\n"),
    ],
)
def test_lost_output_is_marked_as_missing(before: Run, observed: Observation, tail: str) -> None:
    run = replace(before, output_tail=before.output_tail or "one\n")
    once = after(diff_of(run, observed), run)
    assert once.output_tail == tail
    assert after(diff_of(once, observed), once).output_tail == tail


def test_a_gap_over_midnight_names_its_day() -> None:
    gap = replace(GAP, since=NOW - timedelta(seconds=1))
    diff = diff_of(known("running"), observation("running"), gap)
    assert diff.run is not None
    assert diff.run.output_tail == "[output missing: not connected 2025-12-31 23:59:59 to 00:03:20 UTC]\n"


def test_the_end_of_a_sandbox_or_a_workflow_misses_no_output() -> None:
    for kind in (SANDBOX, WORKFLOW):
        assert (
            after(
                diff_of(known("running", kind), observation("running", kind)), known("running", kind)
            ).output_tail
            == ""
        )


@pytest.mark.parametrize("before", ["queued", "running", "paused"])
def test_a_gone_run_is_counted_once(before: str) -> None:
    run = known(before)
    diff = diff_of(run, observation("gone"))
    assert (diff.events, diff.changed, diff.too_old, diff.gone) == ((), False, False, True)
    assert diff.run == replace(run, state=RunState.GONE)
    assert diff_of(diff.run, observation("gone")) == NO_DIFF


@pytest.mark.parametrize("news", [{"changed_since_request": True}, {"buffered_since": at(1)}])
def test_a_run_with_live_events_is_not_gone(news: dict[str, Any]) -> None:
    assert diff_of(known("running"), observation("gone"), **news) == NO_DIFF


def test_an_unknown_or_ended_run_cannot_be_gone() -> None:
    for run in (None, known("completed"), known("failed")):
        assert diff_of(run, observation("gone")) == NO_DIFF


@pytest.mark.parametrize(
    ("started", "observed", "types", "state"),
    [
        (at(-100), observation("running"), [], "running"),
        (at(-100), observation("failed", ended_at=at(5)), ["task_failed"], "failed"),
        (None, observation("queued"), [], "queued"),
        (None, observation("running", started_at=at(5)), ["task_started"], "running"),
        (at(-100), observation("running", confirmed=True), [], "running"),
    ],
)
def test_a_gone_run_that_reappears_continues(
    started: datetime | None, observed: Observation, types: list[str], state: str
) -> None:
    gone_diff = known("gone", started_at=started, ended_at=None)
    diff = diff_of(gone_diff, observed)
    assert [event.type for event in diff.events] == types
    run = after(diff, gone_diff)
    assert (run.state, run.attempt) == (state, 1)


def test_live_events_about_a_gone_run_are_new() -> None:
    gone_diff = known("gone", ended_at=None)
    ended = advance(gone_diff, event("task_failed", at=9))
    assert (ended.state, ended.attempt) == (RunState.FAILED, 1)
    assert advance(gone_diff, event("task_started", at=9)).attempt == 2


@pytest.mark.parametrize("state", RunState)
def test_the_end_alone(state: RunState) -> None:
    for kind in (Family.TASK, Family.WORKFLOW, Family.SANDBOX):
        events = end_events(Observation(RunRef("p1", kind, "r-1"), state), NOW)
        expected = 0 if state not in TERMINAL_STATES else 1
        if state is RunState.GONE or (state is RunState.CANCELLED and kind is not Family.TASK):
            expected = 0  # the wire has no event for it
        assert len(events) == expected
        assert all(event.caught_up and event.run_id == "r-1" for event in events)
