"""What is remembered for a minute: which runs live events have moved, and what catching up has made."""

from datetime import timedelta

import pytest

from aintandem_notify.events import Event, Family
from aintandem_notify.ingest.lately import Lately, comes_late, says_again
from aintandem_notify.runs import Run, RunRef, RunState
from support.outbox import NOW, event

REF = RunRef("p", Family.TASK, "t1")
RUNNING = Run(*REF, state=RunState.RUNNING, started_at=NOW)
ENDED = Run(*REF, state=RunState.FAILED, started_at=NOW, ended_at=NOW + timedelta(seconds=10))


@pytest.mark.parametrize(
    ("run", "live", "made", "again", "late"),
    [
        (RUNNING, event("task_started", at=1), {"task_started"}, True, False),
        (RUNNING, event("task_queued", at=-1), {"task_started"}, True, False),
        (RUNNING, event("task_started", at=1), set(), False, False),
        (RUNNING, event("task_failed", at=1), {"task_started"}, False, False),
        (ENDED, event("task_started", at=1), {"task_failed"}, True, True),
        (ENDED, event("task_started", at=10), {"task_failed"}, False, False),
        (ENDED, event("task_started", at=1), set(), False, False),
        (ENDED, event("task_completed", at=5), {"task_failed"}, False, True),
        (ENDED, event("task_failed", at=11), {"task_failed"}, False, False),
    ],
)
def test_what_a_live_event_says_after_catching_up(
    run: Run, live: Event, made: set[str], again: bool, late: bool
) -> None:
    assert (says_again(run, live, made), comes_late(run, live, made)) == (again, late)


def test_a_pause_that_was_made_is_said_again_only_while_it_lasts() -> None:
    ref = RunRef("p", Family.WORKFLOW, "e1")
    paused = event("workflow_execution_paused", executionId="e1", workflowId="w")
    made = {"workflow_execution_paused"}
    assert says_again(Run(*ref, state=RunState.PAUSED), paused, made)
    assert not says_again(Run(*ref, state=RunState.RUNNING), paused, made)


def test_what_was_made_is_remembered_for_a_minute() -> None:
    lately = Lately(10)
    assert not lately.made_something
    lately.remember([], {(REF, 1): {"task_started"}}, NOW)
    lately.remember([], {(REF, 1): {"task_failed"}}, NOW + timedelta(seconds=60))
    assert lately.made_for((REF, 1), NOW + timedelta(seconds=120)) == {"task_started", "task_failed"}
    assert lately.made_for((REF, 1), NOW + timedelta(seconds=121)) == set()
    assert lately.made_for((REF, 2), NOW) == set()


def test_what_has_moved_since_and_what_is_not_known_any_more() -> None:
    lately = Lately(1)
    other = RunRef("p", Family.TASK, "t2")
    lately.remember([REF], {}, NOW)
    assert (lately.has_moved(REF, 0), lately.has_moved(REF, 1), lately.has_moved(other, 0)) == (True, False, False)
    lately.remember([other], {}, NOW)
    assert lately.has_moved(REF, 0), "dropped: it may have"
    assert not lately.has_moved(REF, 1)
    lately.doubt_everything()
    assert lately.has_moved(REF, 2)
    assert not lately.has_moved(REF, lately.moment)
