"""What happens, as typed values: the 20 event types of the wire, our own, and a place for any other.

snake_case in Python, camelCase on the wire in both directions, unknown fields kept. ``parse_frame`` turns one
text frame of a project's socket into an event, a control message, or a word on why it is neither; it never
raises. One table, ``EVENT_TYPES``, maps a type to its model, and the model knows its family.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

MAX_DEPTH: Final = 100
"""Nesting that a frame may have; ours, well under the recursion limits of every JSON reader behind us."""


class Family(StrEnum):
    """What an event is about."""

    TASK = "task"
    WORKFLOW = "workflow"
    SANDBOX = "sandbox"
    CONNECTION = "connection"
    AGENT = "agent"
    UNKNOWN = "unknown"


def _as_text(value: object) -> object:
    """Text stays; anything else becomes its JSON, so that an error that is an object still arrives."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_number(value: object) -> float | None:
    """A finite number, also written as text; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]  # a TypeError is one of the answers
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_whole(value: object) -> int | None:
    number = _as_number(value)
    return None if number is None else int(number)


def _as_object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _as_flag(value: object) -> bool:
    return value is True


Id = Annotated[str, Field(min_length=1, max_length=512)]
Text = Annotated[str, BeforeValidator(_as_text)]
OptionalText = Annotated[str | None, BeforeValidator(_as_text)]
OptionalNumber = Annotated[float | None, BeforeValidator(_as_number)]
OptionalWhole = Annotated[int | None, BeforeValidator(_as_whole)]
OptionalObject = Annotated[dict[str, Any] | None, BeforeValidator(_as_object)]


class Event(BaseModel):
    """Something that happened.

    ``timestamp`` is the orchestrator's word for when, aware UTC. ``caught_up`` is true when the event was
    made from REST answers after a gap. Optional fields that arrive in a wrong form are None (numbers) or
    their JSON (texts): only what names the event must be right. ``wire()`` still holds what came.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        protected_namespaces=(),
    )

    family: ClassVar[Family] = Family.UNKNOWN

    type: str
    timestamp: AwareDatetime
    project_id: str | None = None
    caught_up: Annotated[bool, BeforeValidator(_as_flag)] = False

    _wire: dict[str, Any] | None = PrivateAttr(default=None)

    def wire(self) -> dict[str, Any]:
        """The event as JSON values in the wire's camelCase: as it came, unknown fields included."""
        if self._wire is not None:
            return self._wire
        fields = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {"type": self.type} | fields

    @classmethod
    def from_wire(cls, wire: dict[str, Any], timestamp: datetime) -> Self:
        """The event in ``wire``, which is kept as it is; raises pydantic's ValidationError."""
        event = cls.model_validate({**wire, "timestamp": timestamp})
        event._wire = wire  # noqa: SLF001  # ours, set once before anybody sees it
        return event

    @cached_property
    def key(self) -> str:
        """32 hex digits that are equal for frames with equal content, whatever their spacing and key order."""
        canonical = json.dumps(self.wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return blake2b(canonical.encode(), digest_size=16).hexdigest()

    @property
    def run_id(self) -> str | None:
        """The id of the task, workflow execution or sandbox; None for events that are about no run."""
        return None


class TaskEvent(Event):
    """Base of the 8 task events."""

    family = Family.TASK
    project_id: Id
    task_id: Id

    @property
    def run_id(self) -> str:
        """The task's id."""
        return self.task_id


class TaskQueuedEvent(TaskEvent):
    """A task was added to the queue."""

    type: Literal["task_queued"] = "task_queued"
    task: OptionalText = None
    input: OptionalObject = None


class TaskStartedEvent(TaskEvent):
    """A task started to run."""

    type: Literal["task_started"] = "task_started"
    task: OptionalText = None


class TaskStepProgressEvent(TaskEvent):
    """A step of a task moved.

    ``status`` is pending, running, in-progress, completed, failed or skipped in the wild; any other is kept.
    ``progress`` is in percent.
    """

    type: Literal["step_progress"] = "step_progress"
    step_id: OptionalText = None
    step: OptionalText = None
    status: OptionalText = None
    message: OptionalText = None
    progress: OptionalNumber = None
    output: Any = None


class TaskOutputEvent(TaskEvent):
    """A piece of what a task wrote to its terminal."""

    type: Literal["output"] = "output"
    step_id: OptionalText = None
    output: Text = ""


class Artifact(BaseModel):
    """A file that a task made; ``size`` in bytes."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)

    path: Text = ""
    type: Text = ""
    size: OptionalWhole = None


class TaskArtifactEvent(TaskEvent):
    """An artifact of a task was found."""

    type: Literal["artifact"] = "artifact"
    artifact: Artifact


class TaskCompletedEvent(TaskEvent):
    """A task ended well. ``duration`` is as the orchestrator sent it; ``Run.duration`` is in seconds."""

    type: Literal["task_completed"] = "task_completed"
    task: OptionalText = None
    output: Any = None
    duration: OptionalNumber = None


class TaskFailedEvent(TaskEvent):
    """A task ended with an error."""

    type: Literal["task_failed"] = "task_failed"
    task: OptionalText = None
    error: OptionalText = None
    output: Any = None


class TaskCancelledEvent(TaskEvent):
    """A task was cancelled."""

    type: Literal["task_cancelled"] = "task_cancelled"
    task: OptionalText = None


class WorkflowEvent(Event):
    """Base of the 8 workflow events."""

    family = Family.WORKFLOW
    project_id: Id
    execution_id: Id
    workflow_id: Id

    @property
    def run_id(self) -> str:
        """The execution's id."""
        return self.execution_id


class WorkflowExecutionCreatedEvent(WorkflowEvent):
    """A workflow execution was created."""

    type: Literal["workflow_execution_created"] = "workflow_execution_created"
    input: OptionalObject = None


class WorkflowExecutionStartedEvent(WorkflowEvent):
    """A workflow execution started."""

    type: Literal["workflow_execution_started"] = "workflow_execution_started"


class WorkflowPhaseStartedEvent(WorkflowEvent):
    """A phase of a workflow execution started."""

    type: Literal["workflow_phase_started"] = "workflow_phase_started"
    phase_id: Id
    phase: OptionalText = None


class WorkflowPhaseCompletedEvent(WorkflowEvent):
    """A phase of a workflow execution ended."""

    type: Literal["workflow_phase_completed"] = "workflow_phase_completed"
    phase_id: Id
    phase: OptionalText = None
    output: Any = None


class WorkflowExecutionCompletedEvent(WorkflowEvent):
    """A workflow execution ended well. ``duration`` is as the orchestrator sent it."""

    type: Literal["workflow_execution_completed"] = "workflow_execution_completed"
    output: Any = None
    duration: OptionalNumber = None


class WorkflowExecutionFailedEvent(WorkflowEvent):
    """A workflow execution ended with an error."""

    type: Literal["workflow_execution_failed"] = "workflow_execution_failed"
    error: OptionalText = None


class WorkflowExecutionPausedEvent(WorkflowEvent):
    """A workflow execution was paused."""

    type: Literal["workflow_execution_paused"] = "workflow_execution_paused"


class WorkflowExecutionResumedEvent(WorkflowEvent):
    """A workflow execution goes on after a pause."""

    type: Literal["workflow_execution_resumed"] = "workflow_execution_resumed"


class SandboxEvent(Event):
    """Base of the 4 sandbox events."""

    family = Family.SANDBOX
    project_id: Id
    # The orchestrator's container layer says containerId where its progress layer says sandboxId.
    sandbox_id: Id = Field(
        validation_alias=AliasChoices("sandboxId", "containerId", "sandbox_id"),
        serialization_alias="sandboxId",
    )

    @property
    def run_id(self) -> str:
        """The sandbox's id."""
        return self.sandbox_id


class SandboxCreatedEvent(SandboxEvent):
    """A sandbox was created."""

    type: Literal["sandbox_created"] = "sandbox_created"
    image: OptionalText = None


class SandboxStartedEvent(SandboxEvent):
    """A sandbox started."""

    type: Literal["sandbox_started"] = "sandbox_started"


class SandboxStoppedEvent(SandboxEvent):
    """A sandbox stopped."""

    type: Literal["sandbox_stopped"] = "sandbox_stopped"
    exit_code: OptionalWhole = None


class SandboxErrorEvent(SandboxEvent):
    """Something went wrong with a sandbox."""

    type: Literal["sandbox_error"] = "sandbox_error"
    error: OptionalText = None


class ConnectionEvent(Event):
    """Base of our own 3 events about a project's link."""

    family = Family.CONNECTION
    project_id: Id


class ConnectionConnectedEvent(ConnectionEvent):
    """The link of a project is up."""

    type: Literal["connection_connected"] = "connection_connected"


class ConnectionDisconnectedEvent(ConnectionEvent):
    """The link of a project went down; ``code`` is the WebSocket close code (1006: none was sent)."""

    type: Literal["connection_disconnected"] = "connection_disconnected"
    code: int = 1006
    reason: str = ""
    will_reconnect: bool = True


class ConnectionErrorEvent(ConnectionEvent):
    """The link of a project could not be made, or was refused."""

    type: Literal["connection_error"] = "connection_error"
    error: str = ""
    will_reconnect: bool = True


class AgentEvent(Event):
    """Base of our own events about the agent; ``reason`` says what happened in one line."""

    family = Family.AGENT
    reason: str = ""


class AgentStartedEvent(AgentEvent):
    """The agent runs; ``projects`` are watched and ``plugins`` instances are configured."""

    type: Literal["agent_started"] = "agent_started"
    version: str = ""
    projects: int = 0
    plugins: int = 0


class AgentStoppedEvent(AgentEvent):
    """The agent is about to end in good order."""

    type: Literal["agent_stopped"] = "agent_stopped"


class LoginFailedEvent(AgentEvent):
    """The orchestrator refused our credentials."""

    type: Literal["login_failed"] = "login_failed"


class PluginFailedEvent(AgentEvent):
    """A plugin instance (``instance``, as ``slack.team``) cannot be used."""

    type: Literal["plugin_failed"] = "plugin_failed"
    instance: str = ""


class DestinationParkedEvent(AgentEvent):
    """A destination (``instance``) is broken until somebody mends it; its queue is kept."""

    type: Literal["destination_parked"] = "destination_parked"
    instance: str = ""


class DestinationRecoveredEvent(AgentEvent):
    """A destination (``instance``) that was parked takes deliveries again."""

    type: Literal["destination_recovered"] = "destination_recovered"
    instance: str = ""


class UnknownEvent(Event):
    """An event of a type that this version does not know; its fields are in ``model_extra``."""


EVENT_TYPES: Final[Mapping[str, type[Event]]] = {
    "task_queued": TaskQueuedEvent,
    "task_started": TaskStartedEvent,
    "step_progress": TaskStepProgressEvent,
    "output": TaskOutputEvent,
    "artifact": TaskArtifactEvent,
    "task_completed": TaskCompletedEvent,
    "task_failed": TaskFailedEvent,
    "task_cancelled": TaskCancelledEvent,
    "workflow_execution_created": WorkflowExecutionCreatedEvent,
    "workflow_execution_started": WorkflowExecutionStartedEvent,
    "workflow_phase_started": WorkflowPhaseStartedEvent,
    "workflow_phase_completed": WorkflowPhaseCompletedEvent,
    "workflow_execution_completed": WorkflowExecutionCompletedEvent,
    "workflow_execution_failed": WorkflowExecutionFailedEvent,
    "workflow_execution_paused": WorkflowExecutionPausedEvent,
    "workflow_execution_resumed": WorkflowExecutionResumedEvent,
    "sandbox_created": SandboxCreatedEvent,
    "sandbox_started": SandboxStartedEvent,
    "sandbox_stopped": SandboxStoppedEvent,
    "sandbox_error": SandboxErrorEvent,
    "connection_connected": ConnectionConnectedEvent,
    "connection_disconnected": ConnectionDisconnectedEvent,
    "connection_error": ConnectionErrorEvent,
    "agent_started": AgentStartedEvent,
    "agent_stopped": AgentStoppedEvent,
    "login_failed": LoginFailedEvent,
    "plugin_failed": PluginFailedEvent,
    "destination_parked": DestinationParkedEvent,
    "destination_recovered": DestinationRecoveredEvent,
}
"""Every known type and its model; the model's ``family`` says what it is about."""

WIRE_FAMILIES: Final = frozenset({Family.TASK, Family.WORKFLOW, Family.SANDBOX})
"""The families that arrive over a project's socket."""

_WIRE_MODELS: Final = {name: model for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}

CONTROL_TYPES: Final = frozenset({"ping", "pong", "connected"})
"""Frames that keep the connection and are no events."""


class Flaw(StrEnum):
    """Why a frame is no event."""

    BINARY = "binary"
    MALFORMED = "malformed"
    NOT_AN_OBJECT = "not an object"
    TOO_DEEP = "nested too deep"
    NUMBER_OUT_OF_RANGE = "number out of range"
    NO_TYPE = "no type"
    OTHER_PROJECT = "another project's id"
    MISSING_OR_WRONG_FIELD = "missing or wrong field"


@dataclass(frozen=True, slots=True)
class Control:
    """A ``ping``, ``pong`` or ``connected`` frame."""

    type: str


@dataclass(frozen=True, slots=True)
class NoEvent:
    """A frame that cannot be an event; ``detail`` names the place, never the content."""

    flaw: Flaw
    detail: str = ""


_TIMESTAMP: Final = TypeAdapter(datetime)
# What can make a float infinite: a long exponent, or more digits than a float has room for.
_HUGE_NUMBER: Final = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{300}")


def event_time(value: object, default: datetime) -> datetime:
    """``value`` (ISO text, or seconds or milliseconds since 1970) as aware UTC; ``default`` if it is neither.

    A time without a zone is UTC.
    """
    if isinstance(value, datetime | str | int | float) and not isinstance(value, bool):
        try:
            moment = _TIMESTAMP.validate_python(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValidationError, OverflowError):
            return default
    return default


def parse_frame(frame: str | bytes, project_id: str, received_at: datetime) -> Event | Control | NoEvent:
    """What one WebSocket message of the project says. Never raises.

    A frame without ``projectId`` is taken to be about the project whose socket it came over, and a missing
    or unreadable ``timestamp`` is ``received_at``: neither is a reason to lose a failure. Lone surrogates
    (JavaScript cuts texts in the middle of a character) are replaced by U+FFFD for the same reason, so
    that every text of an event can be encoded.
    """
    if isinstance(frame, bytes | bytearray):
        return NoEvent(Flaw.BINARY)
    content = _read_json(frame)
    if isinstance(content, NoEvent):
        return content
    return event_from(content, project_id, received_at)


def event_from(content: dict[str, Any], project_id: str, received_at: datetime) -> Event | Control | NoEvent:
    """As ``parse_frame``, for a frame that is a JSON object already."""
    event_type = content.get("type")
    if not isinstance(event_type, str) or not event_type:
        return NoEvent(Flaw.NO_TYPE)
    if event_type in CONTROL_TYPES:
        return Control(event_type)
    if content.setdefault("projectId", project_id) != project_id:
        return NoEvent(Flaw.OTHER_PROJECT)
    stamp = content.get("timestamp")
    moment = event_time(stamp, received_at)
    # Only what the orchestrator sends may come over its socket: nobody fakes an agent's event from there.
    model = _WIRE_MODELS.get(event_type, UnknownEvent)
    try:
        event = model.from_wire(content, moment)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])
        return NoEvent(
            Flaw.MISSING_OR_WRONG_FIELD, f"{event_type}.{place}" if model is not UnknownEvent else place
        )
    if stamp is None:
        content["timestamp"] = moment.isoformat()
    return event


def restore_event(wire: Mapping[str, Any]) -> Event:
    """The event whose ``wire()`` was kept; any type, ours included. Raises pydantic's ValidationError."""
    model = EVENT_TYPES.get(str(wire.get("type")), UnknownEvent)
    return model.from_wire(dict(wire), event_time(wire.get("timestamp"), datetime.fromtimestamp(0, UTC)))


def _read_json(frame: str) -> dict[str, Any] | NoEvent:
    try:
        content = from_json(frame, allow_inf_nan=False)
    except ValueError:
        content = _read_json_slowly(frame)
    if isinstance(content, NoEvent):
        return content
    if not isinstance(content, dict):
        return NoEvent(Flaw.NOT_AN_OBJECT)
    if frame.count("[") + frame.count("{") > MAX_DEPTH and _depth_exceeds(content, MAX_DEPTH):
        return NoEvent(Flaw.TOO_DEEP)
    if _HUGE_NUMBER.search(frame) and _has_infinity(content):
        return NoEvent(Flaw.NUMBER_OUT_OF_RANGE)
    return content


def _read_json_slowly(frame: str) -> object:
    """What the fast reader refused: mends lone surrogates, names the flaw of anything else."""
    try:
        content = json.loads(frame, parse_constant=_refuse_constant)
    except RecursionError:
        return NoEvent(Flaw.TOO_DEEP)
    except json.JSONDecodeError:
        return NoEvent(Flaw.MALFORMED)
    except ValueError:  # NaN, Infinity, or an integer with more digits than Python converts
        return NoEvent(Flaw.NUMBER_OUT_OF_RANGE)
    if _depth_exceeds(content, MAX_DEPTH):
        return NoEvent(Flaw.TOO_DEEP)
    return _mend_surrogates(content)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _mend_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mend_surrogates(item) for item in value]
        case dict():
            return {_mend_surrogates(key): _mend_surrogates(item) for key, item in value.items()}
        case _:
            return value


def _depth_exceeds(value: object, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _has_infinity(value: object) -> bool:
    match value:
        case float():
            return math.isinf(value)
        case list():
            return any(map(_has_infinity, value))
        case dict():
            return any(map(_has_infinity, value.values()))
        case _:
            return False
