"""Ends as REST tells them, as the events that a listener would have got."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aintandem_notify.client.ends import execution_end, task_end
from aintandem_notify.events import Event
from aintandem_notify.orchestrator.records import ExecutionRecord, TaskRecord

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


def said(event: Event | None) -> dict[str, Any]:
    assert event is not None
    assert event.caught_up
    wire = dict(event.wire())
    assert wire.pop("caughtUp") is True
    assert wire.pop("projectId") == "p"
    return wire


@pytest.mark.parametrize("status", ["pending", "queued", "running", "", None, "odd"])
def test_what_goes_on_has_no_end(status: str | None) -> None:
    assert task_end(TaskRecord.model_validate({"id": "t", "status": status}), "p", NOW) is None
    assert execution_end(ExecutionRecord.model_validate({"id": "x", "status": status}), "p", NOW) is None


@pytest.mark.parametrize(
    ("record", "event"),
    [
        (
            {"status": "completed", "task": "sum", "output": {"n": 1}, "completedAt": "2026-11-26T02:00:00Z"},
            {
                "type": "task_completed",
                "task": "sum",
                "output": {"n": 1},
                "timestamp": "2026-11-26T02:00:00+00:00",
            },
        ),
        ({"status": "COMPLETED", "error": "old"}, {"type": "task_completed", "timestamp": NOW.isoformat()}),
        (
            {"status": "failed", "error": "boom", "output": "line"},
            {"type": "task_failed", "error": "boom", "output": "line", "timestamp": NOW.isoformat()},
        ),
        ({"status": "cancelled", "output": "x"}, {"type": "task_cancelled", "timestamp": NOW.isoformat()}),
    ],
)
def test_tasks(record: dict[str, Any], event: dict[str, Any]) -> None:
    found = task_end(TaskRecord.model_validate({"id": "t"} | record), "p", NOW)
    assert said(found) == event | {"taskId": "t"}


@pytest.mark.parametrize(
    ("record", "event"),
    [
        (
            {"status": "completed", "workflowId": "w", "duration": 5, "output": [1], "endTime": 0},
            {
                "type": "workflow_execution_completed",
                "workflowId": "w",
                "duration": 5.0,
                "output": [1],
                "timestamp": "1970-01-01T00:00:00+00:00",
            },
        ),
        (
            {"status": "failed", "workflowName": "nightly", "error": "boom"},
            {
                "type": "workflow_execution_failed",
                "workflowId": "nightly",
                "error": "boom",
                "timestamp": NOW.isoformat(),
            },
        ),
        (
            {"status": "failed"},
            {"type": "workflow_execution_failed", "workflowId": "x", "timestamp": NOW.isoformat()},
        ),
    ],
)
def test_executions(record: dict[str, Any], event: dict[str, Any]) -> None:
    found = execution_end(ExecutionRecord.model_validate({"id": "x"} | record), "p", NOW)
    assert said(found) == event | {"executionId": "x"}


def test_a_cancelled_execution_has_no_event() -> None:
    assert execution_end(ExecutionRecord.model_validate({"id": "x", "status": "cancelled"}), "p", NOW) is None


def test_what_no_event_can_hold_is_no_end() -> None:
    assert task_end(TaskRecord.model_validate({"id": "t", "status": "completed"}), "", NOW) is None
