"""Starts, reloads and stops the agent's parts in the right order. ``composition`` builds them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from aintandem_notify import __version__, log
from aintandem_notify.agent.reloading import ReloadQueue, read_again
from aintandem_notify.agent.settings import (
    InstanceSettings,
    changed_plugins,
    changes_needing_restart,
    instance_settings,
    reload_result,
)
from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.delivery import Dispatcher
from aintandem_notify.domain.events import AgentEvent, AgentStartedEvent, AgentStoppedEvent
from aintandem_notify.domain.reload import RefusedReload, ReloadResult
from aintandem_notify.errors import ConfigError, Problem, StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.loop_watchdog import Block
from aintandem_notify.ingest import Ingest
from aintandem_notify.orchestrator import DiscoveryStatus, Fleet, ProjectStatus, UnwatchedProjects
from aintandem_notify.plugins import InstanceState, PluginHost
from aintandem_notify.plugins.config_loading import LoadedConfig
from aintandem_notify.sharing import LeaseHolder, address_hash_of, projects_hash_of
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.watches.watch import watches_of

_log = log.get_logger("agent")


class Agent:
    """Starts, reloads and stops the agent's parts. Made by ``composition.open_agent``."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        ingest: Ingest,
        host: PluginHost,
        dispatcher: Dispatcher,
        clock: Clock,
        member: LeaseHolder | None = None,
    ) -> None:
        self.loaded: LoadedConfig = loaded
        self._explainer: Explainer | None = None
        self._member = member
        self._ingest = ingest
        self._host = host
        self._dispatcher = dispatcher
        self._clock = clock
        self.phase: str = "starting"
        self.last_block: Callable[[], Block | None] = lambda: None
        """Returns the last time that the event loop was blocked; None if it never was, or if nobody watches it."""
        self._fleet: Fleet | None = None
        self._refused_reload: RefusedReload | None = None
        self.reloads: Final = ReloadQueue(self._reload)

    async def start(self, fleet: Fleet) -> None:
        """Starts every instance, then every project, so that every event finds its destinations."""
        config = self.loaded.config
        self._fleet = fleet
        fleet.expect(config.projects)
        self._use_rules(self.loaded)
        self._ingest.releases.begin(fleet.is_up_to_date)
        await self._publish_destinations()
        for instance in instance_settings(self.loaded).values():
            await self._start_instance(instance)
        await self._dispatcher.log_orphaned_queues()
        self._ingest.announce(
            AgentStartedEvent(
                timestamp=self._clock.now(),
                version=__version__,
                projects=len(config.projects),
                plugins=len(config.instances),
            )
        )
        await fleet.set_projects(config.projects, config.connection)
        self.phase = "running"
        _log.info("started", version=__version__, config=str(config.source), plugins=len(config.instances))

    async def shut_down(self) -> None:
        """Stores the last event and drains the destinations. Call it after the projects have stopped."""
        self.phase = "stopping"
        drain_timeout = self.loaded.config.delivery.drain_timeout
        deadline = trio.current_time() + drain_timeout
        try:
            await self._ingest.commit(None, [AgentStoppedEvent(timestamp=self._clock.now())])
        except StoreError as error:
            _log.warning("the agent_stopped event could not be stored", reason=str(error))
        if self._ingest.router.may_notify("agent_stopped"):
            # Sent now: an agent_stopped after the next start would confuse people. Half of the time stays for
            # deliveries in flight.
            with trio.move_on_at(deadline - drain_timeout / 2):
                await self._dispatcher.wait_idle()
        await self._dispatcher.drain(max(0.0, deadline - trio.current_time()))

    def projects(self) -> Sequence[ProjectStatus]:
        """Returns the status of every watched project; empty until the start."""
        return self._fleet.snapshot() if self._fleet is not None else ()

    def unwatched(self) -> UnwatchedProjects | None:
        """Returns the number of projects that no agent on the store can watch; None if there are none."""
        return self._member.unwatched if self._member is not None else None

    def recipients(self, event: AgentEvent) -> tuple[str, ...]:
        """Returns the destinations that the rules choose for an event of the agent."""
        routed = self._ingest.router.route(event, None, None, self._clock.now())
        return tuple(name for item in routed for name in item.destinations)

    def look_again(self) -> None:
        """Notes that silences or episodes have changed: held notifications may be due."""
        self._ingest.look_again()

    def discovery(self) -> DiscoveryStatus:
        """Returns the state of the search for projects that globs match."""
        return self._fleet.discovery() if self._fleet is not None else DiscoveryStatus(has_listed=False)

    def wanted_projects(self) -> int:
        """Returns the number of projects that this agent or another should watch; 0 until they are known."""
        return len(self._fleet.wanted) if self._fleet is not None else 0

    async def reload(self) -> ReloadResult:
        """Reads the config again, after all earlier reloads, and restarts only the changed instances.

        Returns the changes, or the reasons for a refusal. Raises ReloadAbandonedError if the agent stops.
        """
        return await self.reloads.request()

    def refused_reload(self) -> RefusedReload | None:
        """Returns the refusal of the last reload; None if it was taken, or if there was none."""
        return self._refused_reload

    async def _reload(self) -> ReloadResult:
        old = self.loaded
        new = await read_again(old.config)
        result = await self._take_or_refuse(old, new)
        self._refused_reload = RefusedReload.after(result, self._refused_reload)
        return result

    async def _take_or_refuse(self, old: LoadedConfig, new: LoadedConfig | ConfigError) -> ReloadResult:
        now, source = self._clock.now(), str(old.config.base_dir / old.config.source.name)
        if isinstance(new, ConfigError):
            problems = _without_secrets(new.problems)
            for problem in problems:
                _log.error("reload refused, nothing is applied", problem=problem.describe(new.source))
            return ReloadResult(at=now, config=new.source, problems=problems)
        if changes := changes_needing_restart(old.config, new.config):
            _log.error("reload refused, nothing is applied: restart needed", changed=changes)
            return ReloadResult(at=now, config=source, restart_needed=changes)
        # A person may also reload an unchanged config, to have a failed plugin tried that they have repaired.
        failed = {status.name for status in self._host.snapshot() if status.state is InstanceState.FAILED}
        result = reload_result(old, new, failed, now)
        log.configure(new.config.log.level, new.config.log.format)
        for origin, instances in changed_plugins(old, new).items():
            _log.info("plugin code changed; all its instances restart", origin=origin, instances=instances)
        problems = await self._apply(new, result)
        _log.info("reloaded", config=str(new.config.source))
        return replace(result, problems=problems)

    async def _apply(self, new: LoadedConfig, changes: ReloadResult) -> tuple[Problem, ...]:
        """Applies the changes. Returns the problems for which the projects stay as they were."""
        after = instance_settings(new)
        self.loaded = new
        self._host.catalog = new.catalog
        for name in (*changes.stopped, *changes.restarted):
            _log.info("plugin stops", plugin=name, configured=name in after)
            await self._dispatcher.stop(name, new.config.delivery.drain_timeout)
            await self._host.stop(name)
        await self._publish_destinations()
        self._use_rules(new)
        for name in (*changes.restarted, *changes.started):
            await self._start_instance(after[name])
        await self._dispatcher.unpark_all()
        await self._dispatcher.log_orphaned_queues()
        if self._fleet is not None:
            try:
                await self._fleet.set_projects(new.config.projects, new.config.connection)
            except ConfigError as error:
                _log.error("the projects are watched as before", reason=str(error))
                return _without_secrets(error.problems)
        return ()

    def projects_hash(self) -> str:
        """Returns a hash of the configured projects."""
        return projects_hash_of(self.loaded.config)

    def explainer(self) -> Explainer:
        """Returns the rules in use, to be asked without any effect."""
        if self._explainer is None or self._explainer.config is not self.loaded.config:
            self._explainer = Explainer(self.loaded.config)
        return self._explainer

    def _use_rules(self, loaded: LoadedConfig) -> None:
        self._ingest.use(loaded.router, StagePolicy.of(loaded.config), watches_of(loaded.config))

    async def _publish_destinations(self) -> None:
        """Stores this agent's destinations and their settings for the other agents, before any of them is used."""
        if self._member is None:
            return
        types = {instance.type for instance in self.loaded.config.instances.values()}
        local = {type_: self.loaded.catalog.latest(type_).attributes.machine_local for type_ in types}
        await self._member.publish_destinations(self.loaded.config, local)

    async def _start_instance(self, instance: InstanceSettings) -> None:
        await self._host.start(instance.config)
        if instance.destination is not None:
            self._dispatcher.start(instance.destination, partial(address_hash_of, instance.config))


def _without_secrets(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(replace(problem, message=log.redact(problem.message)) for problem in problems)
