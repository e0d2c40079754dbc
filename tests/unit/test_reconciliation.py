"""Which events were missed: the table of what we know and what REST says, and what comes of it."""

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
    """A run as it stood when the connection was lost, begun 100 seconds before."""
    started = None if state == "queued" else at(-100)
    ended = at(-10) if RunState(state) in TERMINAL_STATES else None
    usual: dict[str, Any] = {"name": "Analyse", "created_at": at(-110), "started_at": started, "ended_at": ended}
    return Run(*ref(kind), state=RunState(state), **(usual | facts))


def seen(state: str, kind: Family = Family.TASK, **facts: Any) -> Observation:
    return Observation(ref(kind), RunState(state), **facts)


def told(found: RunDiff) -> list[tuple[str, float]]:
    """Types and times of the events, in seconds after the loss."""
    return [(event.type, (event.timestamp - NOW).total_seconds()) for event in found.events]


def look(run: Run | None, seen: Observation, gap: Gap = GAP, now: datetime = LATER, **known: Any) -> RunDiff:
    return reconcile(run, seen, gap, now, **known)


@pytest.mark.parametrize(
    ("before", "observed", "events"),
    [
        # A run that is open ends, whatever the times.
        (known("running"), seen("completed", ended_at=at(50)), [("task_completed", 50)]),
        (known("running"), seen("failed", ended_at=at(-50)), [("task_failed", -50)]),
        (known("running"), seen("cancelled"), [("task_cancelled", 205)]),
        (known("queued"), seen("failed", ended_at=at(50)), [("task_failed", 50)]),
        (
            known("queued"),
            seen("completed", started_at=at(5), ended_at=at(50)),
            [("task_started", 5), ("task_completed", 50)],
        ),
        # It goes on: only what moved it is told.
        (known("running"), seen("running"), []),
        (known("queued"), seen("queued"), []),
        (known("queued"), seen("running", started_at=at(5)), [("task_started", 5)]),
        (known("running"), seen("queued"), []),
        (known("running"), seen("paused"), []),
        # It had ended: the same end is no news, a later one is another attempt.
        (known("completed"), seen("completed"), []),
        (known("completed"), seen("completed", started_at=at(-100), ended_at=at(-10)), []),
        (known("completed"), seen("completed", ended_at=at(45)), []),
        (known("failed"), seen("cancelled", ended_at=at(45)), []),
        (known("completed"), seen("completed", ended_at=at(55)), [("task_queued", 55), ("task_completed", 55)]),
        (
            known("completed"),
            seen("completed", started_at=at(-5), ended_at=at(20)),
            [("task_started", -5), ("task_completed", 20)],
        ),
        (
            known("failed"),
            seen("completed", created_at=at(10), started_at=at(11), ended_at=at(20)),
            [("task_started", 11), ("task_completed", 20)],
        ),
        (known("failed"), seen("running", started_at=at(10)), [("task_started", 10)]),
        (known("failed"), seen("queued", created_at=at(10)), [("task_queued", 10)]),
        (known("failed"), seen("running", confirmed=True), [("task_started", 205)]),
        (known("completed"), seen("failed"), [("task_failed", 205)]),
        # Never seen: what ended since is told, what ended before is not.
        (None, seen("failed", started_at=at(1), ended_at=at(2)), [("task_started", 1), ("task_failed", 2)]),
        (None, seen("failed", created_at=at(1), ended_at=at(2)), [("task_queued", 1), ("task_failed", 2)]),
        (None, seen("failed", ended_at=at(-50)), [("task_queued", -50), ("task_failed", -50)]),
        (None, seen("failed", ended_at=at(-61)), []),
        (None, seen("failed"), []),
        (None, seen("failed", started_at=at(3)), [("task_started", 3), ("task_failed", 205)]),
        (None, seen("running", started_at=at(3)), [("task_started", 3)]),
        (None, seen("queued", created_at=at(3)), [("task_queued", 3)]),
        (None, seen("running", started_at=at(-90)), []),
        (None, seen("running"), []),
    ],
)
def test_a_task(before: Run | None, observed: Observation, events: list[tuple[str, float]]) -> None:
    found = look(before, observed)
    assert told(found) == events
    assert found.changed is bool(events)
    assert (found.too_old, found.doubtful) == (False, False)
    assert all(event.caught_up for event in found.events)


WORKFLOW = Family.WORKFLOW


@pytest.mark.parametrize(
    ("before", "observed", "types"),
    [
        ("running", seen("paused", WORKFLOW), ["paused"]),
        ("paused", seen("running", WORKFLOW), ["resumed"]),
        ("paused", seen("paused", WORKFLOW), []),
        ("queued", seen("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        ("paused", seen("failed", WORKFLOW, ended_at=at(5)), ["failed"]),
        ("failed", seen("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        (None, seen("paused", WORKFLOW, started_at=at(5)), ["started", "paused"]),
        (None, seen("queued", WORKFLOW, created_at=at(5)), ["created"]),
        (None, seen("completed", WORKFLOW, started_at=at(5), ended_at=at(9)), ["started", "completed"]),
        (None, seen("cancelled", WORKFLOW, started_at=at(5), ended_at=at(9)), []),
    ],
)
def test_a_workflow_execution(before: str | None, observed: Observation, types: list[str]) -> None:
    found = look(known(before, WORKFLOW, workflow_id="w1") if before else None, observed)
    assert [event.type for event in found.events] == [f"workflow_execution_{name}" for name in types]


def test_a_cancelled_execution_moves_without_a_word() -> None:
    found = look(known("running", WORKFLOW), seen("cancelled", WORKFLOW, ended_at=at(9)))
    assert (found.events, found.changed) == ((), True)
    assert found.run is not None
    assert (found.run.state, found.run.ended_at) == (RunState.CANCELLED, at(9))


SANDBOX = Family.SANDBOX


@pytest.mark.parametrize(
    ("before", "observed", "types", "attempt"),
    [
        ("running", seen("completed", SANDBOX), ["stopped"], 1),
        ("running", seen("failed", SANDBOX, error="OOM"), ["error"], 1),
        ("queued", seen("running", SANDBOX), ["started"], 1),
        ("failed", seen("completed", SANDBOX), ["stopped"], 1),
        ("failed", seen("completed", SANDBOX, ended_at=at(3)), ["stopped"], 1),
        ("completed", seen("failed", SANDBOX, ended_at=at(-20)), [], 1),
        # Tried again in vain: that it ever started is not said.
        ("failed", seen("failed", SANDBOX, created_at=at(3), ended_at=at(4)), ["error"], 2),
        ("completed", seen("running", SANDBOX, confirmed=True), ["started"], 2),
    ],
)
def test_a_sandbox(before: str, observed: Observation, types: list[str], attempt: int) -> None:
    found = look(known(before, SANDBOX), observed)
    assert [event.type for event in found.events] == [f"sandbox_{name}" for name in types]
    assert after(found, known(before, SANDBOX)).attempt == attempt


def after(found: RunDiff, before: Run | None) -> Run:
    """The run as it stands then."""
    run = found.run or before
    for one in found.events:
        run = advance(run, one).run
    assert run is not None
    return run


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("before", [None, "queued", "running", "failed"])
def test_what_ended_too_long_ago_is_only_counted(before: str | None, state: RunState) -> None:
    gap = replace(GAP, catch_up_max=100.0)
    run = known(before, ended_at=at(-900) if before == "failed" else None) if before else None
    found = look(run, seen(state, started_at=at(90), ended_at=at(99)), gap)
    assert (found.events, found.too_old, found.changed) == ((), True, False)
    assert (found.run and found.run.state) == (state if before else None)
    assert not look(run, seen(state, started_at=at(90), ended_at=at(101)), gap).too_old


def test_a_clock_that_was_set_a_year_ahead_makes_nothing_too_old() -> None:
    found = reconcile(None, seen(RunState.FAILED, started_at=at(90), ended_at=at(106)), GAP, at(365 * DAY))
    assert (found.too_old, found.changed) == (False, True)


def test_the_orchestrators_clock_shows_that_ours_was_wrong_when_the_link_opened() -> None:
    ended = seen(RunState.FAILED, started_at=at(9 * DAY), ended_at=at(10 * DAY))
    found = reconcile(None, replace(ended, confirmed=True), GAP, at(20 * DAY))
    assert (found.events, found.too_old) == ((), True)


def test_a_first_connection_is_silent_about_what_is_old_and_keeps_what_is_open() -> None:
    first = Gap(since=NOW, until=NOW, watched_since=NOW, catch_up_max=DAY)
    assert look(None, seen("failed", started_at=at(-9), ended_at=at(-1)), first) == NO_DIFF
    found = look(None, seen("running", name="Analyse", started_at=at(-9)), first)
    assert found == RunDiff(run=Run(*ref(), name="Analyse", started_at=at(-9)))


@pytest.mark.parametrize(
    ("before", "observed"),
    [
        (known("completed"), seen("running")),
        (known("completed"), seen("running", started_at=at(-100))),
        (known("running"), seen("completed", ended_at=at(-101))),
        # It happened after the link had opened: a live event should be on the way.
        (known("running"), seen("completed", ended_at=at(201))),
        (None, seen("running", started_at=at(201))),
    ],
)
def test_what_may_be_older_than_what_we_know_is_doubted_until_it_is_confirmed(
    before: Run | None, observed: Observation
) -> None:
    found = look(before, observed)
    assert (found.events, found.changed, found.doubtful) == ((), False, True)
    assert look(before, replace(observed, confirmed=True)).changed


def test_news_about_a_run_that_live_events_have_moved_since_is_doubted() -> None:
    end = seen("failed", started_at=at(1), ended_at=at(2))
    for run in (None, known("running"), known("completed")):
        assert look(run, end, touched=True) == DOUBTFUL
    assert look(known("failed"), seen("failed"), touched=True) == NO_DIFF


@pytest.mark.parametrize(
    ("before", "held", "types", "doubtful"),
    [
        (None, at(1), [], True),
        (None, at(2), ["task_started"], True),
        (None, at(3), ["task_started", "task_failed"], False),
        (known("running"), at(2), [], True),
        (known("running"), at(3), ["task_failed"], False),
        (known("failed"), at(2), ["task_started"], True),
    ],
)
def test_what_live_events_that_wait_may_tell_is_left_to_them(
    before: Run | None, held: datetime, types: list[str], doubtful: bool
) -> None:
    found = look(before, seen("failed", started_at=at(1), ended_at=at(2)), buffered_since=held)
    assert ([event.type for event in found.events], found.doubtful) == (types, doubtful)


def test_an_end_says_what_a_live_one_would() -> None:
    def end(state: str, kind: Family = Family.TASK) -> Event:
        observed = seen(state, kind, name="Analyse", error="boom", output={"rows": 2}, duration=9.0)
        return look(known("running", kind, workflow_id="w1"), observed).events[-1]

    assert (end("completed").wire()["task"], end("completed").wire()["output"]) == ("Analyse", {"rows": 2})
    assert (end("completed").wire()["duration"], end("failed").wire()["error"]) == (9.0, "boom")
    assert "error" not in end("completed").wire()
    assert end("failed", WORKFLOW).wire()["error"] == "boom"
    assert end("failed", SANDBOX).wire()["error"] == "boom"


@pytest.mark.parametrize(
    ("before", "observed", "tail"),
    [
        (known("running"), seen("running"), "one\n[output missing: not connected 00:00:00 to 00:03:20 UTC]\n"),
        (
            known("running", output_tail="half a line"),
            seen("failed", ended_at=at(9)),
            "half a line\n[output missing: not connected 00:00:00 to 00:03:20 UTC]\n",
        ),
        (known("queued"), seen("queued"), "one\n"),
        (known("queued"), seen("cancelled", ended_at=at(9)), "one\n"),
        (known("running", started_at=at(201)), seen("running"), "one\n"),
        (known("completed"), seen("completed"), "one\n"),
    ],
)
def test_output_that_cannot_be_had_back_is_said_to_be_missing(
    before: Run, observed: Observation, tail: str
) -> None:
    run = replace(before, output_tail=before.output_tail or "one\n")
    once = after(look(run, observed), run)
    assert once.output_tail == tail
    assert after(look(once, observed), once).output_tail == tail


def test_a_gap_over_midnight_says_from_which_day_it_was() -> None:
    gap = replace(GAP, since=NOW - timedelta(seconds=1))
    found = look(known("running"), seen("running"), gap)
    assert found.run is not None
    assert found.run.output_tail == "[output missing: not connected 2025-12-31 23:59:59 to 00:03:20 UTC]\n"


def test_the_end_of_a_sandbox_or_a_workflow_misses_no_output() -> None:
    for kind in (SANDBOX, WORKFLOW):
        assert after(look(known("running", kind), seen("running", kind)), known("running", kind)).output_tail == ""


@pytest.mark.parametrize("before", ["queued", "running", "paused"])
def test_what_the_orchestrator_does_not_know_any_more_is_counted_once(before: str) -> None:
    run = known(before)
    found = look(run, seen("gone"))
    assert (found.events, found.changed, found.too_old, found.gone) == ((), False, False, True)
    assert found.run == replace(run, state=RunState.GONE)
    assert look(found.run, seen("gone")) == NO_DIFF


@pytest.mark.parametrize("news", [{"touched": True}, {"buffered_since": at(1)}])
def test_what_live_events_tell_of_is_not_gone(news: dict[str, Any]) -> None:
    assert look(known("running"), seen("gone"), **news) == NO_DIFF


def test_what_never_was_or_has_ended_cannot_be_gone() -> None:
    for run in (None, known("completed"), known("failed")):
        assert look(run, seen("gone")) == NO_DIFF


@pytest.mark.parametrize(
    ("started", "observed", "types", "state"),
    [
        (at(-100), seen("running"), [], "running"),
        (at(-100), seen("failed", ended_at=at(5)), ["task_failed"], "failed"),
        (None, seen("queued"), [], "queued"),
        (None, seen("running", started_at=at(5)), ["task_started"], "running"),
        (at(-100), seen("running", confirmed=True), [], "running"),
    ],
)
def test_what_turns_up_again_goes_on_where_it_was(
    started: datetime | None, observed: Observation, types: list[str], state: str
) -> None:
    gone = known("gone", started_at=started, ended_at=None)
    found = look(gone, observed)
    assert [event.type for event in found.events] == types
    run = after(found, gone)
    assert (run.state, run.attempt) == (state, 1)


def test_live_events_about_what_was_gone_are_news() -> None:
    gone = known("gone", ended_at=None)
    ended = advance(gone, event("task_failed", at=9))
    assert (ended.run.state, ended.run.attempt, ended.repeated) == (RunState.FAILED, 1, False)
    assert advance(gone, event("task_started", at=9)).run.attempt == 2


@pytest.mark.parametrize("state", RunState)
def test_the_end_alone(state: RunState) -> None:
    for kind in (Family.TASK, Family.WORKFLOW, Family.SANDBOX):
        events = end_events(Observation(RunRef("p1", kind, "r-1"), state), NOW)
        expected = 0 if state not in TERMINAL_STATES else 1
        if state is RunState.GONE or (state is RunState.CANCELLED and kind is not Family.TASK):
            expected = 0  # the wire has no event for it
        assert len(events) == expected
        assert all(event.caught_up and event.run_id == "r-1" for event in events)
