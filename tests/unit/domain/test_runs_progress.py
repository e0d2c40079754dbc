"""The time of a run's last progress, and the run that an event of a watch is about."""

from functools import reduce

import pytest

from aintandem_notify.domain.events import Event, Family, RunStalledEvent
from aintandem_notify.domain.runs import Run, RunRef, about_ref, advance, run_ref
from support.outbox import NOW, event


def moment_of(*events: Event) -> float | None:
    run: Run | None = reduce(advance, events, None)
    assert run is not None
    return None if run.progressed_at is None else (run.progressed_at - NOW).total_seconds()


def test_a_start_and_output_are_no_progress() -> None:
    assert moment_of(event("task_started", "t", at=0), event("output", "t", at=5, output="x")) is None


def test_a_new_step_or_percentage_is_progress() -> None:
    begun = event("step_progress", "t", at=10, step="load", progress=1)
    assert moment_of(begun) == 10
    assert moment_of(begun, event("step_progress", "t", at=20, step="load", progress=1)) == 10
    assert moment_of(begun, event("step_progress", "t", at=30, step="load", progress=2)) == 30
    assert moment_of(begun, event("step_progress", "t", at=40, step="train")) == 40


def test_a_phase_of_a_workflow_is_progress() -> None:
    ids = {"execution_id": "x", "workflow_id": "w", "phase_id": "1"}
    assert moment_of(event("workflow_phase_started", at=7, phase="build", **ids)) == 7


def test_a_new_attempt_has_made_no_progress() -> None:
    first = [event("step_progress", "t", at=10, progress=1), event("task_failed", "t", at=20)]
    assert moment_of(*first, event("task_started", "t", at=30)) is None


@pytest.mark.parametrize(
    ("kind", "about", "expected"),
    [
        ("task", "t1", RunRef("p", Family.TASK, "t1")),
        ("workflow", "x1", RunRef("p", Family.WORKFLOW, "x1")),
        ("", "", None),
        ("task", "", None),
        ("agent", "t1", None),
        ("nonsense", "t1", None),
    ],
)
def test_an_event_of_a_watch_is_about_a_run_but_makes_none(kind: str, about: str, expected: RunRef | None) -> None:
    stalled = RunStalledEvent(timestamp=NOW, project_id="p", kind=kind, about=about)
    assert about_ref(stalled) == expected
    assert run_ref(stalled) is None


def test_any_other_event_is_about_its_own_run() -> None:
    started = event("task_started", "t")
    assert about_ref(started) == run_ref(started) is not None
