"""The composition root: what runs, in which order it starts, and in which order it ends.

Blocks are entered from the store outwards and left in the opposite order, which is the order of a good shutdown:
projects stop reading, what was read is committed, destinations drain, plugins tear down, the store closes.
"""

import gc
import math
import os
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from aintandem_notify import __version__, log
from aintandem_notify.backoff import Chance
from aintandem_notify.clock import Clock, SystemClock
from aintandem_notify.config import Config, InstanceConfig, Secret, store_place
from aintandem_notify.control.access import Access
from aintandem_notify.control.heartbeat import open_heartbeat
from aintandem_notify.control.server import open_control
from aintandem_notify.control.wellness import trouble
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.errors import ConfigError, StoreError
from aintandem_notify.events import AgentStartedEvent, AgentStoppedEvent
from aintandem_notify.http_client import HttpClient
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.loading import Loaded, load
from aintandem_notify.orchestrator import (
    ConnectionState,
    Credentials,
    Fleet,
    Login,
    ProjectStatus,
    Session,
    credentials_of,
    open_fleet,
)
from aintandem_notify.plugins import InstanceState, PluginHost, open_host
from aintandem_notify.sharing import Member, entries_of, node_name, open_membership, open_sharing, place_of
from aintandem_notify.signals import Hangups, hangups, stop_signals
from aintandem_notify.simulator import DEFAULT_PROJECTS, open_simulator
from aintandem_notify.store import RESERVE_BYTES, open_pulse, open_storage
from aintandem_notify.store.pulse import EVERY_S
from aintandem_notify.systemd import Systemd
from aintandem_notify.upkeep import open_pruning, watch_trouble

EXIT_GRACE_S: Final = 15.0
"""Seconds beyond ``[delivery] drain_timeout`` until the process ends in any case; plugins tear down in it."""

COLLECT_AFTER: Final = (10_000, 20, 50)
"""Python's thresholds: objects more than were freed until the youngest are looked through, and so on."""

_log = log.get_logger("agent")


def run(source: Path) -> None:
    """Watch and notify as the config file says, until told to stop.

    Raises ConfigError and StoreError, bare or in the ExceptionGroups of trio's nurseries.
    """
    with hangups() as asked_to_reload:
        loaded = load(source)
        log.configure(loaded.config.log.level, loaded.config.log.format)
        raise_file_limit()
        collect_less_often()
        trio.run(_main, loaded, asked_to_reload)


def raise_file_limit() -> None:
    """Let the process open as many files as it may: each project is a socket."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit and has one all the same.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def collect_less_often() -> None:
    """Spare the garbage collector its rounds: hardly anything is a cycle, and a batch is thousands of objects.

    With the defaults a busy agent spends a good part of its time in it.
    """
    gc.freeze()  # modules and config stay for good
    gc.set_threshold(*COLLECT_AFTER)


async def _main(loaded: Loaded, asked_to_reload: Hangups) -> None:
    with stop_signals(lambda: loaded.config.delivery.drain_timeout + EXIT_GRACE_S) as stop:
        systemd = Systemd.from_environ(os.environ)
        async with open_agent(loaded, clock=SystemClock(), chance=random.random, systemd=systemd) as agent:
            systemd.ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_reload_on_hangup, agent, asked_to_reload, systemd)
                await stop.wait()
                nursery.cancel_scope.cancel()
            systemd.stopping()
            _log.info("stopping", drain_timeout_s=agent.loaded.config.delivery.drain_timeout)
        _log.info("stopped")


async def _reload_on_hangup(agent: "Agent", asked_to_reload: Hangups, systemd: Systemd) -> None:
    while True:
        await asked_to_reload.wait()
        systemd.reloading()
        await agent.reload()
        systemd.ready()


@asynccontextmanager
async def open_agent(
    loaded: Loaded, *, clock: Clock, chance: Chance, systemd: Systemd | None = None
) -> AsyncIterator["Agent"]:
    """The agent at work. Leaving the block ends it in good order."""
    systemd = systemd or Systemd()
    config = loaded.config
    async with AsyncExitStack() as blocks:
        enter = blocks.enter_async_context
        storage = await enter(open_storage(_store(config, blocks), clock=clock, reserve_bytes=RESERVE_BYTES))
        member = await enter(open_membership(storage, node_name(config)))
        proxy = config.connection.proxy
        http = await enter(HttpClient(proxy=proxy.reveal() if proxy else None, ca_file=config.connection.ca_file))
        ingest = await enter(
            open_ingest(
                storage,
                router=loaded.router,
                clock=clock,
                # Host and dispatcher are made below; nothing is committed before.
                publish=lambda event, project: host.publish(event, project),
                listening=lambda: host.publishes(),
                wake=lambda names: dispatcher.wake(names),
            )
        )
        announce = ingest.announce
        await enter(
            open_pruning(
                storage,
                keep=config.store.keep,
                clock=clock,
                configured=lambda: agent.loaded.config.instances.keys(),
            )
        )
        await enter(watch_trouble(storage, announce=announce, commit=ingest.commit, clock=clock))
        host = await enter(open_host(loaded.catalog, http=http, clock=clock, announce=announce, chance=chance))
        dispatcher = await enter(
            open_dispatcher(storage=storage, host=host, clock=clock, chance=chance, announce=announce)
        )
        login: Credentials
        if config.orchestrator.embedded:
            named = tuple(project.id for project in config.projects if not project.is_glob)
            simulator = await enter(open_simulator(demo_projects=named or DEFAULT_PROJECTS))
            url, login = simulator.url, Login(simulator.username, Secret(simulator.password))
        else:
            url, login = config.orchestrator.url, credentials_of(config.orchestrator)
        session = Session(url, login, http=http, clock=clock, chance=chance, announce=announce)
        agent = Agent(loaded, ingest=ingest, host=host, dispatcher=dispatcher, clock=clock, member=member)
        every_s = min(EVERY_S, (systemd.watchdog_s or math.inf) / 2)
        pulse = await enter(open_pulse(storage, answered=lambda: agent.report(systemd), every_s=every_s))
        access = Access(
            config=config.source,
            version=__version__,
            started_at=clock.now(),
            clock=clock,
            storage=storage,
            pulse=pulse,
            phase=lambda: agent.phase,
            projects=agent.projects,
            plugins=host.snapshot,
            destinations=dispatcher.snapshot,
            in_flight=dispatcher.in_flight,
            wake=dispatcher.wake,
            pause=dispatcher.pause,
            resume=dispatcher.resume,
        )
        await enter(open_control(access, config.control.address))
        blocks.push_async_callback(agent.wind_up)
        fleet = await enter(
            open_fleet(session, http=http, sink=ingest.commit, books=ingest, clock=clock, chance=chance)
        )
        await enter(open_sharing(member, fleet, forget=ingest.forget, entries=agent.entries))
        await agent.begin(fleet)
        await enter(
            open_heartbeat(
                lambda: agent.loaded.config.agent,
                trouble=lambda: trouble(agent.projects(), pulse.look(), clock.now()),
                http=http,
            )
        )
        yield agent


def _store(config: Config, blocks: AsyncExitStack) -> str | Path:
    """Where the durable state is; made-up events of the embedded simulator leave none behind."""
    place = store_place(config.source, config.store, embedded=config.orchestrator.embedded)
    if place is None:
        folder = blocks.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-notify-"))
        place = Path(folder) / "store.sqlite3"
    return place


@dataclass(frozen=True, slots=True)
class _Instance:
    """All that an instance and its worker are made from; what is equal need not be restarted."""

    config: InstanceConfig
    destination: DestinationSettings | None


def _instances(loaded: Loaded) -> dict[str, _Instance]:
    return {
        name: _Instance(instance, _destination(instance, loaded))
        for name, instance in loaded.config.instances.items()
    }


def _destination(instance: InstanceConfig, loaded: Loaded) -> DestinationSettings | None:
    if not instance.delivers:
        return None
    settings, plugin = instance.settings, loaded.catalog.latest(instance.type).plugin_class
    return DestinationSettings(
        name=instance.name,
        max_age=loaded.config.delivery.max_age if settings.max_age is None else settings.max_age,
        rate=settings.rate,
        in_flight=plugin.in_flight,
        fallback=settings.fallback,
        fallback_after=settings.fallback_after,
        digest_over=(plugin.digest_over if settings.digest_over is None else settings.digest_over) or None,
    )


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """What changed that a running agent cannot take over, as tables and keys."""
    pairs = {
        "[orchestrator]": (old.orchestrator, new.orchestrator),
        "[store]": (old.store, new.store),
        "[agent] name": (old.agent.name, new.agent.name),
        "[control]": (old.control, new.control),
        "[connection] proxy": (old.connection.proxy, new.connection.proxy),
        "[connection] ca_file": (old.connection.ca_file, new.connection.ca_file),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)


class Agent:
    """The parts at work together: what a start, a reload and an end do to them. Made by ``open_agent``."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        ingest: Ingest,
        host: PluginHost,
        dispatcher: Dispatcher,
        clock: Clock,
        member: Member | None = None,
    ) -> None:
        self.loaded = loaded
        self._member = member
        self._ingest = ingest
        self._host = host
        self._dispatcher = dispatcher
        self._clock = clock
        self.phase = "starting"
        self._fleet: Fleet | None = None

    async def begin(self, fleet: Fleet) -> None:
        """Start every instance, then every project, so that no event finds its destination missing."""
        await self._tell_others()
        for instance in _instances(self.loaded).values():
            await self._start(instance)
        await self._dispatcher.mention_left_behind()
        config = self.loaded.config
        self._ingest.announce(
            AgentStartedEvent(
                timestamp=self._clock.now(),
                version=__version__,
                projects=len(config.projects),
                plugins=len(config.instances),
            )
        )
        self._fleet = fleet
        await fleet.reconcile(config.projects, config.connection)
        self.phase = "running"
        _log.info("started", version=__version__, config=str(config.source), plugins=len(config.instances))

    async def wind_up(self) -> None:
        """After the projects have stopped: store the last event, let destinations finish what is in flight."""
        self.phase = "stopping"
        drain_timeout = self.loaded.config.delivery.drain_timeout
        deadline = trio.current_time() + drain_timeout
        try:
            await self._ingest.commit(None, [AgentStoppedEvent(timestamp=self._clock.now())])
        except StoreError as error:
            _log.warning("the end could not be stored", reason=str(error))
        if self._ingest.router.concerns("agent_stopped"):
            # Told after the next start it would only confuse. What is in flight then needs time to end, too.
            with trio.move_on_at(deadline - drain_timeout / 2):
                await self._dispatcher.rest()
        await self._dispatcher.drain(max(0.0, deadline - trio.current_time()))

    def projects(self) -> Sequence[ProjectStatus]:
        """Where every watched project stands; none before there is anything to watch with."""
        return self._fleet.snapshot() if self._fleet is not None else ()

    def report(self, systemd: Systemd) -> None:
        """Tell systemd that the loop and the store's thread answered just now, and what there is to see."""
        systemd.alive()
        projects = self.projects()
        connected = sum(status.state is ConnectionState.CONNECTED for status in projects)
        systemd.status(f"{connected} of {len(projects)} projects connected")

    async def reload(self) -> None:
        """Read the config again; what is wrong is refused, only what changed is restarted."""
        old = self.loaded
        try:
            new = load(old.config.source)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("reload refused, the old config stays", problem=problem.describe(error.source))
            return
        if fixed := restart_needed(old.config, new.config):
            _log.error("reload refused, restart needed", changed=fixed)
            return
        log.configure(new.config.log.level, new.config.log.format)
        await self._apply(old, new)
        _log.info("reloaded", config=str(new.config.source))

    async def _apply(self, old: Loaded, new: Loaded) -> None:
        before, after = _instances(old), _instances(new)
        # Whoever mends a failed plugin reloads, also when the config itself needed no change.
        failed = {status.name for status in self._host.snapshot() if status.state is InstanceState.FAILED}
        changed = [name for name in {**before, **after} if name in failed or before.get(name) != after.get(name)]
        self.loaded = new
        self._host.catalog = new.catalog
        for name in changed:
            if name in before:
                _log.info("plugin stops", plugin=name, configured=name in after)
                await self._dispatcher.stop(name, new.config.delivery.drain_timeout)
                await self._host.stop(name)
        await self._tell_others()
        self._ingest.router = new.router
        for name in changed:
            if name in after:
                await self._start(after[name])
        await self._dispatcher.try_mended()
        await self._dispatcher.mention_left_behind()
        if self._fleet is not None:
            try:
                await self._fleet.reconcile(new.config.projects, new.config.connection)
            except ConfigError as error:
                _log.error("the projects are watched as before", reason=str(error))

    def entries(self) -> str:
        """A hash of what is to be watched."""
        return entries_of(self.loaded.config)

    async def _tell_others(self) -> None:
        """Which destinations this agent has, and of which settings, before any of them is used."""
        if self._member is None:
            return
        types = {instance.type for instance in self.loaded.config.instances.values()}
        local = {one: self.loaded.catalog.latest(one).plugin_class.machine_local for one in types}
        await self._member.configure(self.loaded.config, local)

    async def _start(self, instance: _Instance) -> None:
        await self._host.start(instance.config)
        if instance.destination is not None:
            self._dispatcher.start(instance.destination, partial(place_of, instance.config))
