"""The monitor with stores, destinations and clocks that do not do as they should."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.config import HealthConfig
from aintandem_notify.delivery import DestinationCondition
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.domain.events import AgentEvent, DestinationParkedEvent, Event
from aintandem_notify.domain.health import HealthState, ReasonId
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.reload import RefusedReload
from aintandem_notify.errors import StoreError
from aintandem_notify.health.conditions import Facts
from aintandem_notify.health.monitor import HealthMonitor, open_monitor
from aintandem_notify.orchestrator import ConnectionState, DiscoveryStatus, ProjectStatus
from aintandem_notify.plugins import InstanceState, InstanceStatus
from aintandem_notify.rules import Router
from aintandem_notify.store import LivenessReport, Storage, Store
from support.outbox import NOW
from support.routing import config, destination, rule

T = TypeVar("T")
NAMES = ("slack.a", "webhook.b")
ONLY_SLACK = rule("slack-only", "agent_* destination_* plugin_failed", "slack.a")
REFUSED = RefusedReload("unknown key", NOW)


class OddStorage(Storage):
    """A store that may fail or hang."""

    error: StoreError | None = None

    is_hanging = False

    async def run(self, fn: Callable[[Store], T]) -> T:
        if self.is_hanging:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error
        return await super().run(fn)


class SetClock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.error = timedelta()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=trio.current_time()) + self.error


@dataclass
class Scene:
    """A monitor whose facts a test changes."""

    facts: Facts
    router: Router = field(default_factory=lambda: Router(config(*map(destination, NAMES))))
    clock: SetClock = field(default_factory=SetClock)
    told: list[tuple[str, str]] = field(default_factory=list)
    monitor: Any = None
    storage: Any = None

    def __post_init__(self) -> None:
        self.storage = OddStorage(Store("sqlite://"), inline=True)
        self.monitor = HealthMonitor(
            lambda: self.facts,
            HealthConfig,
            storage=self.storage,
            agent_name="agent",
            commit=self.commit,
            recipients=self.recipients,
            clock=self.clock,  # type: ignore[arg-type]
        )

    def recipients(self, event: AgentEvent) -> list[str]:
        routed = self.router.route(event, None, None, NOW)
        return [name for item in routed for name in item.destinations]

    async def commit(self, _project: None, events: Sequence[Event]) -> None:
        await self.storage.run(lambda _store: None)
        for event in events:
            assert isinstance(event, AgentEvent)
            self.told += [(name, getattr(event, "kind", event.type)) for name in self.recipients(event)]

    def change(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def kinds(self) -> set[ReasonId]:
        return {reason.id for reason in self.monitor.health().reasons}


@pytest.fixture
async def scene() -> Scene:
    return Scene(well_facts())


def well_facts() -> Facts:
    return Facts(
        started_at=NOW,
        projects=(ProjectStatus(Project(id="p", name="p"), ConnectionState.CONNECTED, NOW, was_connected=True),),
        wanted=1,
        configured=NAMES,
        destinations=[DestinationCondition(name, "open", GateState.OPEN, None, None, None) for name in NAMES],
        plugins=[InstanceStatus(name, InstanceState.LOADED, None, NOW, True) for name in NAMES],
        store=LivenessReport(0.0),
    )


async def log_of(scene: Scene, *steps: Callable[[], None]) -> list[tuple[str, str]]:
    """Returns the log of a minute after each step, as sentence and kind."""
    with capture_logs() as lines:
        async with open_monitor(scene.monitor):
            for step in steps:
                step()
                await trio.sleep(60)
    return [(line["event"], line["kind"]) for line in lines if "kind" in line]


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_log_goes_on_while_the_store_fails(
    scene: Scene, autojump_clock: MockClock, *, hangs: bool
) -> None:
    def break_the_store() -> None:
        scene.storage.is_hanging = hangs
        scene.storage.error = StoreError("no answer")
        scene.change(store=LivenessReport(31), refused_reload=REFUSED)

    def mend_the_reload() -> None:
        scene.change(refused_reload=None)

    assert await log_of(scene, lambda: None, break_the_store, mend_the_reload) == [
        ("the agent is not well", "store"),
        ("the agent is not well", "reload"),
        ("trouble is over", "reload"),
    ]


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_log_begins_with_a_store_that_never_worked(
    scene: Scene, autojump_clock: MockClock, *, hangs: bool
) -> None:
    scene.storage.is_hanging, scene.storage.error = hangs, StoreError("no answer")
    assert await log_of(scene, lambda: scene.change(store=LivenessReport(31))) == [
        ("the agent is not well", "store")
    ]


async def test_trouble_that_ends_while_its_notice_waits_for_the_store_is_told_whole(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with open_monitor(scene.monitor):
        await trio.sleep(10)
        scene.storage.error = StoreError("no answer")
        scene.change(refused_reload=REFUSED)
        await trio.sleep(60)
        scene.storage.error = None
        await trio.sleep(10)
        assert scene.told == [(name, "reload") for name in NAMES]


async def test_a_destination_whose_plugin_failed_leaves_the_notice_to_the_others(
    scene: Scene, autojump_clock: MockClock
) -> None:
    scene.router = Router(config(destination("slack.a"), destination("webhook.b"), ONLY_SLACK))
    scene.change(
        plugins=[InstanceStatus("slack.a", InstanceState.FAILED, "no module", NOW, True)], refused_reload=REFUSED
    )
    await scene.monitor.check()
    assert scene.told == [("webhook.b", "reload")]


async def test_trouble_whose_own_event_reaches_nobody_is_told_to_those_that_work(
    scene: Scene, autojump_clock: MockClock
) -> None:
    unheard = rule("unheard", "destination_parked", "nobody")
    scene.router = Router(config(destination("slack.a"), destination("webhook.b"), unheard, ONLY_SLACK))
    parked = DestinationParkedEvent(timestamp=NOW, instance="slack.a", reason="revoked")
    assert scene.recipients(parked) == []
    scene.monitor.note_announced(parked)
    condition = DestinationCondition("slack.a", "parked", GateState.PARKED, NOW, "revoked", None)
    scene.change(destinations=[condition, *scene.facts.destinations[1:]])
    await scene.monitor.check()
    assert scene.told == [("webhook.b", "destination")]


async def test_a_start_ends_although_the_clock_is_set_back(scene: Scene, autojump_clock: MockClock) -> None:
    connecting = ProjectStatus(Project(id="q", name="q"), ConnectionState.CONNECTING, NOW)
    scene.change(projects=(*scene.facts.projects, connecting), wanted=2)
    assert ReasonId.STARTING in scene.kinds()
    scene.clock.error = timedelta(days=-1)
    await trio.sleep(125)
    assert ReasonId.STARTING not in scene.kinds()


async def test_a_clock_that_is_set_forward_makes_young_trouble_no_failure(
    scene: Scene, autojump_clock: MockClock
) -> None:
    await scene.monitor.check()
    slow = [DestinationCondition(name, "backing off", GateState.BACKING_OFF, NOW, "503", None) for name in NAMES]
    scene.change(destinations=slow)
    await scene.monitor.check()
    scene.clock.error = timedelta(hours=3)
    assert scene.monitor.health().state is HealthState.WELL
    await trio.sleep(125)
    assert ReasonId.NO_DESTINATION in scene.kinds()


async def test_a_reload_to_another_glob_is_not_a_config_without_projects(
    scene: Scene, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    asked = DiscoveryStatus(has_listed=False, asked_since=scene.clock.now())
    scene.change(projects=(), wanted=0, discovery=asked)
    assert scene.monitor.health().state is HealthState.WELL
