"""The one table from event type to model, from which all other tables of types follow."""

from collections.abc import Mapping
from typing import Final

from aintandem_notify.domain.events.base import Event, Family
from aintandem_notify.domain.events.local_events import (
    AgentDegradedEvent,
    AgentRecoveredEvent,
    AgentStartedEvent,
    AgentStoppedEvent,
    BacklogFoldedEvent,
    ConnectionConnectedEvent,
    ConnectionDisconnectedEvent,
    ConnectionErrorEvent,
    DestinationParkedEvent,
    DestinationRecoveredEvent,
    DigestEvent,
    FeedGapEvent,
    LoginFailedEvent,
    PluginFailedEvent,
    SilenceEndingEvent,
    StoreDegradedEvent,
)
from aintandem_notify.domain.events.watch_events import (
    RunArrivedEvent,
    RunMissingEvent,
    RunMovingEvent,
    RunOverdueEvent,
    RunStalledEvent,
    RunTooFastEvent,
    RunWaitingEvent,
)
from aintandem_notify.domain.events.wire_events import (
    SandboxCreatedEvent,
    SandboxErrorEvent,
    SandboxStartedEvent,
    SandboxStoppedEvent,
    TaskArtifactEvent,
    TaskCancelledEvent,
    TaskCompletedEvent,
    TaskFailedEvent,
    TaskOutputEvent,
    TaskQueuedEvent,
    TaskStartedEvent,
    TaskStepProgressEvent,
    WorkflowExecutionCompletedEvent,
    WorkflowExecutionCreatedEvent,
    WorkflowExecutionFailedEvent,
    WorkflowExecutionPausedEvent,
    WorkflowExecutionResumedEvent,
    WorkflowExecutionStartedEvent,
    WorkflowPhaseCompletedEvent,
    WorkflowPhaseStartedEvent,
)

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
    "agent_degraded": AgentDegradedEvent,
    "agent_recovered": AgentRecoveredEvent,
    "login_failed": LoginFailedEvent,
    "plugin_failed": PluginFailedEvent,
    "destination_parked": DestinationParkedEvent,
    "destination_recovered": DestinationRecoveredEvent,
    "store_degraded": StoreDegradedEvent,
    "feed_gap": FeedGapEvent,
    "backlog_folded": BacklogFoldedEvent,
    "digest": DigestEvent,
    "silence_ending": SilenceEndingEvent,
    "run_stalled": RunStalledEvent,
    "run_overdue": RunOverdueEvent,
    "run_waiting": RunWaitingEvent,
    "run_missing": RunMissingEvent,
    "run_too_fast": RunTooFastEvent,
    "run_moving": RunMovingEvent,
    "run_arrived": RunArrivedEvent,
}
"""Every known type and its model; the model has its ``family``."""

WIRE_FAMILIES: Final = frozenset({Family.TASK, Family.WORKFLOW, Family.SANDBOX})
"""The families that arrive over a project's socket."""

WIRE_MODELS: Final = {name: model for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}
"""The types that may arrive over a project's socket, and their models."""

LOCAL_TYPES: Final = EVENT_TYPES.keys() - WIRE_MODELS.keys()
"""The types that only the agent creates."""
