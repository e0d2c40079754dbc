"""The client library for programs that run on trio: everything in the user's guide.

    async with AInTandemClient(base_url="http://localhost:9900") as client:
        await client.auth.login("admin", "admin123")
        result = await client.run_task("project-123", "data-analysis", {"dataset": "sales-2024"})

It uses the agent's own ``orchestrator`` package for login, REST and sockets. Start reading at ``client``, then
``channels.channel`` (one project), ``channels.event_filter`` (which subscriber gets which event) and
``channels.subscriber_queue`` (the events that wait for one subscriber).
"""

from aintandem_notify.client.auth import Auth, User
from aintandem_notify.client.calls import Projects, Sandboxes, Tasks, Workflows
from aintandem_notify.client.channels.connection_events import ConnectionChange
from aintandem_notify.client.client import AInTandemClient
from aintandem_notify.client.progress import EventStream, Progress, ProgressSubscription
from aintandem_notify.client.run_task import TaskResult
from aintandem_notify.client.token_stores import FileTokens, KeyringTokens
from aintandem_notify.domain.events import (
    Artifact,
    ProgressEvent,
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
    UnknownEvent,
    WorkflowExecutionCompletedEvent,
    WorkflowExecutionCreatedEvent,
    WorkflowExecutionFailedEvent,
    WorkflowExecutionPausedEvent,
    WorkflowExecutionResumedEvent,
    WorkflowExecutionStartedEvent,
    WorkflowPhaseCompletedEvent,
    WorkflowPhaseStartedEvent,
)
from aintandem_notify.orchestrator import ConnectionState, MemoryTokens, StoredTokens, TokenStore
from aintandem_notify.orchestrator.rest.records import (
    ExecutionProgress,
    ExecutionRecord,
    OperationRecord,
    ProjectRecord,
    QueueStatus,
    SandboxRecord,
    SubmittedTask,
    TaskLimit,
    TaskRecord,
)

__all__ = [
    "AInTandemClient",
    "Artifact",
    "Auth",
    "ConnectionChange",
    "ConnectionState",
    "EventStream",
    "ExecutionProgress",
    "ExecutionRecord",
    "FileTokens",
    "KeyringTokens",
    "MemoryTokens",
    "OperationRecord",
    "Progress",
    "ProgressEvent",
    "ProgressSubscription",
    "ProjectRecord",
    "Projects",
    "QueueStatus",
    "SandboxCreatedEvent",
    "SandboxErrorEvent",
    "SandboxRecord",
    "SandboxStartedEvent",
    "SandboxStoppedEvent",
    "Sandboxes",
    "StoredTokens",
    "SubmittedTask",
    "TaskArtifactEvent",
    "TaskCancelledEvent",
    "TaskCompletedEvent",
    "TaskFailedEvent",
    "TaskLimit",
    "TaskOutputEvent",
    "TaskQueuedEvent",
    "TaskRecord",
    "TaskResult",
    "TaskStartedEvent",
    "TaskStepProgressEvent",
    "Tasks",
    "TokenStore",
    "UnknownEvent",
    "User",
    "WorkflowExecutionCompletedEvent",
    "WorkflowExecutionCreatedEvent",
    "WorkflowExecutionFailedEvent",
    "WorkflowExecutionPausedEvent",
    "WorkflowExecutionResumedEvent",
    "WorkflowExecutionStartedEvent",
    "WorkflowPhaseCompletedEvent",
    "WorkflowPhaseStartedEvent",
    "Workflows",
]
