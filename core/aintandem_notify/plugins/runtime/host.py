"""Runs all plugin instances of an agent, each under its own supervisor."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.config import InstanceConfig
from aintandem_notify.domain.events import AgentEvent, Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.loop_watchdog import Culprit, LoopStack
from aintandem_notify.http_client import HttpClient
from aintandem_notify.plugins.border.blocking_code import culprit_in
from aintandem_notify.plugins.border.missing_await import RUNNING_INSTANCE, noticing_missing_awaits
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.runtime.calls import STUCK_AFTER_S, DeliveryResult
from aintandem_notify.plugins.runtime.instance import Instance, SharedServices
from aintandem_notify.plugins.runtime.states import InstanceState, InstanceStatus

_log = log.get_logger(__name__)


class PluginLookup(Protocol):
    """Returns the plugin types that the config was checked with; ``Catalog`` implements it."""

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
    """A host without instances. Leaving the block stops all instances, within a few seconds.

    ``announce`` gets an event when an instance becomes unusable, and no second one until it has recovered. A call
    that is ``stuck_after_s`` seconds past its deadline makes its instance unusable.
    """
    with noticing_missing_awaits():
        async with trio.open_nursery() as nursery:
            services = SharedServices(http, clock, announce, chance, stuck_after_s)
            host = PluginHost(nursery, catalog, services)
            try:
                yield host
            finally:
                with trio.CancelScope(shield=True):
                    await host.stop_all()
                nursery.cancel_scope.cancel()


class PluginHost:
    """Runs instances and calls their hooks; created by ``open_host``.

    ``catalog`` may be replaced before instances of a changed config are started. A stopped instance stays in the
    snapshot until another one of its name is started.
    """

    def __init__(self, nursery: trio.Nursery, catalog: PluginLookup, services: SharedServices) -> None:
        self.catalog = catalog
        self._nursery = nursery
        self._services = services
        self._instances: dict[str, Instance] = {}
        self._live_instances: tuple[Instance, ...] = ()
        self._changed = trio.Event()

    async def start(self, instance: InstanceConfig) -> None:
        """Start to supervise the instance; on return it may not be loaded yet.

        Raises PluginError for an unknown type, and ValueError if an instance of this name is running.
        """
        running = self._instances.get(instance.name)
        if running is not None and running.state is not InstanceState.STOPPED:
            raise ValueError(f"{instance.name} is running already")
        descriptor = self.catalog.latest(instance.type)
        for problem in descriptor.warnings:
            _log.warning("probably a mistake in the plugin", plugin=instance.name, problem=problem)
        started = Instance(instance, descriptor, self._services, self._on_state_change)
        self._instances[instance.name] = started
        self._update_live_instances()
        self._nursery.start_soon(started.supervise, name=f"plugin {instance.name}")
        await trio.lowlevel.checkpoint()

    async def stop(self, name: str) -> None:
        """Stop the instance and tear it down, within a few seconds; does nothing for an unknown name."""
        if name in self._instances:
            await self._instances[name].stop()
            self._update_live_instances()

    async def stop_all(self) -> None:
        """Stop all instances concurrently."""
        async with trio.open_nursery() as nursery:
            for name in self._instances:
                nursery.start_soon(self.stop, name)

    def has_live_hooks(self) -> bool:
        """True if any instance has live hooks; otherwise ``publish`` need not be called."""
        return bool(self._live_instances)

    def publish(self, event: Event, project: Project | None) -> None:
        """Queue the event for all live hooks; never blocks: a full queue drops the event."""
        for instance in self._live_instances:
            instance.publish(event, project)

    def is_loaded(self, name: str) -> bool:
        """True if the instance is set up, so that its hooks can be called."""
        instance = self._instances.get(name)
        return instance is not None and instance.state is InstanceState.LOADED

    async def wait_loaded(self, name: str) -> None:
        """Wait until the instance is loaded; it may be started later."""
        while not self.is_loaded(name):
            await self._changed.wait()

    async def wait_set_up(self) -> None:
        """Wait until no instance is being set up for the first time."""
        while any(instance.state is InstanceState.LOADING for instance in self._instances.values()):
            await self._changed.wait()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Wait until the destination is loaded, then deliver the notifications in order.

        As ``DeliveryCalls.deliver``.
        """
        await self.wait_loaded(name)
        return await self._instances[name].deliveries.deliver(notifications)

    async def check(self, name: str) -> bool:
        """Wait until the instance has been set up, then run its check. Returns False if it has none.

        Raises the error of the check, translated by the border. Raises PluginError for an unknown instance or a
        failed set-up.
        """
        instance = self._instance(name)
        while instance.state is InstanceState.LOADING:
            await self._changed.wait()
        return await instance.check()

    async def diagnostics(self, name: str) -> dict[str, Any]:
        """The facts from the instance's ``diagnostics``, JSON values; raises like ``check``, but does not wait."""
        return await self._instance(name).diagnostics()

    def snapshot(self) -> tuple[InstanceStatus, ...]:
        """The status of each instance, in the order of their start."""
        return tuple(instance.status for instance in self._instances.values())

    def culprit(self, stack: LoopStack) -> Culprit | None:
        """The instance whose code runs in the stack, with its line; None if it is no plugin's. For any thread."""
        running = stack.context.get(RUNNING_INSTANCE) if stack.context is not None else None
        files = {each.name: each.source_files for each in tuple(self._instances.values())}
        return culprit_in(stack, files, running)

    def _instance(self, name: str) -> Instance:
        if name not in self._instances:
            raise PluginError(name, "no such instance is running")
        return self._instances[name]

    def _update_live_instances(self) -> None:
        self._live_instances = tuple(
            instance
            for instance in self._instances.values()
            if instance.has_live_hooks and instance.state is not InstanceState.STOPPED
        )

    def _on_state_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
