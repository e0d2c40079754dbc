"""REST records become observations, in all spellings of statuses and shapes of records."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import RunRef
from aintandem_notify.orchestrator.catch_up.record_mapping import (
    execution_observation,
    normalize_status,
    sandbox_observations,
    task_observation,
)
from aintandem_notify.orchestrator.catch_up.rest_snapshot import is_page_older_than
from aintandem_notify.orchestrator.rest.records import (
    ExecutionRecord,
    OperationRecord,
    SandboxRecord,
    TaskRecord,
    parse_records,
)
from support.outbox import NOW


def task(**fields: Any) -> Observation | None:
    return task_observation("p", TaskRecord.model_validate({"taskId": "t1"} | fields))


def execution(**fields: Any) -> Observation | None:
    return execution_observation("p", ExecutionRecord.model_validate({"id": "e1"} | fields))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", "queued"),
        ("QUEUED", "queued"),
        ("initializing", "queued"),
        ("running", "running"),
        ("in-progress", "running"),
        ("inProgress", "running"),
        (" In Progress ", "running"),
        ("paused", "paused"),
        ("Completed", "completed"),
        ("failed", "failed"),
        ("canceled", "cancelled"),
        ("CANCELLED", "cancelled"),
        ("dreaming", None),
        ("", None),
        (None, None),
        (7, None),
        (["failed"], None),
    ],
)
def test_status_words(status: object, state: str | None) -> None:
    for observations in (task(status=status), execution(status=status)):
        assert (observations and observations.state) == state


@given(st.text())
def test_any_status_is_a_word(status: str) -> None:
    assert normalize_status(status) == normalize_status(normalize_status(status)) or not status.isascii()


def test_a_task_says_all_that_it_can() -> None:
    observations = task(
        title="Train  the\nmodel",
        status="failed",
        createdAt="2026-01-01T00:00:00Z",
        startedAt=1767225600000,
        completedAt="never",
        error={"code": 7},
        output=["a", {"b": 1}],
        duration="9",
    )
    assert observations == Observation(
        RunRef("p", Family.TASK, "t1"),
        observations.state if observations else None,  # type: ignore[arg-type]
        name="Train the model",
        created_at=NOW,
        started_at=NOW,
        error='{"code": 7}',
        output=["a", {"b": 1}],
        duration=9.0,
    )


def test_values_that_no_event_may_have_are_left_out() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    for odd in (deep, float("nan"), [float("inf")]):
        observations = task(status="completed", output=odd)
        assert observations is not None
        assert observations.output is None
    observations = task(status="failed", error="cut \ud83d", output={"a": "\udc00"})
    assert observations is not None
    assert (observations.error, observations.output) == ("cut \ufffd", {"a": "\ufffd"})


def test_an_execution_is_named_by_its_workflow() -> None:
    observations = execution(status="running", workflowId="w1", startedAt="2026-01-01T00:00:00Z")
    assert observations is not None
    assert (observations.ref.kind, observations.workflow_id, observations.started_at) == (
        Family.WORKFLOW,
        "w1",
        NOW,
    )
    observations = execution(status="running", workflowName="Nightly")
    assert observations is not None
    assert observations.workflow_id == "Nightly"


KNOWN = [RunRef("p", Family.SANDBOX, "b1"), RunRef("p", Family.TASK, "b9")]
STOP = {"id": "o1", "sandboxId": "b1", "type": "stop", "status": "completed", "completedAt": NOW}
SDK_STOP = {"id": "o1", "sandboxId": "b1", "type": "stop", "status": "completed", "startTime": NOW, "endTime": NOW}
"""The shape in the official SDK."""
EARLIER = NOW - timedelta(hours=1)
FAILED_START = {**STOP, "type": "start", "status": "failed", "error": "no image", "createdAt": NOW}


@pytest.mark.parametrize(
    ("sandbox", "operations", "expected"),
    [
        ({"status": "running"}, [], "running"),
        ({"status": "Exited"}, [], "completed"),
        ({"status": "dead", "error": "OOM"}, [], "failed"),
        ({"status": "pulling_image"}, [], "queued"),
        ({"status": "dreaming"}, [], None),
        ({"status": "stopped"}, [STOP], "completed at its time"),
        ({"status": "stopped", "projectId": None}, [STOP], "completed at its time"),
        ({"status": "stopped"}, [{**STOP, "status": "failed"}], "failed at its time"),
        ({"status": "stopped"}, [FAILED_START], "failed at its time"),
        ({"status": "running"}, [FAILED_START], "running"),
        ({"status": "stopped"}, [{**FAILED_START, "createdAt": EARLIER}, STOP], "completed"),
        (None, [STOP], "completed at its time"),
        ({"status": "stopped"}, [{**SDK_STOP, "startTime": EARLIER, "status": "failed"}, SDK_STOP], "completed"),
        ({"status": "stopped"}, [SDK_STOP], "completed at its time"),
        (None, [{**STOP, "type": "delete"}], "completed at its time"),
        (None, [{**STOP, "status": "in_progress"}], None),
        (None, [{**STOP, "type": "start"}], None),
        (None, [], None),
    ],
)
def test_a_sandbox_and_its_operations(
    sandbox: dict[str, Any] | None, operations: list[dict[str, Any]], expected: str | None
) -> None:
    rows = [] if sandbox is None else [{"id": "b1", "projectId": "p"} | sandbox]
    observations = sandbox_observations(
        "p", parse_records(SandboxRecord, rows), parse_records(OperationRecord, operations), KNOWN
    )
    if expected is None:
        assert observations == []
        return
    (only,) = observations
    state, _, timed = expected.partition(" ")
    assert (only.ref.id, only.state) == ("b1", state)
    if timed:
        assert only.ended_at == NOW


def test_sandboxes_of_other_projects_are_not_ours() -> None:
    rows = parse_records(
        SandboxRecord, [{"id": "x", "projectId": "q", "status": "error"}, {"id": "y", "status": "error"}]
    )
    assert sandbox_observations("p", rows, [], KNOWN) == []


def test_a_list_without_projects_has_our_known_runs_and_those_of_our_operations() -> None:
    rows = parse_records(SandboxRecord, [{"id": name, "status": "error"} for name in ("b1", "b2", "b3", "b4")])
    operations_rows = [
        {"id": "o1", "sandboxId": "b2", "type": "start", "status": "in_progress"},
        {"id": "o2", "sandboxId": "b3", "projectId": "p", "type": "start", "status": "in_progress"},
        {"id": "o3", "sandboxId": "b4", "projectId": "q", "type": "start", "status": "in_progress"},
    ]
    observations = sandbox_observations("p", rows, parse_records(OperationRecord, operations_rows), KNOWN)
    assert sorted(one.ref.id for one in observations) == ["b1", "b2", "b3"]


def test_an_operation_of_ours_makes_no_foreign_sandbox_ours() -> None:
    rows = parse_records(SandboxRecord, [{"id": "x", "projectId": "q", "status": "error"}])
    operations_rows = parse_records(
        OperationRecord, [{"id": "o1", "sandboxId": "x", "type": "start", "status": "completed"}]
    )
    assert sandbox_observations("p", rows, operations_rows, KNOWN) == []


def page(*hours: float | None) -> list[TaskRecord]:
    created = [None if hour is None else NOW + timedelta(hours=hour) for hour in hours]
    return [TaskRecord(id=f"t{n}", createdAt=moment) for n, moment in enumerate(created)]


@pytest.mark.parametrize(
    ("hours", "old"),
    [
        ([-2, -3, -3], True),
        ([-1], False),
        ([0, -3], False),
        ([-3, -2], False),
        ([-2, None], False),
        ([None], False),
        ([], False),
    ],
)
def test_a_page_is_the_last_that_matters(hours: list[float | None], old: bool) -> None:
    assert is_page_older_than(page(*hours), NOW - timedelta(hours=1.5)) is old
