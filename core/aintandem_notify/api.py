"""Everything that a plugin needs; plugins import no other module of ours.

from aintandem_notify.api import Notification, Plugin, PluginConfig, hookimpl

class Config(PluginConfig):
    times: int = 1

class Beep(Plugin[Config]):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        print("\\a" * self.config.times + notification.title)
"""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import trio
from structlog.typing import FilteringBoundLogger

from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.types.values import Duration, FilePath, Rate, Secret
from aintandem_notify.domain.events import ConnectionEvent, Event, SandboxEvent, TaskEvent, WorkflowEvent
from aintandem_notify.domain.notification import Field, Notification, Project, Severity
from aintandem_notify.domain.runs import Run, RunState
from aintandem_notify.errors import (
    DestinationBroken,
    DestinationGone,
    HttpFailed,
    PluginNotReady,
    Rejected,
    RetryLater,
)
from aintandem_notify.foundation.clock import Clock, local_time
from aintandem_notify.foundation.printable import escape as escape_unprintable
from aintandem_notify.foundation.printable import escape_json
from aintandem_notify.foundation.printable import strip as strip_unprintable
from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.hookspecs import Receipt, hookimpl
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.log import redact
from aintandem_notify.rules.formats import duration as describe_duration

__all__ = [
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
]

ConfigT = TypeVar("ConfigT", bound=PluginConfig)


@dataclass(frozen=True, slots=True)
class PluginContext:
    """The agent's services for one instance.

    ``name`` is the instance's name, such as ``slack.team``. ``http`` makes requests with the agent's proxy and CA
    settings. ``log`` is bound to the instance's name. ``nursery`` runs background tasks while the instance is set
    up; if one raises, only this instance is torn down and set up again. ``clock`` gives the wall-clock time.
    """

    name: str
    http: HttpClient
    log: FilteringBoundLogger
    nursery: trio.Nursery
    clock: Clock


class Plugin(Generic[ConfigT]):
    """Base class of every plugin; each configured instance is one object.

    ``Plugin[Config]`` names the model of the instance's table; plain ``Plugin`` accepts the reserved keys only.
    ``config`` and ``context`` are set before any hook runs.

    ``parallel``: the number of calls of ``deliver`` that may run at a time, never two about the same run. The
    instance's key of the same name overrides it. Use more than 1 for destinations that are far away, if they may
    get notifications of different runs in any order. A ``def deliver`` then runs in several threads.

    ``in_flight``: the number of notifications that may be delivered, one after the other, before the first is
    recorded as delivered. Use more than 1 only for fast, local destinations. If the agent is killed, up to
    ``parallel`` times so many may be delivered twice.

    ``digest_over``: if more notifications than this wait after an outage, the oldest ones without an error become
    one summary. The instance's key of the same name overrides it. None never summarizes; use it for destinations
    that programs read.

    ``machine_local``: True if only the agent's own machine can reach the destination, such as a desktop or a file.
    If several agents share a store, its notifications stay with the agent that made them.
    """

    parallel: ClassVar[int] = 1
    in_flight: ClassVar[int] = 1
    digest_over: ClassVar[int | None] = 50
    machine_local: ClassVar[bool] = False

    config: ConfigT
    context: PluginContext
