"""What the REST API tells about projects, runs and sandboxes, read tolerantly: only an id must be there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import AliasChoices, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from aintandem_notify.events import event_time
from aintandem_notify.events.base import Id, OptionalNumber, OptionalText

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _moment(value: object) -> datetime | None:
    moment = event_time(value, _NEVER)
    return None if moment is _NEVER else moment


Moment = Annotated[AwareDatetime | None, BeforeValidator(_moment)]
"""Aware UTC; None for what is missing or no time."""


class Record(BaseModel):
    """Base of what the API tells; unknown fields are kept, known ones in a wrong form are None."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True
    )


class ProjectRecord(Record):
    """A project."""

    id: Id = Field(validation_alias=AliasChoices("id", "projectId"))
    name: OptionalText = None


class TaskRecord(Record):
    """A task: ``status`` is pending, queued, running, completed, failed or cancelled; any other is kept."""

    id: Id = Field(validation_alias=AliasChoices("id", "taskId"))
    task: OptionalText = Field(None, validation_alias=AliasChoices("task", "title", "name"))
    status: OptionalText = None
    created_at: Moment = None
    started_at: Moment = None
    completed_at: Moment = None
    output: Any = None
    error: OptionalText = None
    duration: OptionalNumber = None


class ExecutionRecord(Record):
    """A workflow execution; ``duration`` is as the orchestrator sent it."""

    id: Id = Field(validation_alias=AliasChoices("id", "executionId"))
    workflow_id: OptionalText = None
    workflow_name: OptionalText = None
    status: OptionalText = None
    created_at: Moment = None
    start_time: Moment = Field(None, validation_alias=AliasChoices("startTime", "startedAt"))
    end_time: Moment = Field(None, validation_alias=AliasChoices("endTime", "completedAt", "endedAt"))
    duration: OptionalNumber = None
    output: Any = None
    error: OptionalText = None


class SandboxRecord(Record):
    """A sandbox."""

    id: Id = Field(validation_alias=AliasChoices("id", "sandboxId", "containerId"))
    project_id: OptionalText = None
    name: OptionalText = None
    status: OptionalText = None
    image: OptionalText = None
    created_at: Moment = None
    started_at: Moment = None
    stopped_at: Moment = Field(None, validation_alias=AliasChoices("stoppedAt", "finishedAt", "endedAt"))
    error: OptionalText = None


class OperationRecord(Record):
    """Something that is being done to a sandbox; ``status`` pending … completed, failed, cancelled."""

    id: Id = Field(validation_alias=AliasChoices("id", "operationId"))
    sandbox_id: OptionalText = Field(None, validation_alias=AliasChoices("sandboxId", "containerId", "flexyId"))
    kind: OptionalText = Field(None, validation_alias=AliasChoices("type", "kind", "operation", "action"))
    status: OptionalText = None
    created_at: Moment = Field(None, validation_alias=AliasChoices("createdAt", "startedAt"))
    completed_at: Moment = Field(None, validation_alias=AliasChoices("completedAt", "endedAt", "updatedAt"))
    error: OptionalText = None


RecordT = TypeVar("RecordT", bound=Record)


def records(model: type[RecordT], rows: Iterable[Mapping[str, Any]]) -> list[RecordT]:
    """The rows that can be read; one without an id is of no use and left out."""
    found = []
    for row in rows:
        try:
            found.append(model.model_validate(row))
        except ValidationError:
            continue
    return found
