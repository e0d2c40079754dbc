"""The 20 event types that arrive over a project's socket, as the orchestrator's guide describes them."""

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from aintandem_notify.domain.events.base import (
    Event,
    Family,
    Id,
    OptionalInt,
    OptionalNumber,
    OptionalObject,
    OptionalText,
    Text,
    UnknownEvent,
)


class TaskEvent(Event):
    """Base of the 8 task events."""

    family = Family.TASK
    identity = Event.identity | {"task_id"}
    project_id: Id
    task_id: Id

    @property
    def run_id(self) -> str:
        """The task's id."""
        return self.task_id


class TaskQueuedEvent(TaskEvent):
    """A task was added to the queue; ``input`` is its input.

    Example::

        match event:
            case TaskQueuedEvent(task=task, input=parameters):
                print("queued:", task, "with", parameters)
    """

    type: Literal["task_queued"] = "task_queued"
    task: OptionalText = None
    input: OptionalObject = None


class TaskStartedEvent(TaskEvent):
    """A task started to run.

    Example::

        match event:
            case TaskStartedEvent(task_id=task_id):
                print("started:", task_id)
    """

    type: Literal["task_started"] = "task_started"
    task: OptionalText = None


class TaskStepProgressEvent(TaskEvent):
    """A step of a task made progress.

    ``status`` is usually pending, running, in-progress, completed, failed or skipped; any other is kept.
    ``progress`` is in percent.

    Example::

        match event:
            case TaskStepProgressEvent(step=step, progress=progress):
                print(step, progress, "%")
    """

    type: Literal["step_progress"] = "step_progress"
    step_id: OptionalText = None
    step: OptionalText = None
    status: OptionalText = None
    message: OptionalText = None
    progress: OptionalNumber = None
    output: Any = None


class TaskOutputEvent(TaskEvent):
    """A piece of a task's terminal output, line breaks included.

    Example::

        match event:
            case TaskOutputEvent(output=output):
                print(output, end="")
    """

    type: Literal["output"] = "output"
    step_id: OptionalText = None
    output: Text = ""


class Artifact(BaseModel):
    """A file that a task created; ``type`` is a media type, ``size`` is in bytes.

    Example::

        match event:
            case TaskArtifactEvent(artifact=Artifact(path=path, type=kind, size=size)):
                print(path, kind, size, "bytes")
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)

    path: Text = ""
    type: Text = ""
    size: OptionalInt = None


class TaskArtifactEvent(TaskEvent):
    """A task created an artifact.

    Example::

        match event:
            case TaskArtifactEvent(artifact=artifact):
                print(artifact.path, artifact.size, "bytes")
    """

    type: Literal["artifact"] = "artifact"
    artifact: Artifact


class TaskCompletedEvent(TaskEvent):
    """A task ended successfully.

    ``duration`` is as the orchestrator sent it: the API names no unit for it, the simulator sends milliseconds.
    ``Run.duration`` is in seconds.

    Example::

        match event:
            case TaskCompletedEvent(output=output):
                print("result:", output)
    """

    type: Literal["task_completed"] = "task_completed"
    task: OptionalText = None
    output: Any = None
    duration: OptionalNumber = None


class TaskFailedEvent(TaskEvent):
    """A task ended with an error.

    Example::

        match event:
            case TaskFailedEvent(error=error):
                print("failed:", error)
    """

    type: Literal["task_failed"] = "task_failed"
    task: OptionalText = None
    error: OptionalText = None
    output: Any = None


class TaskCancelledEvent(TaskEvent):
    """A task was cancelled.

    Example::

        match event:
            case TaskCancelledEvent(task_id=task_id):
                print("cancelled:", task_id)
    """

    type: Literal["task_cancelled"] = "task_cancelled"
    task: OptionalText = None


class WorkflowEvent(Event):
    """Base of the 8 workflow events."""

    family = Family.WORKFLOW
    identity = Event.identity | {"execution_id"}
    project_id: Id
    execution_id: Id
    workflow_id: Id

    @property
    def run_id(self) -> str:
        """The execution's id."""
        return self.execution_id


class WorkflowExecutionCreatedEvent(WorkflowEvent):
    """A workflow execution was created; ``input`` is its input.

    Example::

        match event:
            case WorkflowExecutionCreatedEvent(execution_id=execution_id):
                print("created:", execution_id)
    """

    type: Literal["workflow_execution_created"] = "workflow_execution_created"
    input: OptionalObject = None


class WorkflowExecutionStartedEvent(WorkflowEvent):
    """A workflow execution started.

    Example::

        match event:
            case WorkflowExecutionStartedEvent(workflow_id=workflow_id):
                print("started:", workflow_id)
    """

    type: Literal["workflow_execution_started"] = "workflow_execution_started"


class WorkflowPhaseStartedEvent(WorkflowEvent):
    """A phase of a workflow execution started.

    Example::

        match event:
            case WorkflowPhaseStartedEvent(phase=phase):
                print("phase:", phase)
    """

    type: Literal["workflow_phase_started"] = "workflow_phase_started"
    phase_id: Id
    phase: OptionalText = None


class WorkflowPhaseCompletedEvent(WorkflowEvent):
    """A phase of a workflow execution ended.

    Example::

        match event:
            case WorkflowPhaseCompletedEvent(phase=phase, output=output):
                print(phase, "result:", output)
    """

    type: Literal["workflow_phase_completed"] = "workflow_phase_completed"
    phase_id: Id
    phase: OptionalText = None
    output: Any = None


class WorkflowExecutionCompletedEvent(WorkflowEvent):
    """A workflow execution ended successfully.

    ``duration`` is as the orchestrator sent it: the API names no unit for it, the simulator sends milliseconds.

    Example::

        match event:
            case WorkflowExecutionCompletedEvent(output=output):
                print("result:", output)
    """

    type: Literal["workflow_execution_completed"] = "workflow_execution_completed"
    output: Any = None
    duration: OptionalNumber = None


class WorkflowExecutionFailedEvent(WorkflowEvent):
    """A workflow execution ended with an error.

    Example::

        match event:
            case WorkflowExecutionFailedEvent(error=error):
                print("failed:", error)
    """

    type: Literal["workflow_execution_failed"] = "workflow_execution_failed"
    error: OptionalText = None


class WorkflowExecutionPausedEvent(WorkflowEvent):
    """A workflow execution was paused.

    Example::

        match event:
            case WorkflowExecutionPausedEvent(execution_id=execution_id):
                print("paused:", execution_id)
    """

    type: Literal["workflow_execution_paused"] = "workflow_execution_paused"


class WorkflowExecutionResumedEvent(WorkflowEvent):
    """A workflow execution goes on after a pause.

    Example::

        match event:
            case WorkflowExecutionResumedEvent(execution_id=execution_id):
                print("goes on:", execution_id)
    """

    type: Literal["workflow_execution_resumed"] = "workflow_execution_resumed"


class SandboxEvent(Event):
    """Base of the 4 sandbox events."""

    family = Family.SANDBOX
    identity = Event.identity | {"sandbox_id"}
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
    """A sandbox was created.

    Example::

        match event:
            case SandboxCreatedEvent(image=image):
                print("created from", image)
    """

    type: Literal["sandbox_created"] = "sandbox_created"
    image: OptionalText = None


class SandboxStartedEvent(SandboxEvent):
    """A sandbox started.

    Example::

        match event:
            case SandboxStartedEvent(sandbox_id=sandbox_id):
                print("started:", sandbox_id)
    """

    type: Literal["sandbox_started"] = "sandbox_started"


class SandboxStoppedEvent(SandboxEvent):
    """A sandbox stopped.

    Example::

        match event:
            case SandboxStoppedEvent(exit_code=exit_code):
                print("stopped with", exit_code)
    """

    type: Literal["sandbox_stopped"] = "sandbox_stopped"
    exit_code: OptionalInt = None


class SandboxErrorEvent(SandboxEvent):
    """Something went wrong with a sandbox.

    Example::

        match event:
            case SandboxErrorEvent(error=error):
                print("failed:", error)
    """

    type: Literal["sandbox_error"] = "sandbox_error"
    error: OptionalText = None


ProgressEvent = TaskEvent | WorkflowEvent | SandboxEvent | UnknownEvent
"""An event from a project's socket: of a task, a workflow or a sandbox, or of an unknown type."""
