"""A plugin host for classes that a test defines, and a good plugin to run next to each bad one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import trio

from aintandem_notify.api import HttpClient, Notification, Plugin, PluginConfig, Severity, hookimpl
from aintandem_notify.config import InstanceConfig
from aintandem_notify.domain.events import AgentEvent, Event, PluginFailedEvent, TaskFailedEvent
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.plugins import (
    Catalog,
    InstanceState,
    InstanceStatus,
    PluginDescriptor,
    PluginHost,
    open_host,
)
from aintandem_notify.plugins.discovery.conventions import config_model_of, implemented_hooks
from aintandem_notify.plugins.runtime.calls import STUCK_AFTER_S
from aintandem_notify.plugins.runtime.host import PluginLookup

T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def descriptor_of(name: str, plugin_class: type[Plugin[Any]]) -> PluginDescriptor:
    """The descriptor that the catalog would make for the class."""
    hooks = implemented_hooks(plugin_class)
    return PluginDescriptor(
        name=name,
        plugin_class=plugin_class,
        config_model=config_model_of(plugin_class),
        delivers="deliver" in hooks,
        live_hooks=frozenset(hook for hook in hooks if hook.startswith("on_")),
        origin="a test",
    )


class Classes:
    """A catalog of classes, by type name."""

    def __init__(self, classes: dict[str, type[Plugin[Any]]]) -> None:
        self._descriptors = {name: descriptor_of(name, plugin_class) for name, plugin_class in classes.items()}

    def latest(self, name: str) -> PluginDescriptor:
        """The descriptor of this name."""
        if name not in self._descriptors:
            raise PluginError(name, "no such plugin was looked up")
        return self._descriptors[name]


class Files:
    """A catalog of plugin files, by type name, written into ``folder``/plugins."""

    def __init__(self, folder: Path, **sources: str) -> None:
        self.folder = folder / "plugins"
        self.folder.mkdir(exist_ok=True)
        self._catalog = Catalog(tuple)
        for name, source in sources.items():
            (self.folder / f"{name}.py").write_text(source, encoding="utf-8")
            self._catalog.find(name, self.folder)

    def latest(self, name: str) -> PluginDescriptor:
        """The descriptor of this name."""
        return self._catalog.latest(name)


def instance(type_name: str, catalog: PluginLookup, name: str = "x", **settings: Any) -> InstanceConfig:
    """``[plugins.<type>.<name>]`` with these keys, as Python values."""
    plugin = catalog.latest(type_name)
    return InstanceConfig(
        name=f"{type_name}.{name}",
        type=type_name,
        delivers=plugin.delivers,
        settings=plugin.config_model.model_construct(**PluginConfig().__dict__ | settings),
        common=PluginConfig.model_construct(**PluginConfig().__dict__ | settings),
    )


def task_failed(number: int = 1, project: str = "project-1") -> TaskFailedEvent:
    """The failure of task ``number``."""
    return TaskFailedEvent(timestamp=NOON, project_id=project, task_id=f"task-{number}", error="boom")


def notification(number: int = 1) -> Notification:
    """The notification about ``task_failed(number)``."""
    return Notification(
        id=f"ntf_{number}",
        thread=f"task/{number}/1",
        severity=Severity.ERROR,
        title=f"task {number} failed",
        event=task_failed(number),
        rule="failures",
        created_at=NOON,
    )


class Good(Plugin[PluginConfig]):
    """Accepts everything at once, and records it in ``seen`` and ``delivered`` of its class."""

    seen: list[Event]
    delivered: list[str]

    @hookimpl
    async def on_event(self, event: Event) -> None:
        """Record it."""
        self.seen.append(event)

    @hookimpl
    async def deliver(self, notification: Notification) -> dict[str, str]:
        """Record it."""
        self.delivered.append(notification.id)
        return {"for": notification.id}


def good() -> type[Good]:
    """A subclass of ``Good`` with its own lists."""
    return type("Good", (Good,), {"seen": [], "delivered": []})


@dataclass
class Bench:
    """A running host and its announcements."""

    host: PluginHost
    catalog: PluginLookup
    announced: list[AgentEvent] = field(default_factory=list)

    async def start(self, type_name: str, name: str = "x", **settings: Any) -> str:
        """Start an instance and return its name."""
        config = instance(type_name, self.catalog, name, **settings)
        await self.host.start(config)
        return config.name

    async def load(self, type_name: str, name: str = "x", **settings: Any) -> str:
        """Start an instance and wait until it is loaded."""
        started = await self.start(type_name, name, **settings)
        await self.host.wait_loaded(started)
        return started

    def status(self, name: str) -> InstanceStatus:
        """The status of the instance."""
        return next(status for status in self.host.snapshot() if status.name == name)

    async def until(self, name: str, state: InstanceState) -> InstanceStatus:
        """Wait for a state; not with a jumping clock, which jumps over the work of threads."""
        return await until(lambda: self.status(name), lambda status: status.state is state)

    @property
    def failures(self) -> list[tuple[str, str]]:
        """The instances that were announced as failed, with the reasons."""
        return [(event.instance, event.reason) for event in self.announced if isinstance(event, PluginFailedEvent)]


async def until(look: Callable[[], T], is_right: Callable[[T], bool]) -> T:
    """Poll ``look`` until its result is right, and return it."""
    while not is_right(value := look()):  # noqa: ASYNC110  # threads set no event
        await trio.sleep(0.001)
    return value


@asynccontextmanager
async def hosting(
    *,
    clock: Clock | None = None,
    chance: Chance = lambda: 0.0,
    stuck_after_s: float = STUCK_AFTER_S,
    files: Files | None = None,
    **classes: type[Plugin[Any]],
) -> AsyncIterator[Bench]:
    """A host with these plugin types, or with those of ``files``."""
    catalog = files or Classes(classes)
    announced: list[AgentEvent] = []
    async with open_host(
        catalog,
        http=HttpClient(),
        clock=clock or SystemClock(),
        announce=announced.append,
        chance=chance,
        stuck_after_s=stuck_after_s,
    ) as host:
        yield Bench(host, catalog, announced)
