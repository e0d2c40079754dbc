"""Duplicates are recognised: the runs that live events have changed, and the synthesized events."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.runs import Run, RunRef, RunState
from aintandem_notify.ingest.dedup import (
    MAX_LATENESS_S,
    NOTHING_SYNTHESIZED,
    Arrival,
    RecentChanges,
    Synthesized,
    UntimedEnd,
    classify,
)
from support.outbox import NOW, event

REF = RunRef("p", Family.TASK, "t1")
RUNNING = Run(*REF, state=RunState.RUNNING, started_at=NOW)
ENDED = Run(*REF, state=RunState.FAILED, started_at=NOW, ended_at=NOW + timedelta(seconds=10))


def synthesized(*types: str, before: float | None = None, begun: bool = False) -> Synthesized:
    """``before``: it failed before that, without a time in REST."""
    ends = () if before is None else (failed(before),)
    return Synthesized(frozenset(types), ends, begun)


def failed(before: float) -> UntimedEnd:
    return UntimedEnd("task_failed", NOW + timedelta(seconds=before))


RUNNING_AGAIN = replace(RUNNING, attempt=2)
COMPLETED = replace(ENDED, state=RunState.COMPLETED, ended_at=None)
TWICE = Synthesized(ends=(failed(8), UntimedEnd("task_completed", NOW + timedelta(seconds=20))))
LIVE, LATE, DUPLICATE = Arrival.LIVE, Arrival.LATE, Arrival.DUPLICATE


@pytest.mark.parametrize(
    ("run", "live", "made", "arrival"),
    [
        (None, event("task_failed", at=1), [], LIVE),
        # Nothing was caught up: only the same end is known.
        (RUNNING, event("task_started", at=1), [], LIVE),
        (RUNNING, event("task_failed", at=1), [], LIVE),
        (ENDED, event("task_failed", at=99), [], DUPLICATE),
        (ENDED, event("task_completed", at=1), [], LIVE),
        (ENDED, event("task_started", at=1), [], LIVE),
        (ENDED, event("output", at=1), [], LIVE),
        (RUNNING, event("task_started", at=1), [NOTHING_SYNTHESIZED], LIVE),
        (ENDED, event("task_started", at=1), [NOTHING_SYNTHESIZED], LIVE),
        (ENDED, event("task_failed", at=99), [NOTHING_SYNTHESIZED], DUPLICATE),
        # A start was caught up.
        (RUNNING, event("task_started", at=1), [synthesized("task_started")], DUPLICATE),
        (RUNNING, event("task_queued", at=-1), [synthesized("task_started")], DUPLICATE),
        (RUNNING, event("task_failed", at=1), [synthesized("task_started")], LIVE),
        # An end was caught up: it happened at 10.
        (ENDED, event("task_started", at=1), [synthesized("task_failed")], DUPLICATE),
        (ENDED, event("task_started", at=10), [synthesized("task_failed")], LIVE),
        (ENDED, event("task_completed", at=5), [synthesized("task_failed")], LATE),
        (ENDED, event("output", at=5), [synthesized("task_failed")], LATE),
        (ENDED, event("output", at=11), [synthesized("task_failed")], LIVE),
        (ENDED, event("task_failed", at=5), [synthesized("task_failed")], DUPLICATE),
        (ENDED, event("task_failed", at=11), [synthesized("task_failed")], DUPLICATE),
        # The end has no time in REST, but had happened at 8 by the orchestrator's clock.
        (ENDED, event("task_started", at=7), [synthesized("task_queued", before=8)], DUPLICATE),
        (ENDED, event("task_started", at=8), [synthesized("task_queued", before=8)], LIVE),
        (ENDED, event("task_completed", at=7), [synthesized("task_queued", before=8)], LATE),
        (ENDED, event("task_failed", at=7), [synthesized(before=8)], DUPLICATE),
        (ENDED, event("task_failed", at=9), [synthesized(before=8)], DUPLICATE),
        (ENDED, event("task_started", at=7), [synthesized(before=8, begun=True)], LIVE),
        (RUNNING, event("task_failed", at=7), [synthesized(before=8)], DUPLICATE),
        (RUNNING, event("task_completed", at=7), [synthesized(before=8)], LIVE),
        # It failed before 8, then completed before 20. A failure between the two is news of that time.
        (COMPLETED, event("task_completed", at=19), [TWICE], DUPLICATE),
        (COMPLETED, event("task_failed", at=7), [TWICE], DUPLICATE),
        (COMPLETED, event("task_failed", at=9), [TWICE], LATE),
        (COMPLETED, event("task_completed", at=7), [TWICE], LATE),
        # It reports an end of the attempt before.
        (RUNNING_AGAIN, event("task_failed", at=7), [NOTHING_SYNTHESIZED, synthesized(before=8)], DUPLICATE),
        (RUNNING_AGAIN, event("task_failed", at=9), [NOTHING_SYNTHESIZED, synthesized(before=8)], LIVE),
    ],
)
def test_every_relation_of_an_event_to_its_run(
    run: Run | None, live: Event, made: list[Synthesized], arrival: Arrival
) -> None:
    assert classify(run, live, made) is arrival


def test_a_synthesized_pause_is_repeated_only_while_it_lasts() -> None:
    ref = RunRef("p", Family.WORKFLOW, "e1")
    paused = event("workflow_execution_paused", executionId="e1", workflowId="w")
    made = [synthesized("workflow_execution_paused")]
    assert classify(Run(*ref, state=RunState.PAUSED), paused, made) is DUPLICATE
    assert classify(Run(*ref, state=RunState.RUNNING), paused, made) is LIVE


@pytest.mark.parametrize(
    ("live", "entry", "left"),
    [
        # Even with a late timestamp: the orchestrator's clock may have been ahead of our lower bound by any
        # amount.
        (event("task_failed", at=99), synthesized("task_queued", before=8), synthesized("task_queued")),
        (event("task_failed", at=1), synthesized("task_failed"), synthesized("task_failed")),
        (event("task_completed", at=1), synthesized(before=8, begun=True), synthesized(before=8)),
        (event("task_started", at=1), synthesized(before=8, begun=True), synthesized(begun=True)),
        (event("task_started", at=1), synthesized(before=8), synthesized(before=8)),
        (event("output", at=1), synthesized(before=8, begun=True), synthesized(before=8, begun=True)),
    ],
)
def test_ends_without_a_time_after_live_events(live: Event, entry: Synthesized, left: Synthesized) -> None:
    assert entry.after(live) == left


def test_an_end_without_a_time_is_recognised_after_any_other_event() -> None:
    completed = UntimedEnd("task_completed", NOW + timedelta(seconds=9))
    entry = Synthesized(ends=(failed(before=5), completed))
    late = event("task_failed", at=4)
    assert entry.is_end_repeated_by(late)
    assert not entry.is_end_repeated_by(event("task_failed", at=5))
    assert entry.after(late) == Synthesized(ends=(completed,))
    assert entry.after(event("task_completed", at=8)) == NOTHING_SYNTHESIZED, "the one before it was not heard of"
    assert entry.after(event("task_completed", at=5)) == NOTHING_SYNTHESIZED, (
        "REST may have shown it at that moment"
    )


def test_synthesized_events_are_remembered_for_a_while_with_any_system_clock() -> None:
    recent = RecentChanges(10)
    assert not recent.has_synthesized
    recent.remember([], {(REF, 1): synthesized("task_started")})
    recent.now_s = MAX_LATENESS_S
    assert recent.synthesized_for((REF, 1)) == synthesized("task_started")
    recent.remember([], {(REF, 1): synthesized("task_started", "task_failed")})
    recent.now_s = 2 * MAX_LATENESS_S
    assert recent.synthesized_for((REF, 1)) == synthesized("task_started", "task_failed")
    recent.now_s += 1
    assert recent.synthesized_for((REF, 1)) == recent.synthesized_for((REF, 2)) == NOTHING_SYNTHESIZED


def test_synthesized_events_of_other_attempts_are_kept_and_dropped_by_their_age() -> None:
    recent = RecentChanges(10)
    recent.now_s = MAX_LATENESS_S
    recent.remember([], {(REF, 1): synthesized("task_started")})
    recent.now_s = 2 * MAX_LATENESS_S
    recent.remember([], {(REF, 2): synthesized("task_failed")})
    assert recent.synthesized_for((REF, 1)) == synthesized("task_started")


def test_the_run_that_changed_first_is_dropped_first() -> None:
    recent = RecentChanges(2)
    other, third = (RunRef("p", Family.TASK, name) for name in ("t2", "t3"))
    recent.remember([REF], {})
    recent.remember([other], {})
    recent.remember([REF], {})
    recent.remember([third], {})
    assert (recent.has_changed(other, 1), recent.has_changed(other, 2)) == (True, False)
    assert recent.has_changed(REF, 2), "it changed again after the other one"


def test_changed_runs_and_dropped_ones() -> None:
    recent = RecentChanges(1)
    other = RunRef("p", Family.TASK, "t2")
    recent.remember([REF], {})
    assert (recent.has_changed(REF, 0), recent.has_changed(REF, 1), recent.has_changed(other, 0)) == (
        True,
        False,
        False,
    )
    recent.remember([other], {})
    assert recent.has_changed(REF, 0), "dropped: it may have"
    assert not recent.has_changed(REF, 1)
    recent.assume_all_changed()
    assert recent.has_changed(REF, 2)
    assert not recent.has_changed(REF, recent.transaction_no)
