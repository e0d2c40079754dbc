"""Workers of several agents at one destination, on one real PostgreSQL: they share its gate and queue."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from outcome import Error, Value

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import (
    DestinationSettings,
    Dispatcher,
    open_dispatcher,
)
from aintandem_notify.delivery.settlement import Patience
from aintandem_notify.domain.events import AgentEvent, DestinationParkedEvent
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import DestinationBroken, RetryLater
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import DeliveryState, GateRow, Store
from aintandem_notify.store.sharing.membership import ConfiguredDestination, Membership
from support.ingesting import FlakyStorage
from support.outbox import NOW, FakeHost, delivery_rows, event, inside, queue_up

HERE = "slack.a"
MONTHS = 1e7


@dataclass
class Agent:
    store: Store
    storage: FlakyStorage
    host: FakeHost
    dispatcher: Dispatcher
    announced: list[AgentEvent]

    def start(self, **settings: Any) -> None:
        self.dispatcher.start(DestinationSettings(**{"name": HERE, "max_age": MONTHS, **settings}))

    async def poll(self) -> None:
        """Waits for five more calls of the store, in which a wrong action would have happened."""
        enough = self.storage.calls + 5
        await until(lambda: self.storage.calls >= enough)


@dataclass
class ProbedHost(FakeHost):
    """A host whose failures return at once, and whose successful deliveries wait for ``free``."""

    free: trio.Event = field(default_factory=trio.Event)

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results = await super().deliver(name, notifications)
        if any(isinstance(result, Value) for result in results):
            await self.free.wait()
        return results


Open = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def agent(postgres_url: str, long_leases: float) -> Open:
    """Opens an agent with its own host. Waits are short, since they are real."""

    @asynccontextmanager
    async def open_agent(name: str, host: FakeHost | None = None) -> AsyncIterator[Agent]:
        host, store, announced = host or FakeHost(), Store(postgres_url), list[AgentEvent]()
        assert isinstance(store.membership, Membership)
        store.membership.destinations = {HERE: ConfiguredDestination("same")}
        store.join(name, projects_hash="all", version="1")
        storage = FlakyStorage(store)
        try:
            async with open_dispatcher(
                storage=storage,
                host=host,
                clock=SystemClock(),
                chance=lambda: 0.0,
                announce=announced.append,
                poll_interval_s=0.02,
            ) as opened_dispatcher:
                yield Agent(store, storage, host, opened_dispatcher, announced)
        finally:
            store.close()

    return open_agent


def queue(agent: Agent, count: int) -> None:
    now = SystemClock().now()
    queue_up([event("task_failed", run=f"t{n}") for n in range(count)], [HERE], now)(agent.store)


async def until(condition: Callable[[], bool]) -> None:
    """Polls, since no event shows the progress of another agent."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def state(agent: Agent) -> str | None:
    """The state of the destination's common gate."""
    row = inside(lambda store: store.gates.read(HERE, store.membership.variant(HERE)))(agent.store)
    return None if row is None else row.state


def left(agent: Agent) -> int:
    return sum(queue.queued for queue in inside(lambda store: store.outbox.queues())(agent.store).values())


async def test_an_agent_notices_deliveries_that_others_queue(agent: Open) -> None:
    async with agent("one") as first, agent("two") as second:
        second.start()
        await second.poll()
        queue(first, 3)
        await until(lambda: left(first) == 0)
        assert len(second.host.tries) == 3


async def test_a_rate_holds_over_all_agents(agent: Open) -> None:
    async with agent("one") as first, agent("two") as second:
        queue(first, 8)
        began = trio.current_time()
        for each in (first, second):
            each.start(rate=Rate(10, 1.0))
        await until(lambda: left(first) == 0)
        times = [when for when, _, _ in first.host.tries + second.host.tries]
        assert len(times) == 8
        # Not from the first attempt: a delivery that was claimed in time may have been sent late.
        assert max(times) - began >= 0.65


async def test_one_delivery_probes_the_destination(agent: Open) -> None:
    down, up = ProbedHost(answers=deque([RetryLater("down", after=1.0)])), ProbedHost()
    async with agent("one", down) as first, agent("two", up) as second:
        queue(first, 5)
        first.start()
        await until(lambda: state(first) == "backing off")
        second.start()
        await until(lambda: len(first.host.tries) + len(second.host.tries) == 2)
        await first.poll()
        await second.poll()
        assert len(first.host.tries) + len(second.host.tries) == 2
        down.free.set()
        up.free.set()
        await until(lambda: left(first) == 0)
        assert len(first.host.tries) + len(second.host.tries) == 6


class PickyHost(FakeHost):
    """A host whose plugin fails for one run, always."""

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results = await super().deliver(name, notifications)
        is_bad = [notification.event.run_id == "t1" for notification in notifications]
        return [
            Error(RetryLater("HTTP 500")) if bad else result for bad, result in zip(is_bad, results, strict=True)
        ]


async def test_a_message_that_never_arrives_is_blamed_by_all_agents_together(agent: Open) -> None:
    hasty = Patience(backoff_s=(0.02,), message_pauses_s=(0.02,), min_blamed_age_s=0.0)
    async with agent("one", PickyHost()) as first, agent("two", PickyHost()) as second:
        for one in (first, second):
            one.start(patience=hasty)
        queue(first, 5)
        await until(lambda: left(first) == 1)
        for number in range(5, 200):
            queue_up([event("task_failed", run=f"t{number}")], [HERE], SystemClock().now())(first.store)
            await until(lambda: left(first) <= 1)
            if left(first) == 0:
                break
        states = {row.thread.split("/")[2]: row for row in delivery_rows(HERE)(first.store)}
        assert [run for run, row in states.items() if row.state is not DeliveryState.DELIVERED] == ["t1"]
        assert (states["t1"].reason or "").startswith("the destination took other messages, but failed")
        tried = [tried.event.run_id for _, _, tried in first.host.tries + second.host.tries]
        assert {run: tried.count(run) for run in states if run != "t1"} == dict.fromkeys(set(states) - {"t1"}, 1)


async def test_one_agent_parks_a_destination_for_all_and_announces_it_once(agent: Open) -> None:
    broken = FakeHost(answers=deque([DestinationBroken("revoked")]))
    async with agent("one", broken) as first, agent("two") as second:
        queue(first, 3)
        first.start()
        await until(lambda: bool(first.announced))
        second.start()
        await second.poll()
        assert second.host.tries == []
        assert [status.state for status in await second.dispatcher.snapshot()] == ["parked"]
        assert [type(announced) for announced in first.announced + second.announced] == [DestinationParkedEvent]


async def test_a_pause_at_one_agent_pauses_all(agent: Open) -> None:
    async with agent("one") as first, agent("two") as second:
        for each in (first, second):
            each.start()
        await second.poll()
        assert await first.dispatcher.pause(HERE)
        queue(first, 4)
        await first.poll()
        await second.poll()
        assert left(first) == 4
        assert not await second.dispatcher.pause(HERE)
        assert await second.dispatcher.resume(HERE)
        await until(lambda: left(first) == 0)


@pytest.mark.parametrize("variant", ["", "before"])
async def test_a_pause_made_offline_or_for_other_settings_holds_until_it_is_resumed(
    agent: Open, variant: str
) -> None:
    async with agent("one") as first:
        with first.store.transaction():
            first.store.gates.write(HERE, GateRow("open", 0, NOW, paused=True), variant)
        first.start()
        queue(first, 2)
        await first.poll()
        assert (left(first), (await first.dispatcher.snapshot())[0].state) == (2, "paused")
        assert await first.dispatcher.resume(HERE)
        await until(lambda: left(first) == 0)
        with first.store.transaction():
            assert first.store.gates.variants(HERE, paused=True) == []


async def test_nothing_is_sent_once_the_lease_is_over(agent: Open) -> None:
    async with agent("one") as first:
        first.host.loaded = trio.Event()
        queue(first, 1)
        first.start()
        await first.poll()
        assert isinstance(first.store.membership, Membership)
        first.store.membership.clock = lambda: float("inf")
        first.host.loaded.set()
        await first.poll()
        assert first.host.tries == []
        first.store.membership.clock = lambda: 0.0
        await until(lambda: left(first) == 0)


async def test_claims_of_a_removed_destination_go_to_other_agents(agent: Open) -> None:
    async with agent("one") as first, agent("two") as second:
        first.host.takes_s = 60.0
        queue(first, 1)
        first.start()
        await until(lambda: bool(first.host.tries))
        await first.dispatcher.stop(HERE, timeout=0.0)
        second.start()
        await until(lambda: left(second) == 0)
        assert len(second.host.tries) == 1
