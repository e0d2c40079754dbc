"""aintandem-notify: notifies the right people about AInTandem tasks, workflows and sandboxes.

The names of ``aintandem_notify.api`` (for plugins), ``aintandem_notify.client`` (the library) and
``aintandem_notify.errors`` can be imported from here. Each name is imported at its first use, so that commands
such as ``--help`` start fast. Type checkers read the stub next to this file.
"""

import importlib
from collections.abc import Mapping

__version__ = "0.1.0"

_PUBLIC_NAMES: Mapping[str, tuple[str, ...]] = {
    "aintandem_notify.api": (
        "Clock",
        "ConnectionEvent",
        "DestinationBroken",
        "DestinationGone",
        "Duration",
        "Event",
        "Field",
        "FilePath",
        "HttpAnswer",
        "HttpClient",
        "HttpFailed",
        "Notification",
        "Plugin",
        "PluginConfig",
        "PluginContext",
        "PluginNotReady",
        "Project",
        "Rate",
        "Receipt",
        "Rejected",
        "RetryLater",
        "Run",
        "RunState",
        "SandboxEvent",
        "Secret",
        "Severity",
        "TaskEvent",
        "WorkflowEvent",
        "describe_duration",
        "escape_json",
        "escape_unprintable",
        "hookimpl",
        "local_time",
        "make_folder",
        "redact",
        "strip_unprintable",
    ),
    "aintandem_notify.client": (
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
    ),
    "aintandem_notify.errors": (
        "AInTandemNotifyError",
        "ApiError",
        "AuthenticationFailed",
        "ConfigError",
        "Conflict",
        "Disconnected",
        "Forbidden",
        "InvalidRequest",
        "LinkGivenUp",
        "LinkLost",
        "LinkRefused",
        "MembershipLost",
        "NotFound",
        "NotLoggedIn",
        "OrchestratorError",
        "Outcome",
        "PluginError",
        "Problem",
        "ProjectGone",
        "ServerTrouble",
        "StatementFailed",
        "StoreDamaged",
        "StoreError",
        "StoreFull",
        "StoreInUse",
        "TaskCancelled",
        "TaskEnded",
        "TaskFailed",
        "TokenStoreError",
        "TransactionConflict",
    ),
}
_MODULE_OF = {name: module for module, names in _PUBLIC_NAMES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    """Import the public name from its module (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
