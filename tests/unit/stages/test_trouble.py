"""The events that begin trouble, and those that end it."""

from typing import Any

import pytest

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.runs import STATE_AFTER, Run, RunState
from aintandem_notify.stages.trouble import (
    ENDING_TYPES,
    FAILURE_TYPES,
    SUCCESS_TYPES,
    TROUBLE_TYPES,
    Ending,
    endings,
    failure_number,
    run_number,
    trouble_number,
)
from support.outbox import event

SANDBOX = {"sandboxId": "r1"}
WORKFLOW = {"executionId": "r1", "workflowId": "w"}
FIELDS: dict[str, dict[str, Any]] = {"task": {}, "workflow": WORKFLOW, "sandbox": SANDBOX}


def run(name: str = "import", run_id: str = "r1", kind: Family = Family.TASK, project: str = "p") -> Run:
    return Run(project, kind, run_id, name=name)


def happening(kind: str, **fields: Any) -> Event:
    return event(kind, **FIELDS[kind.split("_")[0]], **fields)


def ends(trouble: str, of: Run, ending: str, by: Run) -> Ending | None:
    number = trouble_number(happening(trouble), of)
    assert number is not None
    return endings(happening(ending), by).get(number)


def test_each_failure_and_each_success_is_one() -> None:
    assert {"task_failed", "workflow_execution_failed", "sandbox_error"} == FAILURE_TYPES
    successes = {name for name, state in STATE_AFTER.items() if state is RunState.COMPLETED}
    assert successes | {"sandbox_started"} == SUCCESS_TYPES
    assert FAILURE_TYPES < TROUBLE_TYPES
    assert SUCCESS_TYPES < ENDING_TYPES


def test_a_success_of_the_same_name_ends_a_failure_and_one_of_another_kind_or_project_does_not() -> None:
    assert ends("task_failed", run(), "task_completed", run(run_id="r2")) is Ending.GOOD
    assert ends("task_failed", run(), "task_completed", run("export")) is None
    assert ends("task_failed", run(), "task_completed", run(project="q")) is None
    assert ends("task_failed", run(), "workflow_execution_completed", run(kind=Family.WORKFLOW)) is None


def test_a_sandbox_works_again_when_it_runs() -> None:
    of = run(kind=Family.SANDBOX)
    assert ends("sandbox_error", of, "sandbox_started", of) is Ending.GOOD
    assert ends("sandbox_error", of, "sandbox_stopped", of) is Ending.GOOD


@pytest.mark.parametrize(
    ("ending", "way"),
    [
        ("workflow_execution_resumed", Ending.GOOD),
        ("workflow_execution_completed", Ending.GOOD),
        ("workflow_execution_failed", Ending.SUPERSEDED),
        ("workflow_execution_started", None),
    ],
)
def test_a_pause_is_trouble_of_one_run(ending: str, way: Ending | None) -> None:
    paused, other = run(kind=Family.WORKFLOW), run(kind=Family.WORKFLOW, run_id="r2")
    assert ends("workflow_execution_paused", paused, ending, paused) is way
    assert ends("workflow_execution_paused", paused, ending, other) is None


def test_a_cancelled_run_ends_no_failure() -> None:
    assert ends("task_failed", run(), "task_cancelled", run()) is None


def test_no_other_event_is_trouble() -> None:
    assert trouble_number(happening("task_started"), run()) is None
    assert trouble_number(happening("task_failed"), None) is None


def test_numbers_of_subjects_and_runs_are_different() -> None:
    assert failure_number(run("same", "same")) != run_number(run("same", "same"))
