"""The composition root: builds all parts of the agent and connects them, in the order in which they start.

Blocks are entered from the store outwards and left in the opposite order. That is the order of a good shutdown:
projects stop reading, events are committed, destinations drain, plugins tear down, the store closes.
"""

import math
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from aintandem_notify import __version__, log
from aintandem_notify.agent.agent import Agent
from aintandem_notify.agent.blocked_loop import log_block
from aintandem_notify.agent.health_facts import HealthFacts
from aintandem_notify.agent.reloading import open_reloads
from aintandem_notify.agent.status_line import open_status_line, status_line
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.config import Config, NewStore, new_store, note_config_path, store_location
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.control.server.server import open_control
from aintandem_notify.delivery import Dispatcher, open_dispatcher
from aintandem_notify.domain.events import AgentEvent, LoginFailedEvent
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.loop_watchdog import open_loop_watchdog
from aintandem_notify.foundation.open_files import NO_LIMIT, FileBudget
from aintandem_notify.health.heartbeat import open_heartbeat
from aintandem_notify.health.monitor import HealthMonitor, open_monitor
from aintandem_notify.http_client import HttpClient
from aintandem_notify.ingest import open_ingest
from aintandem_notify.maintenance import open_pruning, watch_trouble
from aintandem_notify.orchestrator import (
    ConnectionSlots,
    OrchestratorApi,
    Session,
    open_fleet,
    open_orchestrator,
)
from aintandem_notify.plugins import PluginHost, open_host
from aintandem_notify.plugins.config_loading import LoadedConfig
from aintandem_notify.sharing import node_name, open_membership, open_sharing
from aintandem_notify.store import RESERVE_BYTES, Storage, StoreLiveness, open_liveness, open_storage
from aintandem_notify.store.liveness import CHECK_INTERVAL_S

_log = log.get_logger(__name__)


@asynccontextmanager
async def open_agent(
    loaded: LoadedConfig,
    *,
    clock: Clock,
    chance: Chance,
    systemd: Systemd | None = None,
    files: FileBudget = NO_LIMIT,
    watch_loop: bool = False,
) -> AsyncIterator[Agent]:
    """Runs the agent during the block, with as many connections as ``files`` allows.

    ``watch_loop``: a thread names the code that blocks the event loop. Its end is a good shutdown.
    """
    systemd = systemd or Systemd()
    config = loaded.config
    async with AsyncExitStack() as blocks:
        enter = blocks.enter_async_context
        watchdog = await enter(open_loop_watchdog(log_block)) if watch_loop else None
        location = _store(config, blocks)
        new = new_store(config.source, config.store, embedded=config.orchestrator.embedded)
        storage = await enter(open_storage(location, clock=clock, reserve_bytes=RESERVE_BYTES))
        _note_store(config, new)
        places = None if math.isinf(files.links) else int(files.links)
        member = await enter(open_membership(storage, node_name(config), places=places))
        http = await enter(HttpClient.configured(config.connection, files.requests))
        ingest = await enter(
            open_ingest(
                storage,
                router=loaded.router,
                clock=clock,
                # Host and dispatcher are opened below; nothing is committed before.
                publish=lambda event, project: host.publish(event, project),
                listening=lambda: host.has_live_hooks(),
                wake=lambda names: dispatcher.wake(names),
            )
        )
        # The parts of the agent are opened below; nothing asks for the health before.
        monitor = HealthMonitor(
            lambda: health_facts(),
            lambda: agent.loaded.config.health,
            storage=storage,
            agent_name=node_name(config),
            commit=ingest.commit,
            recipients=lambda event: agent.recipients(event),
            clock=clock,
        )

        def announce(event: AgentEvent) -> None:
            monitor.note_announced(event)
            ingest.announce(event)

        keep = config.store.keep
        await enter(
            open_pruning(storage, keep=keep, clock=clock, configured=lambda: agent.loaded.config.instances.keys())
        )
        await enter(watch_trouble(storage, announce=announce, commit=ingest.commit, clock=clock))
        host = await enter(open_host(loaded.catalog, http=http, clock=clock, announce=announce, chance=chance))
        if watchdog is not None:
            watchdog.blame = host.culprit
        dispatcher = await enter(
            open_dispatcher(storage=storage, host=host, clock=clock, chance=chance, announce=announce)
        )
        url, login = await blocks.enter_async_context(open_orchestrator(config))
        session = Session(
            url, login, http=http, clock=clock, chance=chance, announce=partial(_login_refused, announce)
        )
        agent = Agent(loaded, ingest=ingest, host=host, dispatcher=dispatcher, clock=clock, member=member)
        if watchdog is not None:
            agent.last_block = watchdog.last_block
        interval_s = min(CHECK_INTERVAL_S, (systemd.watchdog_s or math.inf) / 2)
        liveness = await enter(open_liveness(storage, on_answer=systemd.alive, interval_s=interval_s))
        health_facts = HealthFacts(
            agent=agent,
            session=session,
            host=host,
            dispatcher=dispatcher,
            storage=storage,
            liveness=liveness,
            started_at=clock.now(),
        )
        access = _access(
            agent, monitor, storage=storage, liveness=liveness, host=host, dispatcher=dispatcher, clock=clock
        )
        await enter(open_control(access, config.control.address, files.control))
        blocks.push_async_callback(agent.shut_down)
        fleet = await enter(
            open_fleet(
                session,
                api=OrchestratorApi(session, http, clock),
                sink=ingest.commit,
                reconciler=ingest,
                clock=clock,
                chance=chance,
                slots=ConnectionSlots(files.links),
            )
        )
        await enter(
            open_sharing(member, fleet, forget=ingest.forget, projects_hash=agent.projects_hash, clock=clock)
        )
        await agent.start(fleet)
        await enter(open_monitor(monitor))
        await enter(open_heartbeat(lambda: agent.loaded.config.agent, health=monitor.health, http=http))
        await enter(open_status_line(systemd, lambda: status_line(monitor.health(), agent.projects())))
        await enter(open_reloads(agent.reloads, systemd))
        yield agent


def _store(config: Config, blocks: AsyncExitStack) -> str | Path:
    """Returns the path or URL of the store; a temporary one for the embedded simulator."""
    location = store_location(config.source, config.store, embedded=config.orchestrator.embedded)
    if location is None:
        folder = blocks.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-notify-"))
        location = Path(folder) / "store.sqlite3"
    return location


def _note_store(config: Config, new: NewStore | None) -> None:
    """Logs that the store was ``new``, and notes the config's path beside the default store."""
    if config.store.url is None and not config.orchestrator.embedded:
        note_config_path(config.source)
    if new is None:
        return
    if new.older is None:
        _log.info("a new store is created", store=str(new.path))
    else:
        _log.warning("an older store is left behind", store=str(new.path), older=str(new.older), so=new.sentence)


def _login_refused(announce: Callable[[AgentEvent], None], event: LoginFailedEvent) -> None:
    _log.error("the orchestrator refuses our login", reason=event.reason)
    announce(event)


def _access(
    agent: Agent,
    monitor: HealthMonitor,
    *,
    storage: Storage,
    liveness: StoreLiveness,
    host: PluginHost,
    dispatcher: Dispatcher,
    clock: Clock,
) -> AgentAccess:
    """Returns the control API's view of the agent."""
    return AgentAccess(
        config=agent.loaded.config.base_dir / agent.loaded.config.source.name,
        version=__version__,
        started_at=clock.now(),
        clock=clock,
        storage=storage,
        liveness=liveness,
        phase=lambda: agent.phase,
        health=monitor.health,
        projects=agent.projects,
        unwatched=agent.unwatched,
        plugins=host.snapshot,
        diagnose=host.diagnostics,
        destinations=lambda: dispatcher.snapshot(agent.loaded.config.instances),
        pausable=dispatcher.names,
        in_flight=dispatcher.in_flight,
        wake=dispatcher.wake,
        look_again=agent.look_again,
        explainer=agent.explainer,
        pause=dispatcher.pause,
        resume=dispatcher.resume,
        reload=agent.reload,
        wait_set_up=host.wait_set_up,
    )
