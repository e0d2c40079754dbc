"""All plugin instances of an agent, each under a supervisor of its own."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

from aintandem_notify.config import InstanceConfig
from aintandem_notify.domain.events import AgentEvent, Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.runtime.calls import STUCK_AFTER_S, DeliveryResult
from aintandem_notify.plugins.runtime.instance import Instance, SharedServices
from aintandem_notify.plugins.runtime.states import InstanceState, InstanceStatus


class PluginLookup(Protocol):
    """Gives the plugin types that the config was checked with; ``Catalog`` is one."""

    def latest(self, name: str) -> PluginDescriptor:
        """The plugin called ``name``; raises PluginError."""
        ...


@asynccontextmanager
async def open_host(
    catalog: PluginLookup,
    *,
    http: HttpClient,
    clock: Clock,
    announce: Callable[[AgentEvent], None],
    chance: Chance,
    stuck_after_s: float = STUCK_AFTER_S,
) -> AsyncIterator["PluginHost"]:
    """A host without instances; whatever it then runs is stopped at the end, within a few seconds.

    ``announce`` is told, once for each spell of trouble, of instances that cannot be used. A ``def`` that is
    ``stuck_after_s`` seconds past its deadline is such trouble.
    """
    async with trio.open_nursery() as nursery:
        lent = SharedServices(http, clock, announce, chance, stuck_after_s)
        host = PluginHost(nursery, catalog, lent)
        try:
            yield host
        finally:
            with trio.CancelScope(shield=True):
                await host.stop_all()


class PluginHost:
    """Runs instances and calls their hooks; made by ``open_host``.

    ``catalog`` may be replaced before instances of a changed config are started. An instance that was stopped
    stays listed until another of its name is started.
    """

    def __init__(self, nursery: trio.Nursery, catalog: PluginLookup, lent: SharedServices) -> None:
        self.catalog = catalog
        self._nursery = nursery
        self._lent = lent
        self._instances: dict[str, Instance] = {}
        self._watchers: tuple[Instance, ...] = ()
        self._changed = trio.Event()

    async def start(self, instance: InstanceConfig) -> None:
        """Begin to supervise the instance; it may not be loaded yet on return.

        Raises PluginError for an unknown type, and ValueError if one of this name is running.
        """
        running = self._instances.get(instance.name)
        if running is not None and running.state is not InstanceState.STOPPED:
            raise ValueError(f"{instance.name} is running already")
        started = Instance(instance, self.catalog.latest(instance.type), self._lent, self._wake)
        self._instances[instance.name] = started
        self._update_watchers()
        self._nursery.start_soon(started.supervise, name=f"plugin {instance.name}")
        await trio.lowlevel.checkpoint()

    async def stop(self, name: str) -> None:
        """Tear the instance down, in a few seconds at the most; nothing happens if there is none."""
        if name in self._instances:
            await self._instances[name].stop()
            self._update_watchers()

    async def stop_all(self) -> None:
        """Tear all instances down, side by side."""
        async with trio.open_nursery() as nursery:
            for name in self._instances:
                nursery.start_soon(self.stop, name)

    def has_live_hooks(self) -> bool:
        """Whether any instance has live hooks; without one, ``publish`` need not be called."""
        return bool(self._watchers)

    def publish(self, event: Event, project: Project | None) -> None:
        """Show the event to all live hooks; never blocks, drops what a slow instance cannot take."""
        for instance in self._watchers:
            instance.publish(event, project)

    def is_loaded(self, name: str) -> bool:
        """Whether the instance is set up, so that its hooks can be called."""
        instance = self._instances.get(name)
        return instance is not None and instance.state is InstanceState.LOADED

    async def wait_loaded(self, name: str) -> None:
        """Returns while the instance is loaded; also waits for one that is yet to be started."""
        while not self.is_loaded(name):
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """Returns once no instance is being set up for the first time."""
        while any(instance.state is InstanceState.LOADING for instance in self._instances.values()):
            await self._changed.wait()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Hand the notifications to the destination, one after the other, once it is loaded.

        Gives one result for each that was tried: all of them, or up to and with the first that was not
        delivered. A ``deliver`` in a thread that outlasts its deadline is waited for; cancelling leaves it
        behind. One call at a time for each destination. Raises PluginError for an instance without
        ``deliver``.
        """
        await self.wait_loaded(name)
        return await self._instances[name].deliver(notifications)

    async def check(self, name: str) -> None:
        """Wait until the instance has been set up, then run its check.

        Raises what the check raised, and PluginError if there is no such instance or it cannot be set up.
        """
        instance = self._instance(name)
        while instance.state is InstanceState.LOADING:
            await self._changed.wait()
        await instance.check()

    async def diagnostics(self, name: str) -> dict[str, Any]:
        """What the instance says about itself, JSON values; raises as ``check`` does, but does not wait."""
        return await self._instance(name).diagnostics()

    def snapshot(self) -> tuple[InstanceStatus, ...]:
        """Where each instance stands, in the order of their start."""
        return tuple(instance.status for instance in self._instances.values())

    def _instance(self, name: str) -> Instance:
        if name not in self._instances:
            raise PluginError(name, "no such instance is running")
        return self._instances[name]

    def _update_watchers(self) -> None:
        self._watchers = tuple(
            instance
            for instance in self._instances.values()
            if instance.watches and instance.state is not InstanceState.STOPPED
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
