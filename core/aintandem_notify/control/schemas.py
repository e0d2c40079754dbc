"""The response bodies of the control API: built by the agent, parsed by the commands. Times are aware UTC.

A text may contain a file name with bytes that are not UTF-8; Python represents them as lone surrogates. JSON can
escape these, but pydantic's parser refuses the escapes. Both directions therefore use Python's own ``json``.
"""

import json
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from aintandem_notify.domain.notification import Severity
from aintandem_notify.foundation.printable import escape_json
from aintandem_notify.store import DeliveryState


class ResponseModel(BaseModel):
    """Base of all responses. Ignores unknown fields, which another version may have added."""

    # A process uses few of the responses; pydantic takes milliseconds for each.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, from_attributes=True, extra="ignore", defer_build=True
    )

    def to_json(self, indent: int | None = None) -> str:
        """Returns JSON that can be encoded and printed."""
        return printable_json(self.model_dump(mode="json"), indent)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Parses the result of ``to_json``. Raises ValueError (pydantic's is one) for anything else."""
        try:
            return cls.model_validate(json.loads(content))
        except RecursionError:
            raise ValueError("nested too deep") from None


def printable_json(value: object, indent: int | None = None) -> str:
    """Returns a JSON value as JSON that can be encoded and printed."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=indent))


class ProjectResponse(ResponseModel):
    """A watched project; fields as in ``ProjectStatus``."""

    id: str
    name: str
    state: str
    since: datetime
    gone: bool
    connected_at: datetime | None
    attempts: int
    last_error: str | None
    events: int
    restarts: int


class UnwatchedResponse(ResponseModel):
    """The number of projects that no agent on the store has capacity to watch, and since when."""

    projects: int
    since: datetime


class PluginResponse(ResponseModel):
    """A plugin instance; fields as in ``InstanceStatus``."""

    name: str
    state: str
    reason: str | None
    since: datetime
    destination: bool
    dropped_events: int
    hook_errors: int


class PluginDetailResponse(PluginResponse):
    """Everything about an instance.

    ``facts`` come from the plugin. ``silence`` is the reason why it gave none; None if it answered.
    """

    facts: dict[str, Any]
    silence: str | None


class DestinationResponse(ResponseModel):
    """A destination; fields as in ``DestinationStatus``.

    ``state`` is None without a worker; where no agent runs, it is None if nothing holds the destination back.

    ``oldest``: time since which the oldest delivery waits. ``retry_at``: time of the next try after trouble.
    ``since``: time since which it is in its present trouble; None if it is well.
    """

    name: str
    state: str | None
    queued: int
    oldest: datetime | None
    last_error: str | None = None
    retry_at: datetime | None = None
    since: datetime | None = None


class DestinationListResponse(ResponseModel):
    """All destinations of the config, and those that only have a queue in the store."""

    destinations: tuple[DestinationResponse, ...]


class HeldResponse(ResponseModel):
    """Notifications that a stage of the rules holds for a destination, the first of them until ``until``."""

    destination: str
    stage: str
    count: int
    until: datetime


class SilenceResponse(ResponseModel):
    """A silence; ``matchers`` has a glob for each name, ``held`` is the number of notifications that it holds."""

    id: str
    matchers: dict[str, str]
    begins_at: datetime
    expires_at: datetime
    owner: str
    reason: str
    held: int = 0


class SilenceListResponse(ResponseModel):
    """Silences: those that are active, or those that were just ended."""

    silences: tuple[SilenceResponse, ...]


class StoreResponse(ResponseModel):
    """The store's name, and the reason why it does not work (None: it works)."""

    name: str
    trouble: str | None = None


class PeerResponse(ResponseModel):
    """Another agent on the same store. ``lost``: its lease has ended, so that the others take over its work.

    ``places``: number of projects that it can watch; None if it knows of no limit.
    """

    name: str
    version: str
    projects: int
    places: int | None = None
    seen_at: datetime
    lost: bool


class AgentResponse(ResponseModel):
    """The running agent. ``state`` is starting, running or stopping."""

    version: str
    pid: int
    state: str
    started_at: datetime
    address: str


class HealthAnswer(ResponseModel):
    """The answer of a health endpoint: whether the agent passes, and its health in one line.

    ``reason`` is that line if it does not pass, else None.
    """

    ok: bool
    health: str
    reason: str | None = None


class ReasonResponse(ResponseModel):
    """A reason why the agent is not well, true since ``since``.

    ``id`` is its kind, as in ``[health] unready``. ``subject`` is the project, destination or plugin instance that
    it is about; None for the whole agent.
    """

    id: str
    subject: str | None
    text: str
    since: datetime


class HealthResponse(ResponseModel):
    """The agent's health: ``state`` is well, degraded or failing. ``ready`` is false while it fails or starts."""

    state: str
    ready: bool
    reasons: tuple[ReasonResponse, ...] = ()


class StatusResponse(ResponseModel):
    """The whole status. ``agent`` is None if none runs; only a running agent knows ``projects`` and ``plugins``.

    ``trouble`` has the reasons why a person should look after the agent, in one line; None if it is well.
    ``health`` has them one by one; None if no agent runs.
    ``unwatched`` is None if every project has an agent. ``episodes`` is the number of open ones. ``peers`` are the
    other agents on the store; all of them if ``agent`` is None.
    """

    config: str
    agent: AgentResponse | None
    trouble: str | None
    health: HealthResponse | None = None
    projects: tuple[ProjectResponse, ...] = ()
    unwatched: UnwatchedResponse | None = None
    plugins: tuple[PluginResponse, ...] = ()
    destinations: tuple[DestinationResponse, ...] = ()
    held: tuple[HeldResponse, ...] = ()
    episodes: int = 0
    store: StoreResponse | None
    peers: tuple[PeerResponse, ...] = ()


class DeliveryResponse(ResponseModel):
    """A delivery. ``due_at`` is the earliest next try of a queued one; ``settled_at`` is the end of any other.

    ``title``, ``severity`` and ``project`` are None if its notification is no longer stored.
    """

    id: int
    notification: str
    destination: str
    state: DeliveryState
    created_at: datetime
    due_at: datetime | None
    settled_at: datetime | None
    attempts: int
    reason: str | None
    title: str | None
    severity: Severity | None
    project: str | None
    instead_of: str | None


class DeliveryPageResponse(ResponseModel):
    """Some deliveries, newest first. ``next`` is the ``before`` of the next page; None on the last page."""

    deliveries: tuple[DeliveryResponse, ...]
    next: int | None


class HoldResponse(ResponseModel):
    """The state that holds a destination back. ``retry_at`` is its next try; None if only a person can end it."""

    state: str
    retry_at: datetime | None
    last_error: str | None


class DeliveryDetailResponse(DeliveryResponse):
    """Everything about a delivery.

    ``content`` is its notification, ``receipt`` the last one of its thread at the destination. ``fault`` is the
    plugin's exception in each of the last ``fault_count`` tries. ``plain``: the next (or the last) try is as plain
    text. A queued delivery may wait for its destination (``held``) or for an earlier delivery of its run
    (``behind``). Where agents share the store, ``claimed_by`` is the agent that is sending it, and ``only_by`` is
    the only one that can send it.
    """

    thread: str
    fault: str | None
    fault_count: int
    plain: bool = False
    in_flight: bool
    claimed_by: str | None = None
    only_by: str | None = None
    behind: int | None = None
    held: HoldResponse | None = None
    content: dict[str, Any] | None
    receipt: dict[str, Any] | None


class RefusedDelivery(ResponseModel):
    """A delivery that was not changed, and the reason."""

    id: int
    reason: str


class BulkResponse(ResponseModel):
    """Number of changed deliveries, the ids of the first thousand, and up to a thousand that were not changed."""

    count: int
    ids: tuple[int, ...]
    refused: tuple[RefusedDelivery, ...]


class DestinationChange(ResponseModel):
    """A destination to pause or resume. ``changed`` is false if it was in that state already."""

    name: str
    changed: bool


class PauseResponse(ResponseModel):
    """The result of a pause or resume: the destinations in the order of the request."""

    destinations: tuple[DestinationChange, ...]


class ProblemResponse(ResponseModel):
    """A mistake in a config: its place and a sentence; keys as in ``check --json``. ``line`` None: unknown."""

    file: str
    line: int | None
    key: str
    sentence: str


class NotRunningResponse(ResponseModel):
    """A plugin instance that was started and does not run (yet), and the reason."""

    name: str
    reason: str


class ReloadResponse(ResponseModel):
    """The outcome of a reload; fields as in ``ReloadResult``. ``taken``: the file is now the config in use.

    ``not_running`` are those of the started and restarted instances that do not run.
    """

    taken: bool
    at: datetime
    config: str
    problems: tuple[ProblemResponse, ...] = ()
    restart_needed: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    not_running: tuple[NotRunningResponse, ...] = ()
    projects_added: tuple[str, ...] = ()
    projects_removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
