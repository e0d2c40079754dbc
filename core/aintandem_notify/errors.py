"""Every error that the framework raises on purpose, drawn as one tree that says who must act.

AInTandemNotifyError
├─ ConfigError             the operator: the configuration is wrong; carries every problem found
├─ StoreError              the operator: the durable state cannot be opened or trusted
│  ├─ StoreFull            the operator: there is no room; the agent goes on by itself once there is
│  ├─ StoreDamaged         the operator: its file is broken, and nothing more is written into it
│  ├─ StoreInUse           the operator: another agent has it
│  ├─ StatementFailed      nobody: the database library broke on what it was given, the store itself is well
│  └─ MembershipLost       nobody: the other agents took this one for dead, it joins them anew
├─ OrchestratorError       something is wrong between us and the orchestrator
│  ├─ LinkLost             nobody: the connection broke, we try again
│  │  └─ LinkGivenUp       the caller: so often in vain that we do not (library)
│  ├─ LinkRefused          whoever owns the credentials
│  ├─ ProjectGone          the operator: no such project
│  ├─ Disconnected         nobody: the program itself disconnected while somebody waited (library)
│  └─ ApiError             the caller: the REST API answered with an error
│     ├─ AuthenticationFailed, Forbidden, NotFound, Conflict, InvalidRequest
│     │  └─ NotLoggedIn    the caller: nothing can be asked before a login (library)
│     └─ ServerTrouble     nobody: 5xx, we try again
├─ TaskEnded               the task's author: a task that somebody waited for did not complete (library)
│  └─ TaskFailed, TaskCancelled
├─ TokenStoreError         the user: the tokens cannot be kept or read where they should be (library)
├─ HttpFailed              nobody: a request got no answer
├─ PluginError             the plugin's author
└─ Outcome                 raised by plugins to say how a delivery or a set-up went
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
]


class AInTandemNotifyError(Exception):
    """Base of all errors raised on purpose by this package. They can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions call their class with ``args``; those are the text, and ours want more than that.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    ``key`` is the dotted path (``plugins.slack.team.webhok_url``, ``rules[0].notify``), empty for the file
    itself; ``line`` counts from 1, None when the place is not known.
    """

    message: str
    key: str = ""
    line: int | None = None

    def describe(self, source: str) -> str:
        """One line, ``config.toml:14: plugins.slack.team.webhok_url: unknown key; did you mean webhook_url?``"""
        place = source if self.line is None else f"{source}:{self.line}"
        return escape(": ".join(part for part in (place, self.key, self.message) if part))


class ConfigError(AInTandemNotifyError):
    """The configuration is wrong. ``str()`` is one line a problem and never holds a secret."""

    def __init__(self, problems: Sequence[Problem], source: str = "config") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(problem.describe(source) for problem in self.problems))


class StoreError(AInTandemNotifyError):
    """The durable state cannot be opened, is held by another agent, or is damaged."""


class StoreFull(StoreError):
    """There is no room to write: a full disk, or a quota that is used up."""


class StoreDamaged(StoreError):
    """The file of the durable state is broken; writing on would make it worse."""


class MembershipLost(StoreError):
    """The agents that share the store took this one for dead; what it had in hand is theirs now."""


class StatementFailed(StoreError):
    """The database library raised what it should not, over one statement; others may well be stored."""


class StoreInUse(StoreError):
    """Another process has the durable state, and it takes one at a time."""


class OrchestratorError(AInTandemNotifyError):
    """Something is wrong between us and the orchestrator.

    ``project_id`` is the project whose connection somebody waited for (library), which the text names too; None
    where it is about no project, or about the one that is being watched anyway.
    """

    project_id: str | None = None

    def about(self, project_id: str) -> Self:
        """The same error for whoever may wait for other projects too; one of its own, to be raised."""
        again = copy.copy(self)
        again.project_id = project_id
        again.args = (f"project {project_id}: {self}",)
        return again


class LinkLost(OrchestratorError):
    """The connection broke or could not be made; trying again is right.

    ``code`` is the WebSocket close code, 1006 when the peer gave none.
    """

    def __init__(self, reason: str, code: int = 1006) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


class LinkGivenUp(LinkLost):
    """Reconnecting was given up after ``reconnect_attempts`` tries in a row; ``__cause__`` is what ended the last.

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
    """The orchestrator does not know the project (HTTP 404 or close code 4404)."""


class Disconnected(OrchestratorError):
    """Somebody waited for a project's connection or an answer, and the program itself ended that.

    ``disconnect`` was called, or the client's block was left.
    """


class ApiError(OrchestratorError):
    """The REST API answered with an error.

    ``code`` is the API's own word (``NOT_FOUND``), empty when it gave none; ``status`` the HTTP status.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        self.message = message
        self.status = status
        self.code = code
        self.details = dict(details or {})
        super().__init__(f"{message} (HTTP {status}{f', {code}' if code else ''})")


class AuthenticationFailed(ApiError):
    """401, or a login that was answered with ``success: false``."""


class NotLoggedIn(AuthenticationFailed):
    """Nobody has logged in, or the login has ended and there is none to repeat."""

    def __init__(self, message: str = "nobody is logged in; call client.auth.login first") -> None:
        super().__init__(message, status=401)
        self.args = (message,)  # nothing was asked, so there was no HTTP status


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

    ``retry_after`` is in seconds, None when the server did not say.
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
    """A task that was waited for has ended, and not well.

    ``events`` are what was heard of it, in order, the last of them the end itself; ``reason`` is the
    orchestrator's own word, empty when it gave none.
    """

    def __init__(
        self, project_id: str, task_id: str, *, verb: str, reason: str = "", events: "_TaskEvents" = ()
    ) -> None:
        self.project_id = project_id
        self.task_id = task_id
        self.reason = reason
        self.events = tuple(events)
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
    """Tokens cannot be read or kept; the text names the place and never a token."""


class HttpFailed(AInTandemNotifyError):
    """A request got no answer: no DNS, refused, reset, TLS error, deadline passed, address not allowed.

    ``maybe_sent`` is true when the request may have reached the other side. The text never holds the URL's
    path, query or credentials.
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
    """Base of what a plugin raises to say how things went; not a fault of the plugin."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class RetryLater(Outcome):
    """The destination has trouble: try this delivery again, and let all that is behind it wait too.

    ``after``: seconds that the destination asked for; None leaves the pause to the agent. Never earlier than
    asked.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class DestinationBroken(Outcome):
    """Only a person can mend the destination (wrong URL, revoked token): park it and keep its queue."""


class DestinationGone(DestinationBroken):
    """The destination wants nothing more, ever: as ``DestinationBroken``, but it is not even probed.

    Tried again only once somebody resumes it, reloads, or changes its config.
    """


class Rejected(Outcome):
    """The destination will never take this one message; the others are fine."""


class PluginNotReady(Outcome):
    """Out of ``lifespan``: what the plugin needs is not there yet; set it up again later."""
