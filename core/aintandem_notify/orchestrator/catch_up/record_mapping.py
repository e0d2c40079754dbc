"""From the records of the REST API to observations of runs. Pure; what cannot be read is left out."""

import re
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aintandem_notify.domain.events import Family, sanitize_value
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import MAX_NAME_LENGTH, RunRef, RunState
from aintandem_notify.domain.truncation import truncate_value
from aintandem_notify.orchestrator.rest.records import ExecutionRecord, OperationRecord, SandboxRecord, TaskRecord

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _table(words: Mapping[RunState, str]) -> Mapping[str, RunState]:
    return {word: state for state, some in words.items() for word in some.split()}


STATES: Final = _table(
    {
        RunState.QUEUED: "pending initializing queued created waiting scheduled",
        RunState.RUNNING: "running started in_progress active executing resumed",
        RunState.PAUSED: "paused suspended",
        RunState.COMPLETED: "completed complete succeeded success done finished",
        RunState.FAILED: "failed failure error errored timeout timed_out",
        RunState.CANCELLED: "cancelled canceled aborted",
    }
)
"""The words for where a task or a workflow execution stands, in lower case with underscores."""

SANDBOX_STATES: Final = _table(
    {
        RunState.QUEUED: "created pending creating starting pulling_image creating_sandbox starting_sandbox",
        RunState.RUNNING: "running started up paused restarting stopping stopping_sandbox",
        RunState.COMPLETED: "stopped exited removed deleted",
        RunState.FAILED: "error failed dead",
    }
)
"""The same for a sandbox, Docker's words included."""

STOPPING_OPERATIONS: Final = frozenset({"stop", "delete", "remove", "destroy"})
"""Operations after which a sandbox does not run any more."""


def normalize_status(status: str | None) -> str:
    """``In-Progress``, ``inProgress`` and ``IN_PROGRESS`` are one word."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", (status or "").strip())
    return re.sub(r"[\s\-]+", "_", text).lower()


def task_observation(project_id: str, record: TaskRecord, *, whole: bool = False) -> Observation | None:
    """What the record says; None when its status is no known word.

    Long texts are cut, and without secrets then, unless they are wanted ``whole``, as they came.
    """
    state = STATES.get(normalize_status(record.status))
    if state is None:
        return None
    return Observation(
        RunRef(project_id, Family.TASK, record.id),
        state,
        name=_name(record.task),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.completed_at,
        error=_text(record.error, whole=whole),
        output=_value(record.output, whole=whole),
        duration=record.duration,
    )


def execution_observation(project_id: str, record: ExecutionRecord, *, whole: bool = False) -> Observation | None:
    """What the record says; None when its status is no known word.

    Long texts are cut, and without secrets then, unless they are wanted ``whole``, as they came.
    """
    state = STATES.get(normalize_status(record.status))
    if state is None:
        return None
    return Observation(
        RunRef(project_id, Family.WORKFLOW, record.id),
        state,
        workflow_id=_name(record.workflow_id or record.workflow_name)[:512] or None,
        created_at=record.created_at,
        started_at=record.start_time,
        ended_at=record.end_time,
        error=_text(record.error, whole=whole),
        output=_value(record.output, whole=whole),
        duration=record.duration,
    )


def sandbox_observations(
    project_id: str,
    sandboxes: Iterable[SandboxRecord],
    operations: Iterable[OperationRecord],
    open_runs: Iterable[RunRef],
) -> list[Observation]:
    """The project's sandboxes, with what their latest operations say about how they ended.

    A sandbox that is not listed has stopped only if an operation says so. Where the list, which is of all
    projects, names none, a sandbox is this project's if it is known as such or its operations are about it.
    """
    latest = _latest_by_sandbox(one for one in operations if one.project_id in (None, project_id))
    ours = {run.id for run in open_runs if run.kind is Family.SANDBOX}
    listed = {one.id: one for one in sandboxes if one.id in ours or is_sandbox_of(project_id, one, latest)}
    found = [_observed_sandbox(project_id, record, latest.get(record.id)) for record in listed.values()]
    found += [_vanished(project_id, name, latest[name]) for name in ours - listed.keys() if name in latest]
    return [one for one in found if one is not None]


def is_sandbox_of(project_id: str, sandbox: SandboxRecord, operated: Container[str | None]) -> bool:
    """Whether the sandbox is the project's: as it says itself; where it does not, as the project's operations do.

    ``operated`` are the ids of the sandboxes that they are about.
    """
    return sandbox.id in operated if sandbox.project_id is None else sandbox.project_id == project_id


def _latest_by_sandbox(operations: Iterable[OperationRecord]) -> dict[str, OperationRecord]:
    latest: dict[str, OperationRecord] = {}
    for operation in operations:
        name = operation.sandbox_id
        if name and (name not in latest or _began(operation) > _began(latest[name])):
            latest[name] = operation
    return latest


def _began(operation: OperationRecord) -> datetime:
    return operation.created_at or operation.completed_at or _NEVER


def _observed_sandbox(
    project_id: str, record: SandboxRecord, operation: OperationRecord | None
) -> Observation | None:
    state = SANDBOX_STATES.get(normalize_status(record.status))
    if state is None:
        return None
    ref = RunRef(project_id, Family.SANDBOX, record.id)
    seen = Observation(
        ref,
        state,
        name=_name(record.name),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.stopped_at,
        error=_text(record.error),
    )
    if operation is None or state is RunState.RUNNING:
        return seen
    if normalize_status(operation.status) == "failed":
        return Observation(
            ref,
            RunState.FAILED,
            name=seen.name,
            created_at=operation.created_at,
            ended_at=operation.completed_at,
            error=_text(record.error or operation.error),
        )
    return _ended_by(seen, operation) or seen


def _ended_by(seen: Observation, operation: OperationRecord) -> Observation | None:
    """The end with the time that the operation gives it; None when it is not what ended the sandbox."""
    if seen.state is not RunState.COMPLETED or seen.ended_at is not None:
        return None
    ended = (
        normalize_status(operation.status) == "completed"
        and normalize_status(operation.kind) in STOPPING_OPERATIONS
    )
    if not ended:
        return None
    return Observation(
        seen.ref, seen.state, seen.name, None, seen.created_at, seen.started_at, operation.completed_at
    )


def _vanished(project_id: str, sandbox_id: str, operation: OperationRecord) -> Observation | None:
    gone = Observation(RunRef(project_id, Family.SANDBOX, sandbox_id), RunState.COMPLETED)
    return _ended_by(gone, operation)


def _value(value: Any, *, whole: bool = False) -> Any:
    """What a record says at length, as an event may hold it; all of it may be megabytes, of thousands of tasks."""
    fit = sanitize_value(value) if isinstance(value, list | dict) else value
    return sanitize_value(fit if whole else truncate_value(fit))


def _text(text: str | None, *, whole: bool = False) -> str | None:
    said: str | None = _value(text, whole=whole)
    return said


def _name(text: str | None) -> str:
    return " ".join((text or "").split())[:MAX_NAME_LENGTH]
