"""Hours in which links and destinations come and go at random: the health shown is never better than the truth."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from outcome import Error, Value
from trio.testing import MockClock

from aintandem_notify.config import ConnectionConfig, HealthConfig, ProjectConfig
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.domain.events import AgentEvent, LoginFailedEvent
from aintandem_notify.domain.health import HealthState, ReasonId
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.errors import AuthenticationFailed, DestinationBroken, HttpFailed, LinkLost
from aintandem_notify.health.conditions import Facts
from aintandem_notify.health.monitor import HealthMonitor, open_monitor
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.orchestrator import Fleet, LoginStatus
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin
from aintandem_notify.orchestrator.link.websocket import Frame, Link
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.rest.records import ProjectList, ProjectRecord
from aintandem_notify.orchestrator.watch.fleet import Watcher, run_fleet
from aintandem_notify.orchestrator.watch.project import watch_project
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import StatusObserver
from aintandem_notify.plugins import InstanceState, InstanceStatus
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.rules import Router
from aintandem_notify.store import LivenessReport, Storage, Store, TransactionPurpose
from support.outbox import NOW, event, inside
from support.routing import config, destination
from support.trio_clock import TrioClock

AFTER_S = 120.0
CHECK_S = 20.0
"""Seconds between two checks of the health here, so that an hour takes a moment."""
SAMPLE_S = 20.0
EVENTS_EVERY_S = 300.0
GRACE_S = CHECK_S + 5.0
"""The queue is read at a check, so it may be seen as late as this."""

PROJECTS = ("p1", "p2", "p3")
DESTINATIONS = ("slack.a", "webhook.b", "file_log.c")
ROUTER = Router(config(*(destination(name) for name in DESTINATIONS)))
LIVES = 5
"""Restarts of the agent within the time."""


class SilentLink:
    """A link over which nothing comes; it ends when the world cuts it."""

    def __init__(self) -> None:
        self.cut = trio.Event()

    @property
    def last_received_at(self) -> float:
        return trio.current_time()

    async def receive_batch(self) -> list[Frame]:
        await self.cut.wait()
        raise LinkLost("the connection broke", 1006)

    async def run(self) -> None:
        await trio.sleep_forever()

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()

    def take_buffered(self) -> list[Frame]:
        return []


@dataclass
class World:
    """Orchestrator and destinations, as they are in truth."""

    chance: random.Random
    clock: TrioClock
    destinations_work: bool = False
    """In this case only links and logins have trouble, so that nothing else hides it."""
    refuses_login: bool = False
    cut_off: set[str] = field(default_factory=set)
    troubles: dict[str, type[Exception]] = field(default_factory=dict)
    links: dict[str, SilentLink] = field(default_factory=dict)
    unlinked_since: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROJECTS, 0.0))
    login_status: LoginStatus = field(default_factory=LoginStatus)
    received: list[tuple[str, Notification]] = field(default_factory=list)
    shown: Counter[HealthState] = field(default_factory=Counter)
    announce: Any = None

    async def token(self) -> Token:
        await trio.lowlevel.checkpoint()
        if not self.refuses_login:
            self.login_status = LoginStatus()
            return Token("T", TokenOrigin.LOGIN, None, trio.current_time() + 1, trio.current_time() + 1)
        if self.login_status.refused is None:
            self.login_status = LoginStatus(refused="wrong password", since=self.clock.now())
            self.announce(LoginFailedEvent(timestamp=self.clock.now(), reason="wrong password"))
        raise AuthenticationFailed("wrong password", status=401)

    async def renew(self, refused: Token) -> Token:
        return await self.token()

    def note_accepted(self, token: Token) -> None:
        pass

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        return socket_target("http://h/api", project_id, token.text)

    @asynccontextmanager
    async def connect(self, target: SocketTarget) -> AsyncIterator[Link]:
        project_id = next(name for name in PROJECTS if f"/{name}?" in target.resource)
        if project_id in self.cut_off:
            raise LinkLost("connection refused")
        link = self.links[project_id] = SilentLink()
        self.unlinked_since.pop(project_id, None)
        try:
            yield link
        finally:
            if self.links.get(project_id) is link:
                del self.links[project_id]
                self.unlinked_since[project_id] = trio.current_time()

    async def projects(self) -> ProjectList:
        await trio.lowlevel.checkpoint()
        return ProjectList([ProjectRecord(id=name) for name in PROJECTS])

    def is_loaded(self, name: str) -> bool:
        return True

    async def wait_loaded(self, name: str) -> None:
        await trio.lowlevel.checkpoint()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        await trio.sleep(0.1)
        if name in self.troubles:
            return [Error(self.troubles[name]("does not work"))]
        self.received += [(name, notification) for notification in notifications]
        return [Value(None) for _ in notifications]

    async def change_at_random(self, dispatcher: Dispatcher) -> None:
        """Lets something break or mend at random times, from a few seconds to an hour apart."""
        while True:
            await trio.sleep(self.chance.choice((5.0, 30.0, 90.0, 200.0, 900.0)) * self.chance.uniform(0.5, 2))
            match self.chance.randrange(5 if self.destinations_work else 10):
                case 0:
                    self.refuses_login = not self.refuses_login
                case 1 | 2 | 3:
                    self.toggle_link(self.chance.choice(PROJECTS))
                case 4:
                    for name in PROJECTS:
                        self.toggle_link(name)
                case 5:
                    step = self.chance.choice((dispatcher.pause, dispatcher.resume, dispatcher.resume))
                    await step(self.chance.choice(DESTINATIONS))
                case _:
                    self.toggle_destination(self.chance.choice(DESTINATIONS))

    def toggle_link(self, name: str) -> None:
        self.cut_off ^= {name}
        if name in self.cut_off and name in self.links:
            self.links[name].cut.set()

    def toggle_destination(self, name: str) -> None:
        if self.troubles.pop(name, None) is None:
            self.troubles[name] = self.chance.choice((HttpFailed, HttpFailed, DestinationBroken))

    async def heal(self, dispatcher: Dispatcher) -> None:
        self.refuses_login = False
        self.cut_off.clear()
        self.troubles.clear()
        for name in DESTINATIONS:
            await dispatcher.resume(name)


@dataclass
class Agent:
    """The parts of an agent that matter for its health, in one life."""

    world: World
    store: Store
    monitor: HealthMonitor
    ingest: Ingest
    dispatcher: Dispatcher
    fleet: Fleet

    async def emit_events(self) -> None:
        """Stores an event of each linked project at intervals."""
        number = 0
        while True:
            await trio.sleep(EVENTS_EVERY_S)
            for name in self.world.links:
                number += 1
                run = f"{name}-{trio.current_time():.0f}-{number}"
                failed = event("task_failed", run=run, project=name, at=trio.current_time(), error="no")
                await self.ingest.commit(Project(id=name, name=name), [failed])

    async def compare_with_truth(self) -> None:
        """Checks that the agent does not look well for longer than ``after`` while something is not told."""
        looks_well_since = trio.current_time()
        while True:
            await trio.sleep(SAMPLE_S)
            longest, now_s = max(self.untold_s(), default=0.0), trio.current_time()
            health = self.monitor.health()
            self.world.shown[health.state] += 1
            if health.state is not HealthState.WELL or longest == 0.0:
                looks_well_since = now_s
            looks_well_s = min(longest, now_s - looks_well_since)
            assert looks_well_s <= AFTER_S + GRACE_S, f"well although something is untold for {longest:.0f} s"
            if len(self.world.unlinked_since) == len(PROJECTS) and longest > AFTER_S + GRACE_S + SAMPLE_S:
                since = max(self.world.unlinked_since.values())
                if trio.current_time() - since > AFTER_S + GRACE_S:
                    assert not health.is_ready

    def untold_s(self) -> list[float]:
        """Returns for how many seconds each project has had no link, and each queued notification has waited."""
        now_s = trio.current_time()
        unlinked = [now_s - since_s for since_s in self.world.unlinked_since.values()]
        oldest = [queue.oldest for queue in read_queues(self.store).values()]
        return [*unlinked, *((self.world.clock.now() - moment).total_seconds() for moment in oldest)]


@asynccontextmanager
async def open_agent(world: World, store: Store) -> AsyncIterator[Agent]:
    storage, clock = Storage(store, inline=True), world.clock
    started_at = clock.now()

    def announce(announced: AgentEvent) -> None:
        monitor.note_announced(announced)
        ingest.announce(announced)

    def facts() -> Facts:
        return Facts(
            started_at=started_at,
            projects=fleet.snapshot(),
            wanted=len(fleet.wanted),
            discovery=fleet.discovery(),
            login=world.login_status,
            configured=DESTINATIONS,
            destinations=dispatcher.conditions(),
            plugins=[InstanceStatus(name, InstanceState.LOADED, None, started_at, True) for name in DESTINATIONS],
            store=LivenessReport(0.0),
        )

    def prepare(connection: ConnectionConfig) -> Watcher:
        settings = WatchSettings(
            session=world,
            connect=world.connect,
            backoff=connection,
            sink=ingest.commit,
            clock=clock,
            chance=world.chance.random,
        )

        async def watch(project: Project, observe: StatusObserver) -> None:
            await watch_project(project, settings, observe)

        return watch

    world.announce = announce
    async with (
        open_ingest(
            storage,
            router=ROUTER,
            clock=clock,
            publish=lambda _event, _project: None,
            wake=lambda names: dispatcher.wake(names),
        ) as ingest,
        open_dispatcher(
            storage=storage, host=world, clock=clock, chance=world.chance.random, announce=announce
        ) as dispatcher,
        run_fleet(prepare=prepare, list_projects=world.projects, clock=clock, chance=world.chance.random) as fleet,
    ):
        monitor = HealthMonitor(
            facts,
            HealthConfig,
            storage=storage,
            agent_name="agent",
            commit=ingest.commit,
            recipients=lambda about: [
                name for item in ROUTER.route(about, None, None, clock.now()) for name in item.destinations
            ],
            clock=clock,
            check_interval_s=CHECK_S,
            look_interval_s=CHECK_S,
        )
        for name in DESTINATIONS:
            dispatcher.start(DestinationSettings(name, max_age=30 * 86_400.0, in_flight=50))
        await fleet.set_projects([ProjectConfig(id=name, name=name) for name in PROJECTS], ConnectionConfig())
        async with open_monitor(monitor):
            yield Agent(world, store, monitor, ingest, dispatcher, fleet)
            await dispatcher.drain(5.0)


read_queues = inside(lambda store: store.outbox.queues())


def notices(world: World, event_type: str) -> list[tuple[str, Notification]]:
    return [entry for entry in world.received if entry[1].event.type == event_type]


@pytest.mark.parametrize("seed", range(10))
async def test_ten_random_hours(seed: int, autojump_clock: MockClock) -> None:
    world, store = World(random.Random(seed), TrioClock(NOW), destinations_work=seed % 2 == 1), Store("sqlite://")
    for _ in range(LIVES):
        async with open_agent(world, store) as agent, trio.open_nursery() as nursery:
            nursery.start_soon(world.change_at_random, agent.dispatcher)
            nursery.start_soon(agent.emit_events)
            nursery.start_soon(agent.compare_with_truth)
            await trio.sleep(10 * 3600 / LIVES)
            nursery.cancel_scope.cancel()
        await trio.sleep(world.chance.uniform(1, 300))
    assert len(world.shown) == 3, "each state has been shown"
    async with open_agent(world, store) as agent, trio.open_nursery() as nursery:
        await world.heal(agent.dispatcher)
        nursery.start_soon(agent.emit_events)
        await trio.sleep(2 * 3600)
        assert agent.monitor.health().state is HealthState.WELL
        assert read_episodes(store) is None
        nursery.cancel_scope.cancel()
    store.close()
    assert_everybody_learned_of_the_ends(world)
    assert_nobody_was_spammed(world)


def read_episodes(store: Store) -> str | None:
    with store.transaction(purpose=TransactionPurpose.READ):
        return store.health_episodes.read("agent")


def assert_everybody_learned_of_the_ends(world: World) -> None:
    """Each destination that got the begin of trouble got its end, in the same thread, and no other did."""
    begins = {(name, notification.thread) for name, notification in notices(world, "agent_degraded")}
    ends = {
        (name, notification.thread)
        for name, notification in notices(world, "agent_recovered")
        if notification.event.kind not in (ReasonId.LOGIN, ReasonId.PLUGIN)  # type: ignore[attr-defined]
    }
    assert begins
    parked = {entry for entry in ends - begins if kind_of(world, entry) == "destination"}
    assert ends - parked == begins


def kind_of(world: World, entry: tuple[str, str]) -> str:
    [kind, *_] = [
        notification.event.kind  # type: ignore[attr-defined]
        for name, notification in notices(world, "agent_recovered")
        if (name, notification.thread) == entry
    ]
    return str(kind)


def assert_nobody_was_spammed(world: World) -> None:
    """No destination gets more than a few notices of one kind within an hour."""
    for name in DESTINATIONS:
        for kind in ReasonId:
            times = sorted(
                notification.created_at
                for receiver, notification in notices(world, "agent_degraded")
                if receiver == name and notification.event.kind == kind  # type: ignore[attr-defined]
            )
            assert max(map(len, windows(times)), default=0) <= 6, f"{kind} at {name}"


def windows(times: Sequence[datetime]) -> list[list[datetime]]:
    """Returns for each time the times within the hour after it."""
    return [[other for other in times if start <= other < start + timedelta(hours=1)] for start in times]
