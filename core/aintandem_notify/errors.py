"""Every error that the framework raises on purpose, as one tree that says who must act.

AInTandemNotifyError
├─ ConfigError             the operator: the configuration is wrong; carries every problem found
├─ StoreError              the operator: the durable state cannot be opened or trusted
│  ├─ StoreFull            the operator: there is no room; the agent goes on by itself once there is
│  ├─ StoreDamaged         the operator: its file is broken, and nothing more is written into it
│  ├─ StoreInUse           the operator: another agent uses it
│  ├─ StatementFailed      nobody: the database library failed on one statement; the store itself is intact
│  ├─ TransactionConflict  nobody: a transaction of another agent was in the way; it is tried again
│  └─ MembershipLost       nobody: the other agents took this one for dead; it joins them again
├─ OrchestratorError       something is wrong between us and the orchestrator
│  ├─ LinkLost             nobody: the connection broke; we try again
│  │  └─ LinkGivenUp       the caller: we have tried too often and stop (library)
│  ├─ LinkRefused          the owner of the credentials
│  ├─ ProjectGone          the operator: no such project
│  ├─ Disconnected         nobody: the program itself disconnected while a task waited (library)
│  └─ ApiError             the caller: the REST API answered with an error
│     ├─ AuthenticationFailed, Forbidden, NotFound, Conflict, InvalidRequest
│     │  └─ NotLoggedIn    the caller: a login must come first (library)
│     └─ ServerTrouble     nobody: 5xx; we try again
├─ TaskEnded               the task's author: an awaited task did not complete (library)
│  └─ TaskFailed, TaskCancelled
├─ TokenStoreError         the user: the tokens cannot be stored or read (library)
├─ HttpFailed              nobody: a request got no response
├─ PluginError             the plugin's author
└─ Outcome                 raised by plugins: the result of a delivery or a set-up
   ├─ RetryLater, Rejected                         out of ``deliver``
   ├─ DestinationBroken, DestinationGone           out of ``deliver``: the operator
   └─ PluginNotReady                               out of ``lifespan``
"""

import copy
import copyreg
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aintandem_notify.foundation.printable import escape

if TYPE_CHECKING:
    from aintandem_notify.domain.events import TaskEvent, UnknownEvent

    _TaskEvents = Sequence[TaskEvent | UnknownEvent]

__all__ = [
    "AInTandemNotifyError",
    "ApiError",
    "AuthenticationFailed",
    "ConfigError",
    "Conflict",
    "DestinationBroken",
    "DestinationGone",
    "Disconnected",
    "Forbidden",
    "HttpFailed",
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
    "PluginNotReady",
    "Problem",
    "ProjectGone",
    "Rejected",
    "RetryLater",
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
]


class AInTandemNotifyError(Exception):
    """Base of all errors raised on purpose by this package. They can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are copied by ``type(error)(*args)``; ``args`` is the text alone, and ours take more.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration.

    ``key`` is the dotted path (``plugins.slack.team.webhok_url``, ``rules[0].notify``), empty for the file
    itself. ``line`` counts from 1; None if unknown.
    """

    message: str
    key: str = ""
    line: int | None = None

    def describe(self, source: str) -> str:
        """One line, ``config.toml:14: plugins.slack.team.webhok_url: unknown key; did you mean webhook_url?``"""
        place = source if self.line is None else f"{source}:{self.line}"
        return escape(": ".join(part for part in (place, self.key, self.message) if part))


class ConfigError(AInTandemNotifyError):
    """The configuration is wrong. ``str()`` has one line for each problem and never a secret."""

    def __init__(self, problems: Sequence[Problem], source: str = "config") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.source = source
        super().__init__("\n".join(problem.describe(source) for problem in self.problems))


class StoreError(AInTandemNotifyError):
    """The durable state cannot be opened, is used by another agent, or is damaged."""


class StoreFull(StoreError):
    """There is no room to write: a full disk, or a quota that is used up."""


class StoreDamaged(StoreError):
    """The file of the durable state is broken; more writes would make it worse."""


class MembershipLost(StoreError):
    """The agents that share the store took this one for dead and took over its claims."""


class StatementFailed(StoreError):
    """The database library raised an unexpected error for one statement; others may still succeed."""


class TransactionConflict(StoreError):
    """The database undid the transaction, since one of another agent and this one waited for each other."""


class StoreInUse(StoreError):
    """Another process uses the durable state, which allows one at a time."""


class OrchestratorError(AInTandemNotifyError):
    """Something is wrong between us and the orchestrator.

    ``project_id`` is the project whose connection was awaited (library); the text names it too. None if the error
    is about no project, or about the only one that is watched.
    """

    project_id: str | None = None

    def about(self, project_id: str) -> Self:
        """A copy of the error that names the project, for callers that wait for several projects."""
        error = copy.copy(self)
        error.project_id = project_id
        error.args = (f"project {project_id}: {self}",)
        return error


class LinkLost(OrchestratorError):
    """The connection broke or could not be made; trying again is right.

    ``code`` is the WebSocket close code, 1006 when the peer gave none.
    """

    def __init__(self, reason: str, code: int = 1006) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


class LinkGivenUp(LinkLost):
    """Reconnecting was given up after ``reconnect_attempts`` tries in a row; ``__cause__`` is the last error.

    ``code`` is as in ``LinkLost``.
    """


class LinkRefused(OrchestratorError):
    """The orchestrator refused our credentials for the socket.

    ``code`` is the HTTP status of the refused upgrade or the WebSocket close code.
    """

    def __init__(self, reason: str, code: int) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


class ProjectGone(OrchestratorError):
    """The orchestrator does not know the project.

    ``code`` is the HTTP status of the refused upgrade (404, 410) or the WebSocket close code (4404).
    """

    def __init__(self, reason: str, code: int = 4404) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


class Disconnected(OrchestratorError):
    """The program itself disconnected while a task waited for a connection or a response.

    ``disconnect`` was called, or the client's block was left.
    """


class ApiError(OrchestratorError):
    """The REST API answered with an error.

    ``code`` is the API's own error code (``NOT_FOUND``), empty if it gave none; ``status`` is the HTTP status.
    ``is_from_api`` is false if the response is none of the API's: a proxy or a login page may be its source.
    """

    is_from_api: bool = True

    def __init__(
        self, message: str, *, status: int, code: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        self.message = message
        self.status = status
        self.code = code
        self.details: dict[str, object] = dict(details or {})
        super().__init__(f"{message} (HTTP {status}{f', {code}' if code else ''})")


class AuthenticationFailed(ApiError):
    """401, or a login whose response has ``success: false``."""


class NotLoggedIn(AuthenticationFailed):
    """There was no login, or it has expired and cannot be repeated."""

    def __init__(self, message: str = "nobody is logged in; call client.auth.login first") -> None:
        super().__init__(message, status=401)
        self.args: tuple[object, ...] = (message,)  # no request was made, so there is no HTTP status to name


class Forbidden(ApiError):
    """403."""


class NotFound(ApiError):
    """404 or one of the ``…_NOT_FOUND`` codes."""


class Conflict(ApiError):
    """409: the object is in another state, in use, or exists already."""


class InvalidRequest(ApiError):
    """Any other 4xx."""


class ServerTrouble(ApiError):
    """5xx, 408 and 429: trying again is right.

    ``retry_after`` is in seconds; None if the server did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        details: Mapping[str, object] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, details=details)
        self.retry_after = retry_after


class TaskEnded(AInTandemNotifyError):
    """An awaited task failed or was cancelled.

    ``events`` are the events received about it, in order; the last one is its end. ``reason`` is the
    orchestrator's own text, empty if it gave none.
    """

    def __init__(
        self, project_id: str, task_id: str, *, verb: str, reason: str = "", events: "_TaskEvents" = ()
    ) -> None:
        self.project_id = project_id
        self.task_id = task_id
        self.reason = reason
        self.events: tuple[TaskEvent | UnknownEvent, ...] = tuple(events)
        super().__init__(f"task {task_id} {verb}{f': {reason}' if reason else ''}")


class TaskFailed(TaskEnded):
    """The task failed."""

    def __init__(self, project_id: str, task_id: str, *, reason: str = "", events: "_TaskEvents" = ()) -> None:
        super().__init__(project_id, task_id, verb="failed", reason=reason, events=events)


class TaskCancelled(TaskEnded):
    """The task was cancelled at the orchestrator."""

    def __init__(self, project_id: str, task_id: str, *, reason: str = "", events: "_TaskEvents" = ()) -> None:
        super().__init__(project_id, task_id, verb="was cancelled", reason=reason, events=events)


class TokenStoreError(AInTandemNotifyError):
    """Tokens cannot be read or stored; the text names the place and never a token."""


class HttpFailed(AInTandemNotifyError):
    """A request got no response: no DNS, refused, reset, TLS error, deadline passed, address not allowed.

    ``maybe_sent`` is true if the request may have reached the server. The text never has the URL's path, query or
    credentials.
    """

    def __init__(self, reason: str, *, maybe_sent: bool = False) -> None:
        self.reason = reason
        self.maybe_sent = maybe_sent
        super().__init__(reason)


class PluginError(AInTandemNotifyError):
    """A plugin cannot be found, imported or registered; ``plugin`` is its type or instance name."""

    def __init__(self, plugin: str, reason: str) -> None:
        self.plugin = plugin
        self.reason = reason
        super().__init__(f"{plugin}: {reason}")


class Outcome(AInTandemNotifyError):
    """Base of the errors that a plugin raises on purpose to report a result; none is a fault of the plugin."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class RetryLater(Outcome):
    """The destination has trouble: try this delivery again later, and let those behind it wait too.

    ``after``: seconds that the destination asked for; the agent never tries earlier. None leaves the pause to the
    agent.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class DestinationBroken(Outcome):
    """Only a person can repair the destination (wrong URL, revoked token): it is parked and keeps its queue."""


class DestinationGone(DestinationBroken):
    """The destination refuses everything for good: as ``DestinationBroken``, but it is not probed.

    It is tried again only after a resume, a reload or a change of its config.
    """


class Rejected(Outcome):
    """The destination will never accept this one message; others are fine."""


class PluginNotReady(Outcome):
    """Raised by ``lifespan``: a dependency is not ready yet; the plugin is set up again later."""
