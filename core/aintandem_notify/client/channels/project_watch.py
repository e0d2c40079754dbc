"""The state of one run of ``watch_project``, and the error for tasks that waited for it."""

from dataclasses import dataclass, field

import trio

from aintandem_notify.errors import (
    Disconnected,
    HttpFailed,
    LinkGivenUp,
    LinkLost,
    OrchestratorError,
    ServerTrouble,
)
from aintandem_notify.orchestrator import ConnectionState


@dataclass(eq=False, slots=True)
class ProjectWatch:
    """One run of ``watch_project``, from the first request for a connection until it has ended."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    state: ConnectionState = ConnectionState.DISCONNECTED
    is_stopped: bool = False
    error: OrchestratorError | HttpFailed | None = None

    def ending_error(self, project_id: str) -> OrchestratorError:
        """The error to raise in a task that waited for a watch that has ended; a new one for each task."""
        match self.error:
            case None:
                return Disconnected("the program itself ended the connection").about(project_id)
            case LinkLost() | HttpFailed() | ServerTrouble() as error:
                reason = f"no connection, and no try is left: {error}"
                raised: OrchestratorError = LinkGivenUp(reason, getattr(error, "code", 1006)).about(project_id)
            case error:
                raised = error.about(project_id)
        raised.__cause__ = error.with_traceback(None)
        return raised
