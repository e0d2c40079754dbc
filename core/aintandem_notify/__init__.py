"""aintandem-notify: tells the right people what happens to AInTandem tasks, workflows and sandboxes.

What plugins need (``aintandem_notify.api``), the library (``aintandem_notify.client``) and what can be raised
(``aintandem_notify.errors``) can be imported from here. Each name is looked up when it is first used, so that a
command line that only wants help imports little. Type checkers read the stub beside this file.
"""

import importlib
from collections.abc import Mapping

__version__ = "0.1.0"

_HOMES: Mapping[str, tuple[str, ...]] = {
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
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # the table is the list


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
