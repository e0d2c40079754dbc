"""Records of the REST API: projects, tasks, executions, sandboxes, operations. Only the id is required."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeVar, cast

from pydantic import AliasChoices, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from aintandem_notify.domain.events import event_time
from aintandem_notify.domain.events.field_types import (
    ConvertInvalid,
    Id,
    OptionalInt,
    OptionalNumber,
    OptionalText,
)
from aintandem_notify.orchestrator.protocol.responses import ForeignAnswer

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _parse_time(value: object) -> datetime | None:
    moment = event_time(value, _NEVER)
    return None if moment == _NEVER else moment  # Go's "no time" is equal to it


def _empty_tuple(_value: object) -> tuple[Any, ...]:
    return ()


def _none(_value: object) -> None:
    return None


Timestamp = Annotated[AwareDatetime | None, BeforeValidator(_parse_time)]
"""Aware UTC; None if the value is missing or not a time."""


class Record(BaseModel):
    """Base of the records. Unknown fields are kept; a known field with a wrong type is None."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True
    )


class ProjectRecord(Record):
    """A project; ``name`` is its display name.

    Example::

        for project in await client.projects.list():
            print(project.id, project.name)
    """

    id: Id = Field(validation_alias=AliasChoices("id", "projectId"))
    name: OptionalText = None


class ProjectList(NamedTuple):
    """The projects of a list. ``is_whole``: no row was left out, so a project that is absent was not listed."""

    projects: list[ProjectRecord]
    is_whole: bool = True


class TaskRecord(Record):
    """A task: ``status`` is pending, queued, running, completed, failed or cancelled; any other is kept.

    Times are aware UTC. ``duration`` is as the orchestrator sent it: the API names no unit for it, the
    simulator sends milliseconds.

    Example::

        task = await client.tasks.get_task("project-123", "task-1")
        print(task.task, task.status, task.created_at, task.output, task.error)
    """

    id: Id = Field(validation_alias=AliasChoices("id", "taskId"))
    project_id: OptionalText = None
    task: OptionalText = Field(None, validation_alias=AliasChoices("task", "title", "name"))
    status: OptionalText = None
    created_at: Timestamp = None
    started_at: Timestamp = None
    completed_at: Timestamp = None
    output: Any = None
    error: OptionalText = None
    duration: OptionalNumber = None


class SubmittedTask(Record):
    """The orchestrator's response to a submitted task.

    Example::

        submitted = await client.tasks.execute_task("project-123", "data-analysis")
        print(submitted.task_id, submitted.message)
    """

    task_id: Id = Field(validation_alias=AliasChoices("taskId", "id"))
    message: OptionalText = None


class QueueStatus(Record):
    """The number of a project's tasks in each state; None if the orchestrator does not say.

    Example::

        status = await client.tasks.queue_status("project-123")
        print(status.pending, "wait,", status.running, "run")
    """

    pending: OptionalInt = None
    running: OptionalInt = None
    completed: OptionalInt = None
    failed: OptionalInt = None


class TaskLimit(Record):
    """The number of tasks of a project that may run at the same time.

    Example::

        print((await client.tasks.set_task_limit("project-123", 3)).limit)
    """

    limit: OptionalInt = None
    sandbox_id: OptionalText = None
    message: OptionalText = None


class ExecutionProgress(Record):
    """The progress of a workflow execution: ``current`` of ``total`` phases, ``percentage`` of 100.

    Example::

        progress = (await client.workflows.get_execution("execution-1")).progress
        if progress is not None:
            print(progress.current, "of", progress.total, progress.message)
    """

    current: OptionalNumber = None
    total: OptionalNumber = None
    percentage: OptionalNumber = None
    message: OptionalText = None


class ExecutionRecord(Record):
    """A workflow execution; ``phases`` are the orchestrator's objects as they came.

    ``status`` is pending, initializing, running, paused, completed, failed or cancelled; any other is kept.
    Times are aware UTC. ``duration`` is as the orchestrator sent it: the API names no unit for it, the
    simulator sends milliseconds.

    Example::

        execution = await client.workflows.get_execution("execution-1")
        print(execution.workflow_name, execution.status, execution.start_time)
    """

    id: Id = Field(validation_alias=AliasChoices("id", "executionId"))
    project_id: OptionalText = None
    workflow_id: OptionalText = None
    workflow_name: OptionalText = None
    status: OptionalText = None
    phases: Annotated[tuple[Any, ...], ConvertInvalid(_empty_tuple)] = ()
    current_phase: Any = None
    total_phases: OptionalInt = None
    progress: Annotated[ExecutionProgress | None, ConvertInvalid(_none)] = None
    created_at: Timestamp = None
    start_time: Timestamp = Field(None, validation_alias=AliasChoices("startTime", "startedAt"))
    end_time: Timestamp = Field(None, validation_alias=AliasChoices("endTime", "completedAt", "endedAt"))
    duration: OptionalNumber = None
    output: Any = None
    error: OptionalText = None


class SandboxRecord(Record):
    """A sandbox; ``status`` is the orchestrator's own word. Times are aware UTC.

    Example::

        for sandbox in await client.sandboxes.list("project-123"):
            print(sandbox.id, sandbox.image, sandbox.status)
    """

    id: Id = Field(validation_alias=AliasChoices("id", "sandboxId", "containerId"))
    project_id: OptionalText = None
    name: OptionalText = None
    status: OptionalText = None
    image: OptionalText = None
    created_at: Timestamp = None
    started_at: Timestamp = None
    stopped_at: Timestamp = Field(None, validation_alias=AliasChoices("stoppedAt", "finishedAt", "endedAt"))
    error: OptionalText = None


class OperationRecord(Record):
    """An operation on a sandbox: ``kind`` is start, stop or restart.

    ``status`` is pending, in_progress, pulling_image, creating_sandbox, starting_sandbox, stopping_sandbox,
    completed, failed or cancelled; any other is kept. Times are aware UTC.

    Example::

        operation = await client.sandboxes.operation("operation-1")
        print(operation.kind, operation.status, operation.error)
    """

    id: Id = Field(validation_alias=AliasChoices("id", "operationId"))
    sandbox_id: OptionalText = Field(None, validation_alias=AliasChoices("sandboxId", "containerId", "flexyId"))
    kind: OptionalText = Field(None, validation_alias=AliasChoices("type", "kind", "operation", "action"))
    project_id: OptionalText = None
    status: OptionalText = None
    created_at: Timestamp = Field(None, validation_alias=AliasChoices("createdAt", "startTime", "startedAt"))
    completed_at: Timestamp = Field(
        None, validation_alias=AliasChoices("completedAt", "endTime", "endedAt", "updatedAt")
    )
    error: OptionalText = None


RecordT = TypeVar("RecordT", bound=Record)


def parse_records(model: type[RecordT], rows: Iterable[object]) -> list[RecordT]:
    """The records of the rows; rows that are not objects, or have no id, are left out.

    Raises ApiError if there are rows, and none is a record: that is no empty list.
    """
    return list(iter_records(model, list(rows)))


def iter_records(model: type[RecordT], rows: list[Any]) -> Iterator[RecordT]:
    """As ``parse_records``, one at a time. Each row is removed from ``rows`` once it is read: it may be large."""
    has_record = False
    for index, row in enumerate(rows):
        rows[index] = None
        if isinstance(row, dict):
            try:
                yield model.model_validate(row)
            except ValidationError:
                continue
            has_record = True
    if rows and not has_record:
        raise ForeignAnswer("no row of the answer's list has an id", status=200)


def without_extras(record: RecordT) -> RecordT:
    """A copy of the record with its known fields only, without other fields that the orchestrator sent."""
    known = {name: getattr(record, name) for name in type(record).model_fields}
    return cast("RecordT", type(record).model_construct(**known))
