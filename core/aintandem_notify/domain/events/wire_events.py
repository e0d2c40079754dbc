"""The 20 event types that arrive over a project's socket, as the orchestrator's guide describes them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from aintandem_notify.domain.events.base import Event, Family, UnknownEvent
from aintandem_notify.domain.events.field_types import (
    Id,
    OptionalInt,
    OptionalNumber,
    OptionalObject,
    OptionalText,
    Text,
)
from aintandem_notify.domain.events.record import Record


class TaskEvent(Event):
    """Base of the 8 task events."""

    family = Family.TASK
    identity: ClassVar[frozenset[str]] = Event.identity | {"task_id"}
    project_id: Id
    task_id: Id

    @property
    def run_id(self) -> str:
        """The task's id."""
        return self.task_id


class TaskQueuedEvent(TaskEvent, tag="task_queued"):
    """A task was added to the queue; ``input`` is its input.

    Example::

        match event:
            case TaskQueuedEvent(task=task, input=parameters):
                print("queued:", task, "with", parameters)
    """

    task: OptionalText = None
    input: OptionalObject = None


class TaskStartedEvent(TaskEvent, tag="task_started"):
    """A task started to run.

    Example::

        match event:
            case TaskStartedEvent(task_id=task_id):
                print("started:", task_id)
    """

    task: OptionalText = None


class TaskStepProgressEvent(TaskEvent, tag="step_progress"):
    """A step of a task made progress.

    ``status`` is usually pending, running, in-progress, completed, failed or skipped; any other is kept.
    ``progress`` is in percent.

    Example::

        match event:
            case TaskStepProgressEvent(step=step, progress=progress):
                print(step, progress, "%")
    """

    step_id: OptionalText = None
    step: OptionalText = None
    status: OptionalText = None
    message: OptionalText = None
    progress: OptionalNumber = None
    output: Any = None


class TaskOutputEvent(TaskEvent, tag="output"):
    """A piece of a task's terminal output, line breaks included.

    Example::

        match event:
            case TaskOutputEvent(output=output):
                print(output, end="")
    """

    step_id: OptionalText = None
    output: Text = ""


class Artifact(Record):
    """A file that a task created; ``type`` is a media type, ``size`` is in bytes.

    Example::

        match event:
            case TaskArtifactEvent(artifact=Artifact(path=path, type=kind, size=size)):
                print(path, kind, size, "bytes")
    """

    path: Text = ""
    type: Text = ""
    size: OptionalInt = None


class TaskArtifactEvent(TaskEvent, tag="artifact"):
    """A task created an artifact.

    Example::

        match event:
            case TaskArtifactEvent(artifact=artifact):
                print(artifact.path, artifact.size, "bytes")
    """

    artifact: Artifact


class TaskCompletedEvent(TaskEvent, tag="task_completed"):
    """A task ended successfully.

    ``duration`` is as the orchestrator sent it: the API names no unit for it, the simulator sends milliseconds.
    ``Run.duration`` is in seconds.

    Example::

        match event:
            case TaskCompletedEvent(output=output):
                print("result:", output)
    """

    task: OptionalText = None
    output: Any = None
    duration: OptionalNumber = None


class TaskFailedEvent(TaskEvent, tag="task_failed"):
    """A task ended with an error.

    Example::

        match event:
            case TaskFailedEvent(error=error):
                print("failed:", error)
    """

    task: OptionalText = None
    error: OptionalText = None
    output: Any = None


class TaskCancelledEvent(TaskEvent, tag="task_cancelled"):
    """A task was cancelled.

    Example::

        match event:
            case TaskCancelledEvent(task_id=task_id):
                print("cancelled:", task_id)
    """

    task: OptionalText = None


class WorkflowEvent(Event):
    """Base of the 8 workflow events."""

    family = Family.WORKFLOW
    identity: ClassVar[frozenset[str]] = Event.identity | {"execution_id"}
    project_id: Id
    execution_id: Id
    workflow_id: Id

    @property
    def run_id(self) -> str:
        """The execution's id."""
        return self.execution_id


class WorkflowExecutionCreatedEvent(WorkflowEvent, tag="workflow_execution_created"):
    """A workflow execution was created; ``input`` is its input.

    Example::

        match event:
            case WorkflowExecutionCreatedEvent(execution_id=execution_id):
                print("created:", execution_id)
    """

    input: OptionalObject = None


class WorkflowExecutionStartedEvent(WorkflowEvent, tag="workflow_execution_started"):
    """A workflow execution started.

    Example::

        match event:
            case WorkflowExecutionStartedEvent(workflow_id=workflow_id):
                print("started:", workflow_id)
    """


class WorkflowPhaseStartedEvent(WorkflowEvent, tag="workflow_phase_started"):
    """A phase of a workflow execution started.

    Example::

        match event:
            case WorkflowPhaseStartedEvent(phase=phase):
                print("phase:", phase)
    """

    phase_id: Id
    phase: OptionalText = None


class WorkflowPhaseCompletedEvent(WorkflowEvent, tag="workflow_phase_completed"):
    """A phase of a workflow execution ended.

    Example::

        match event:
            case WorkflowPhaseCompletedEvent(phase=phase, output=output):
                print(phase, "result:", output)
    """

    phase_id: Id
    phase: OptionalText = None
    output: Any = None


class WorkflowExecutionCompletedEvent(WorkflowEvent, tag="workflow_execution_completed"):
    """A workflow execution ended successfully.

    ``duration`` is as the orchestrator sent it: the API names no unit for it, the simulator sends milliseconds.

    Example::

        match event:
            case WorkflowExecutionCompletedEvent(output=output):
                print("result:", output)
    """

    output: Any = None
    duration: OptionalNumber = None


class WorkflowExecutionFailedEvent(WorkflowEvent, tag="workflow_execution_failed"):
    """A workflow execution ended with an error.

    Example::

        match event:
            case WorkflowExecutionFailedEvent(error=error):
                print("failed:", error)
    """

    error: OptionalText = None


class WorkflowExecutionPausedEvent(WorkflowEvent, tag="workflow_execution_paused"):
    """A workflow execution was paused.

    Example::

        match event:
            case WorkflowExecutionPausedEvent(execution_id=execution_id):
                print("paused:", execution_id)
    """


class WorkflowExecutionResumedEvent(WorkflowEvent, tag="workflow_execution_resumed"):
    """A workflow execution goes on after a pause.

    Example::

        match event:
            case WorkflowExecutionResumedEvent(execution_id=execution_id):
                print("goes on:", execution_id)
    """


class SandboxEvent(Event):
    """Base of the 4 sandbox events."""

    family = Family.SANDBOX
    identity: ClassVar[frozenset[str]] = Event.identity | {"sandbox_id"}
    project_id: Id
    # The orchestrator's container layer says containerId where its progress layer says sandboxId.
    other_names: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({"sandbox_id": ("containerId",)})
    sandbox_id: Id

    @property
    def run_id(self) -> str:
        """The sandbox's id."""
        return self.sandbox_id


class SandboxCreatedEvent(SandboxEvent, tag="sandbox_created"):
    """A sandbox was created.

    Example::

        match event:
            case SandboxCreatedEvent(image=image):
                print("created from", image)
    """

    image: OptionalText = None


class SandboxStartedEvent(SandboxEvent, tag="sandbox_started"):
    """A sandbox started.

    Example::

        match event:
            case SandboxStartedEvent(sandbox_id=sandbox_id):
                print("started:", sandbox_id)
    """


class SandboxStoppedEvent(SandboxEvent, tag="sandbox_stopped"):
    """A sandbox stopped.

    Example::

        match event:
            case SandboxStoppedEvent(exit_code=exit_code):
                print("stopped with", exit_code)
    """

    exit_code: OptionalInt = None


class SandboxErrorEvent(SandboxEvent, tag="sandbox_error"):
    """Something went wrong with a sandbox.

    Example::

        match event:
            case SandboxErrorEvent(error=error):
                print("failed:", error)
    """

    error: OptionalText = None


ProgressEvent = TaskEvent | WorkflowEvent | SandboxEvent | UnknownEvent
"""An event from a project's socket: of a task, a workflow or a sandbox, or of an unknown type."""
