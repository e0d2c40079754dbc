"""Maps records of the REST API to observations of runs. Pure. Records with an unknown status are left out."""

import re
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aintandem_notify.domain.events import Family, sanitize_value
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import MAX_NAME_CHARACTERS, RunRef, RunState
from aintandem_notify.domain.truncation import truncate_value
from aintandem_notify.orchestrator.rest.records import ExecutionRecord, OperationRecord, SandboxRecord, TaskRecord

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _state_table(words: Mapping[RunState, str]) -> Mapping[str, RunState]:
    return {word: state for state, text in words.items() for word in text.split()}


STATES: Final = _state_table(
    {
        RunState.QUEUED: "pending initializing queued created waiting scheduled",
        RunState.RUNNING: "running started in_progress active executing resumed",
        RunState.PAUSED: "paused suspended",
        RunState.COMPLETED: "completed complete succeeded success done finished",
        RunState.FAILED: "failed failure error errored timeout timed_out",
        RunState.CANCELLED: "cancelled canceled aborted",
    }
)
"""By status word of a task or a workflow execution, in lower case with underscores: the state."""

SANDBOX_STATES: Final = _state_table(
    {
        RunState.QUEUED: "created pending creating starting pulling_image creating_sandbox starting_sandbox",
        RunState.RUNNING: "running started up paused restarting stopping stopping_sandbox",
        RunState.COMPLETED: "stopped exited removed deleted",
        RunState.FAILED: "error failed dead",
    }
)
"""By status word of a sandbox, Docker's words included: the state."""

STOPPING_OPERATIONS: Final = frozenset({"stop", "delete", "remove", "destroy"})
"""Kinds of operation that stop a sandbox."""


def normalize_status(status: str | None) -> str:
    """The status in one spelling: ``In-Progress``, ``inProgress`` and ``IN_PROGRESS`` are one word."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", (status or "").strip())
    return re.sub(r"[\s\-]+", "_", text).lower()


def task_observation(project_id: str, record: TaskRecord, *, whole: bool = False) -> Observation | None:
    """The observation in the record; None if its status is unknown.

    Long texts are truncated, with secrets redacted. ``whole``: texts are kept as they came.
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
    """The observation in the record; None if its status is unknown.

    Long texts are truncated, with secrets redacted. ``whole``: texts are kept as they came.
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
    """The project's sandboxes, with the ends that their latest operations show.

    A sandbox that is not listed has stopped only if an operation shows it. The list has the sandboxes of all
    projects. An entry without a project belongs to this one if it is a known run of the project, or if one of the
    project's operations is about it.
    """
    latest = _latest_by_sandbox(
        operation for operation in operations if operation.project_id in (None, project_id)
    )
    ours = {run.id for run in open_runs if run.kind is Family.SANDBOX}
    listed = {
        sandbox.id: sandbox
        for sandbox in sandboxes
        if sandbox.id in ours or is_sandbox_of(project_id, sandbox, latest)
    }
    observations = [_sandbox_observation(project_id, record, latest.get(record.id)) for record in listed.values()]
    observations += [
        _unlisted_observation(project_id, sandbox_id, latest[sandbox_id])
        for sandbox_id in ours - listed.keys()
        if sandbox_id in latest
    ]
    return [observation for observation in observations if observation is not None]


def is_sandbox_of(project_id: str, sandbox: SandboxRecord, operated_ids: Container[str | None]) -> bool:
    """Whether the sandbox belongs to the project.

    Its own record decides. If that names no project, ``operated_ids`` decides: the ids of the sandboxes that the
    project's operations are about.
    """
    return sandbox.id in operated_ids if sandbox.project_id is None else sandbox.project_id == project_id


def _latest_by_sandbox(operations: Iterable[OperationRecord]) -> dict[str, OperationRecord]:
    latest: dict[str, OperationRecord] = {}
    for operation in operations:
        name = operation.sandbox_id
        if name and (name not in latest or _start_of(operation) > _start_of(latest[name])):
            latest[name] = operation
    return latest


def _start_of(operation: OperationRecord) -> datetime:
    return operation.created_at or operation.completed_at or _NEVER


def _sandbox_observation(
    project_id: str, record: SandboxRecord, operation: OperationRecord | None
) -> Observation | None:
    state = SANDBOX_STATES.get(normalize_status(record.status))
    if state is None:
        return None
    ref = RunRef(project_id, Family.SANDBOX, record.id)
    observation = Observation(
        ref,
        state,
        name=_name(record.name),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.stopped_at,
        error=_text(record.error),
    )
    if operation is None or state is RunState.RUNNING:
        return observation
    if normalize_status(operation.status) == "failed":
        return Observation(
            ref,
            RunState.FAILED,
            name=observation.name,
            created_at=operation.created_at,
            ended_at=operation.completed_at,
            error=_text(record.error or operation.error),
        )
    return _with_end_of(observation, operation) or observation


def _with_end_of(observation: Observation, operation: OperationRecord) -> Observation | None:
    """The observation with the operation's end time; None if the operation did not end the sandbox."""
    if observation.state is not RunState.COMPLETED or observation.ended_at is not None:
        return None
    has_ended = (
        normalize_status(operation.status) == "completed"
        and normalize_status(operation.kind) in STOPPING_OPERATIONS
    )
    if not has_ended:
        return None
    return Observation(
        observation.ref,
        observation.state,
        observation.name,
        None,
        observation.created_at,
        observation.started_at,
        operation.completed_at,
    )


def _unlisted_observation(project_id: str, sandbox_id: str, operation: OperationRecord) -> Observation | None:
    stopped = Observation(RunRef(project_id, Family.SANDBOX, sandbox_id), RunState.COMPLETED)
    return _with_end_of(stopped, operation)


def _value(value: Any, *, whole: bool = False) -> Any:
    """A long value of a record, made fit for an event; those of thousands of tasks may be many megabytes."""
    fit = sanitize_value(value) if isinstance(value, list | dict) else value
    return sanitize_value(fit if whole else truncate_value(fit))


def _text(text: str | None, *, whole: bool = False) -> str | None:
    value: str | None = _value(text, whole=whole)
    return value


def _name(text: str | None) -> str:
    return " ".join((text or "").split())[:MAX_NAME_CHARACTERS]
