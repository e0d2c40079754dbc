"""The control API's view of a running agent: snapshots to read and functions to call, passed in by the agent."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.delivery import DestinationStatus
from aintandem_notify.domain.health import Health
from aintandem_notify.domain.reload import ReloadResult
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.http_server.connections import GRACE_S, SEND_TIMEOUT_MS
from aintandem_notify.orchestrator import ProjectStatus, UnwatchedProjects
from aintandem_notify.plugins import InstanceStatus
from aintandem_notify.store import Storage, StoreLiveness


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTimes:
    """How long the API waits, in seconds: for others, and for parts of the agent before it answers without them.

    ``keep_alive_s``: for the next request of a connection, and for its head. ``body_s``: for the body of a
    request. ``plugin_s`` and ``store_s``: for a plugin's ``diagnostics``, and for the store's part of the status.
    ``send_ms``, in milliseconds: for a client that does not read its answer. ``grace_s``: a connection that was
    idle for less is not closed to make room.
    """

    keep_alive_s: float = 10.0
    body_s: float = 10.0
    plugin_s: float = 10.0
    store_s: float = 3.0
    send_ms: int = SEND_TIMEOUT_MS
    grace_s: float = GRACE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAccess:
    """Snapshots and functions of a running agent.

    Call ``in_flight`` in the store's worker thread, where no claim happens at the same time. ``destinations``
    raises StoreError. Call ``look_again`` if something that is held may be due now. ``pause`` and ``resume``
    return whether anything changed; they raise StoreError, and LookupError for a name that is not ``pausable``.
    ``diagnose`` calls a plugin instance and lets its exceptions through. ``reload`` raises ReloadAbandonedError if
    the agent stops. ``wait_set_up`` returns once no instance is being set up for the first time.
    """

    config: Path
    version: str
    started_at: datetime
    clock: Clock
    storage: Storage
    liveness: StoreLiveness
    phase: Callable[[], str]
    health: Callable[[], Health]
    projects: Callable[[], Sequence[ProjectStatus]]
    unwatched: Callable[[], UnwatchedProjects | None]
    plugins: Callable[[], Sequence[InstanceStatus]]
    diagnose: Callable[[str], Awaitable[Mapping[str, Any]]]
    destinations: Callable[[], Awaitable[Sequence[DestinationStatus]]]
    pausable: Callable[[], Collection[str]]
    in_flight: Callable[[], Collection[int]]
    wake: Callable[[Iterable[str]], None]
    pause: Callable[[str], Awaitable[bool]]
    resume: Callable[[str], Awaitable[bool]]
    look_again: Callable[[], None]
    explainer: Callable[[], Explainer]
    reload: Callable[[], Awaitable[ReloadResult]]
    wait_set_up: Callable[[], Awaitable[None]]
    times: ControlTimes = ControlTimes()
