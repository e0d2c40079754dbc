"""What the control API answers, as values: made by the agent, read back by the commands. Times are aware UTC.

A text may hold the name of a file, which may hold bytes that are no text (lone surrogates, to Python). JSON has an
escape for them that every reader but pydantic's takes, so both directions go through Python's own.
"""

import json
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from aintandem_notify.domain.notification import Severity
from aintandem_notify.foundation.printable import escape_json
from aintandem_notify.store import DeliveryState


class ResponseModel(BaseModel):
    """Base of all of them; fields that another version has beside ours are passed over."""

    model_config = ConfigDict(frozen=True, from_attributes=True, extra="ignore")

    def to_json(self, indent: int | None = None) -> str:
        """As JSON that can be encoded and printed."""
        return printable_json(self.model_dump(mode="json"), indent)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """What ``to_json`` made; raises ValueError (pydantic's is one) for anything else."""
        try:
            return cls.model_validate(json.loads(content))
        except RecursionError:
            raise ValueError("nested too deep") from None


def printable_json(value: object, indent: int | None = None) -> str:
    """JSON values as JSON that can be encoded and printed."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=indent))


class ProjectResponse(ResponseModel):
    """A watched project; as ``ProjectStatus``."""

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
    """How many projects no agent on the store watches, for want of places, and since when.."""

    projects: int
    since: datetime


class PluginResponse(ResponseModel):
    """A plugin instance; as ``InstanceStatus``."""

    name: str
    state: str
    reason: str | None
    since: datetime
    destination: bool
    dropped_events: int
    hook_errors: int


class PluginDetailResponse(PluginResponse):
    """All about an instance: ``facts`` are the plugin's own, ``silence`` is why it gave none."""

    facts: dict[str, Any]
    silence: str | None


class DestinationResponse(ResponseModel):
    """A destination; as ``DestinationStatus``. ``state`` is None where no agent works on its queue.

    ``oldest``: since when the oldest delivery waits. ``retry_at``: when it is tried again after trouble.
    """

    name: str
    state: str | None
    queued: int
    oldest: datetime | None
    last_error: str | None = None
    retry_at: datetime | None = None


class StoreResponse(ResponseModel):
    """The store by its name, and what keeps it from its work (None: nothing)."""

    name: str
    trouble: str | None = None


class PeerResponse(ResponseModel):
    """Another agent on the same store. ``lost``: for so long silent that the others take over what it has.

    ``places``: how many projects it can watch; None where it knows of no limit.
    """

    name: str
    version: str
    projects: int
    places: int | None = None
    seen_at: datetime
    lost: bool


class AgentResponse(ResponseModel):
    """The agent that runs. ``state`` is starting, running or stopping."""

    version: str
    pid: int
    state: str
    started_at: datetime
    address: str


class StatusResponse(ResponseModel):
    """All at a glance. ``agent`` is None when none runs; projects and plugins are known by one that runs only.

    ``trouble`` is why somebody should look after it, in a sentence; None when all is well. ``unwatched`` is
    None where an agent watches each project. ``peers`` are the other agents that share the store, all of them when
    ``agent`` is None.
    """

    config: str
    agent: AgentResponse | None
    trouble: str | None
    projects: tuple[ProjectResponse, ...] = ()
    unwatched: UnwatchedResponse | None = None
    plugins: tuple[PluginResponse, ...] = ()
    destinations: tuple[DestinationResponse, ...] = ()
    store: StoreResponse | None
    peers: tuple[PeerResponse, ...] = ()


class DeliveryResponse(ResponseModel):
    """A delivery. ``due_at`` is when a queued one may be tried again, ``settled_at`` when another one ended.

    ``title``, ``severity``, ``event`` and ``project`` are None when its notification is not kept any more.
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
    """Some deliveries, newest first; ``next`` is where the next page begins, None when there is none."""

    deliveries: tuple[DeliveryResponse, ...]
    next: int | None


class HoldResponse(ResponseModel):
    """What holds a destination back; ``retry_at`` is when it is tried again, None when that needs a person."""

    state: str
    retry_at: datetime | None
    last_error: str | None


class DeliveryDetailResponse(DeliveryResponse):
    """All about a delivery. ``content`` is its notification, ``receipt`` the last one of its thread there.

    ``fault`` is the plugin's exception that the last ``fault_count`` tries ended with, ``plain`` whether the next
    (or the last) try is as plain text. One that waits may do so for its destination (``held``) or for an earlier
    one of its run (``behind``). Of several agents ``claimed_by`` has it in hand; ``only_by`` alone can make it.
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
    """A delivery that was left alone, and why."""

    id: int
    reason: str


class BulkResponse(ResponseModel):
    """How many deliveries were changed, the ids of the first thousand, and some that were left alone."""

    count: int
    ids: tuple[int, ...]
    refused: tuple[RefusedDelivery, ...]


class DestinationChange(ResponseModel):
    """A destination that was paused or resumed; ``changed`` is false when it stood so already."""

    name: str
    changed: bool


class PauseResponse(ResponseModel):
    """The destinations that were named, in that order."""

    destinations: tuple[DestinationChange, ...]
