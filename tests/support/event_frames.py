"""Frames of every event type: those of the guide, and random ones that come near to them."""

from typing import Any

from hypothesis import strategies as st

from aintandem_notify.domain import events
from aintandem_notify.domain.events import CONTROL_TYPES, EVENT_TYPES, Event

HEAD = {"timestamp": "2026-05-04T01:00:00.250Z", "projectId": "project-123"}
TASK = HEAD | {"taskId": "task-1"}
EXECUTION = HEAD | {"executionId": "exec-1", "workflowId": "wf-1"}
SANDBOX = HEAD | {"sandboxId": "box-1"}

# A frame of each type with every field of the guide, the model, and the values of the fields.
FRAMES: list[tuple[dict[str, Any], type[Event], dict[str, Any]]] = [
    (
        TASK | {"type": "task_queued", "task": "data-analysis", "input": {"dataset": "sales-2024"}},
        events.TaskQueuedEvent,
        {"task_id": "task-1", "task": "data-analysis", "input": {"dataset": "sales-2024"}},
    ),
    (
        TASK | {"type": "task_started", "task": "data-analysis"},
        events.TaskStartedEvent,
        {"task_id": "task-1", "task": "data-analysis"},
    ),
    (
        TASK
        | {
            "type": "step_progress",
            "stepId": "step-3",
            "step": "Transform",
            "status": "in-progress",
            "message": "row 17",
            "progress": 42.5,
            "output": {"rows": [1, 2]},
        },
        events.TaskStepProgressEvent,
        {
            "step_id": "step-3",
            "step": "Transform",
            "status": "in-progress",
            "message": "row 17",
            "progress": 42.5,
            "output": {"rows": [1, 2]},
        },
    ),
    (
        TASK | {"type": "output", "stepId": "step-3", "output": "\x1b[32mok\x1b[0m\n"},
        events.TaskOutputEvent,
        {"step_id": "step-3", "output": "\x1b[32mok\x1b[0m\n"},
    ),
    (
        TASK | {"type": "artifact", "artifact": {"path": "out/report.pdf", "type": "pdf", "size": 1234}},
        events.TaskArtifactEvent,
        {"artifact": events.Artifact(path="out/report.pdf", type="pdf", size=1234)},
    ),
    (
        TASK | {"type": "task_completed", "task": "data-analysis", "output": [1, None], "duration": 61.5},
        events.TaskCompletedEvent,
        {"task": "data-analysis", "output": [1, None], "duration": 61.5},
    ),
    (
        TASK | {"type": "task_failed", "task": "data-analysis", "error": "no such table", "output": "…"},
        events.TaskFailedEvent,
        {"task": "data-analysis", "error": "no such table", "output": "…"},
    ),
    (
        TASK | {"type": "task_cancelled", "task": "data-analysis"},
        events.TaskCancelledEvent,
        {"task": "data-analysis"},
    ),
    (
        EXECUTION | {"type": "workflow_execution_created", "input": {"month": 5}},
        events.WorkflowExecutionCreatedEvent,
        {"execution_id": "exec-1", "workflow_id": "wf-1", "input": {"month": 5}},
    ),
    (EXECUTION | {"type": "workflow_execution_started"}, events.WorkflowExecutionStartedEvent, {}),
    (
        EXECUTION | {"type": "workflow_phase_started", "phaseId": "phase-1", "phase": "Extract"},
        events.WorkflowPhaseStartedEvent,
        {"phase_id": "phase-1", "phase": "Extract"},
    ),
    (
        EXECUTION
        | {"type": "workflow_phase_completed", "phaseId": "phase-1", "phase": "Extract", "output": {"n": 1}},
        events.WorkflowPhaseCompletedEvent,
        {"phase_id": "phase-1", "phase": "Extract", "output": {"n": 1}},
    ),
    (
        EXECUTION | {"type": "workflow_execution_completed", "output": "done", "duration": 7200},
        events.WorkflowExecutionCompletedEvent,
        {"output": "done", "duration": 7200.0},
    ),
    (
        EXECUTION | {"type": "workflow_execution_failed", "error": "phase 2 broke"},
        events.WorkflowExecutionFailedEvent,
        {"error": "phase 2 broke"},
    ),
    (EXECUTION | {"type": "workflow_execution_paused"}, events.WorkflowExecutionPausedEvent, {}),
    (EXECUTION | {"type": "workflow_execution_resumed"}, events.WorkflowExecutionResumedEvent, {}),
    (
        SANDBOX | {"type": "sandbox_created", "image": "python:3.11"},
        events.SandboxCreatedEvent,
        {"sandbox_id": "box-1", "image": "python:3.11"},
    ),
    (SANDBOX | {"type": "sandbox_started"}, events.SandboxStartedEvent, {"sandbox_id": "box-1"}),
    (
        SANDBOX | {"type": "sandbox_stopped", "exitCode": 137},
        events.SandboxStoppedEvent,
        {"sandbox_id": "box-1", "exit_code": 137},
    ),
    (
        SANDBOX | {"type": "sandbox_error", "error": "out of memory"},
        events.SandboxErrorEvent,
        {"sandbox_id": "box-1", "error": "out of memory"},
    ),
]
BY_TYPE = {frame["type"]: frame for frame, _, _ in FRAMES}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
# Objects that come near to events: real types and field names with any value.
near_frames = st.fixed_dictionaries(
    {"type": st.sampled_from([*EVENT_TYPES, *CONTROL_TYPES, "task_paused"]) | json_values},
    optional={
        name: json_values | st.just("p") | st.text(st.characters(categories=["Cs", "L"]), max_size=3)
        for name in (
            *("timestamp", "projectId", "taskId", "executionId", "workflowId", "phaseId", "sandboxId"),
            *("containerId", "task", "step", "status", "progress", "output", "artifact", "input", "duration"),
            *("error", "exitCode", "image", "caughtUp", "project_id", "task_id", "key", "wire", "family"),
        )
    },
)
