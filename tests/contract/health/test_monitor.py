"""The notices about the agent's health, over a real store and real rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.config import Config, HealthConfig
from aintandem_notify.delivery import DestinationCondition
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.domain.events import DestinationParkedEvent, LoginFailedEvent
from aintandem_notify.domain.health import HealthState
from aintandem_notify.health.conditions import Facts
from aintandem_notify.health.monitor import HealthMonitor, open_monitor
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.orchestrator import LoginStatus
from aintandem_notify.rules import Router
from aintandem_notify.store import DeliveryState, Storage, Store
from support.outbox import NOW, inside
from support.routing import config, destination, rule
from support.trio_clock import TrioClock

SLACK, FILE, HOOK = destination("slack.team"), destination("file_log.a"), destination("webhook.ops")


@dataclass
class Scene:
    """A monitor whose facts a test sets, over a store that outlives it."""

    facts: Facts
    monitor: HealthMonitor
    ingest: Ingest
    store: Store

    def fails(self, name: str, state: GateState = GateState.BACKING_OFF) -> None:
        """Lets a destination be in trouble from now on."""
        since = NOW + timedelta(seconds=trio.current_time())
        condition = DestinationCondition(name, state.value, state, since, "HTTP 503", None)
        others = [item for item in self.facts.destinations if item.name != name]
        self.facts = replace(self.facts, destinations=[*others, condition])

    def heals(self) -> None:
        self.facts = replace(self.facts, destinations=[], login=LoginStatus())

    async def wait(self, seconds: float) -> None:
        """Lets time pass, with a check each second."""
        for _ in range(int(seconds)):
            await trio.sleep(1)
            await self.monitor.check()

    def deliveries(self) -> list[tuple[str, str]]:
        """Returns type of event and destination of every delivery, in order."""
        return [(str(kind), str(name)) for kind, name in self._sql(f"SELECT e.type, d.destination {_JOINED}")]

    def settle(self, event_type: str, name: str, state: DeliveryState) -> None:
        """Lets the deliveries of such events at a destination end in this state."""
        ids = [
            row[0]
            for row in self._sql(f"SELECT d.id, e.type, d.destination {_JOINED}")
            if row[1:] == (event_type, name)
        ]
        for delivery_id in ids:
            self._sql(f"UPDATE deliveries SET state = '{state.value}' WHERE id = {delivery_id}")

    def _sql(self, statement: str) -> list[Any]:
        def run(store: Store) -> list[Any]:
            result = store._connection.exec_driver_sql(statement)
            return list(result) if result.returns_rows else []

        return inside(run)(self.store)


_JOINED = (
    "FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
    " JOIN events e ON e.key = n.event_key ORDER BY d.id"
)


def known(settings: Config) -> Facts:
    names = tuple(settings.instances)
    return Facts(started_at=NOW - timedelta(hours=1), wanted=1, configured=names)


@asynccontextmanager
async def open_scene(settings: Config, store: Store) -> AsyncIterator[Scene]:
    storage, clock, router = Storage(store, inline=True), TrioClock(NOW), Router(settings)
    async with open_ingest(
        storage, router=router, clock=clock, publish=lambda _event, _project: None, wake=lambda _names: None
    ) as ingest:
        monitor = HealthMonitor(
            lambda: scene.facts,
            HealthConfig,
            storage=storage,
            agent_name="agent",
            commit=ingest.commit,
            recipients=lambda event: [
                name for item in router.route(event, None, None, clock.now()) for name in item.destinations
            ],
            clock=clock,
        )
        scene = Scene(known(settings), monitor, ingest, store)
        yield scene


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = Store("sqlite://")
    yield opened
    opened.close()


async def test_who_got_the_begin_gets_the_end(store: Store, autojump_clock: MockClock) -> None:
    async with open_scene(config(SLACK, FILE, HOOK), store) as scene:
        scene.fails("slack.team")
        await scene.wait(119)
        assert scene.deliveries() == []
        assert scene.monitor.health().state is HealthState.WELL
        await scene.wait(5)
        begin = [("agent_degraded", "file_log.a"), ("agent_degraded", "webhook.ops")]
        assert scene.deliveries() == begin
        scene.heals()
        await scene.wait(2)
        assert scene.deliveries() == [
            *begin,
            ("agent_recovered", "file_log.a"),
            ("agent_recovered", "webhook.ops"),
        ]


async def test_a_dead_notice_notifies_nobody_so_it_has_no_end(store: Store, autojump_clock: MockClock) -> None:
    async with open_scene(config(SLACK, FILE, HOOK), store) as scene:
        scene.fails("slack.team")
        await scene.wait(125)
        scene.settle("agent_degraded", "webhook.ops", DeliveryState.DEAD)
        scene.settle("agent_degraded", "file_log.a", DeliveryState.DELIVERED)
        scene.heals()
        await scene.wait(2)
        assert scene.deliveries()[2:] == [("agent_recovered", "file_log.a")]


async def test_trouble_that_nobody_can_be_told_of_is_told_once_somebody_can(
    store: Store, autojump_clock: MockClock
) -> None:
    async with open_scene(config(SLACK, FILE), store) as scene:
        scene.fails("slack.team")
        scene.fails("file_log.a")
        await scene.wait(200)
        assert scene.deliveries() == []
        assert scene.monitor.health().state is HealthState.FAILING
        scene.facts = replace(scene.facts, destinations=[scene.facts.destinations[0]])
        await scene.wait(2)
        assert scene.deliveries() == [("agent_degraded", "file_log.a")]


async def test_a_new_agent_tells_the_end_of_trouble_before_it(store: Store, autojump_clock: MockClock) -> None:
    settings = config(SLACK, FILE)
    async with open_scene(settings, store) as scene:
        scene.fails("slack.team")
        await scene.wait(125)
    async with open_scene(settings, store) as scene:
        await scene.wait(2)
        assert scene.deliveries() == [("agent_degraded", "file_log.a"), ("agent_recovered", "file_log.a")]


async def test_the_end_of_a_refused_login_goes_to_its_recipients(store: Store, autojump_clock: MockClock) -> None:
    async with open_scene(config(SLACK, FILE, rule("r", "login_failed", "slack.team")), store) as scene:
        refused = LoginFailedEvent(timestamp=NOW, reason="wrong password")
        scene.monitor.note_announced(refused)
        await scene.ingest.commit(None, [refused])
        scene.facts = replace(scene.facts, login=LoginStatus(refused="wrong password", since=NOW))
        await scene.wait(5)
        assert scene.deliveries() == [("login_failed", "slack.team")]
        scene.heals()
        await scene.wait(2)
        assert scene.deliveries()[1:] == [("agent_recovered", "slack.team")]


@pytest.mark.parametrize(
    ("rules", "end"),
    [
        ([], [("agent_recovered", "file_log.a")]),
        ([rule("r", "agent/*", "file_log.a")], []),  # the worker announces destination_recovered
    ],
)
async def test_the_end_of_a_parked_destination_is_told_once(
    store: Store, autojump_clock: MockClock, rules: list[Any], end: list[tuple[str, str]]
) -> None:
    async with open_scene(config(SLACK, FILE, *rules), store) as scene:
        parked = DestinationParkedEvent(timestamp=NOW, instance="slack.team", reason="revoked")
        scene.monitor.note_announced(parked)
        await scene.ingest.commit(None, [parked])
        scene.fails("slack.team", GateState.PARKED)
        await scene.wait(5)
        assert scene.deliveries() == [("destination_parked", "file_log.a")]
        scene.heals()
        await scene.wait(2)
        assert scene.deliveries()[1:] == end


async def test_a_fault_of_ours_is_logged_and_checking_goes_on(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene(config(SLACK, FILE), store) as scene, open_monitor(scene.monitor):
        healthy = scene.facts
        with capture_logs() as lines:
            scene.facts = None  # type: ignore[assignment]  # as no agent ever has it
            await trio.sleep(10)
            scene.facts = healthy
            scene.fails("slack.team")
            await trio.sleep(300)
        errors = [line["event"] for line in lines if line["log_level"] == "error"]
        assert 1 <= len(errors) <= 2
        assert set(errors) == {"the health could not be checked, trying again later"}
        assert scene.deliveries() == [("agent_degraded", "file_log.a")]
