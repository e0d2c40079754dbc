"""The gate of a destination: after restarts, and paused and resumed by a person."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.domain.events import AgentEvent
from aintandem_notify.errors import DestinationBroken, DestinationGone, Rejected, RetryLater
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.store import GateRow, Storage
from support.outbox import NOW, FakeHost, SetClock, event, inside, memory, queue_up
from support.trio_clock import TrioClock

NAME = "slack.a"
WEEK = 7 * 86_400.0


@dataclass
class World:
    """A store that outlives the dispatchers, the plugin, and the announced events."""

    storage: Storage
    host: FakeHost
    clock: Clock
    announced: list[AgentEvent] = field(default_factory=list)

    @asynccontextmanager
    async def agent(self, place: str | None = None, **settings: Any) -> AsyncIterator[Dispatcher]:
        """Runs the agent once, with the destination at ``place``; ends it as a kill would."""
        async with open_dispatcher(
            storage=self.storage,
            host=self.host,
            clock=self.clock,
            chance=lambda: 0.0,
            announce=self.announced.append,
        ) as dispatcher:
            named: dict[str, Any] = {"name": NAME, "max_age": WEEK} | settings
            where = None if place is None else lambda salt: f"{place} {salt.hex()}"[:32]
            dispatcher.start(DestinationSettings(**named), where)
            yield dispatcher

    async def queue(self, count: int = 1) -> None:
        await self.storage.run(queue_up([event("task_started", run=f"t{n}") for n in range(count)], [NAME]))

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.announced]


@asynccontextmanager
async def world(*answers: Exception | None, clock: Clock | None = None) -> AsyncIterator[World]:
    async with memory() as storage:
        yield World(storage, FakeHost(answers=deque(answers)), clock or TrioClock(NOW))


async def state_of(dispatcher: Dispatcher) -> str | None:
    (status,) = await dispatcher.snapshot()
    return status.state


async def test_a_pause_by_hand_holds_the_queue_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with world() as here, here.agent() as dispatcher:
        await trio.sleep(1)
        assert await dispatcher.pause(NAME)
        assert not await dispatcher.pause(NAME)
        await here.queue()
        dispatcher.wake([NAME])
        await trio.sleep(3600)
        (status,) = await dispatcher.snapshot()
        assert (status.state, status.queued, status.retry_at) == ("paused", 1, None)
        assert here.host.tries == []
        assert await dispatcher.resume(NAME)
        assert not await dispatcher.resume(NAME)
        await trio.sleep(1)
        assert here.host.times == [3601]
        assert await state_of(dispatcher) == "open"


async def test_a_pause_by_hand_and_its_end_are_in_the_log(autojump_clock: MockClock) -> None:
    async with world() as here, here.agent() as dispatcher:
        with capture_logs() as lines:
            await dispatcher.pause(NAME)
            await dispatcher.pause(NAME)
            await dispatcher.resume(NAME)
    logged = [(line["event"], line["name"]) for line in lines]
    assert logged == [("destination paused by hand", NAME), ("destination resumed by hand", NAME)]


async def test_a_pause_by_hand_outlives_a_restart(autojump_clock: MockClock) -> None:
    async with world() as here:
        await here.queue()
        async with here.agent() as dispatcher:
            await dispatcher.pause(NAME)
        with capture_logs() as lines:
            async with here.agent() as dispatcher:
                await trio.sleep(86_400)
                assert await state_of(dispatcher) == "paused"
                await dispatcher.resume(NAME)
        assert [line["state"] for line in lines if "since before the start" in line["event"]] == ["paused"]
        async with here.agent() as dispatcher:
            await trio.sleep(1)
            assert await state_of(dispatcher) == "open"
            assert len(here.host.tries) == 1


async def test_what_is_in_flight_ends_although_its_destination_is_paused(autojump_clock: MockClock) -> None:
    async with world() as here:
        here.host.takes_s = 10
        await here.queue(2)
        async with here.agent() as dispatcher:
            await trio.sleep(1)
            await dispatcher.pause(NAME)
            await trio.sleep(100)
            (status,) = await dispatcher.snapshot()
            assert (status.state, status.queued, len(here.host.tries)) == ("paused", 1, 1)


async def test_a_parked_destination_is_tried_once_after_a_restart_and_announced_once(
    autojump_clock: MockClock,
) -> None:
    broken = DestinationBroken("revoked")
    async with world(broken, broken, None) as here:
        await here.queue(2)
        async with here.agent() as dispatcher:
            await trio.sleep(100)
            assert await state_of(dispatcher) == "parked"
        async with here.agent() as dispatcher:
            await trio.sleep(599)
            assert here.host.times == [0, 100]
            assert await state_of(dispatcher) == "parked"
            await trio.sleep(2)
            assert here.host.times == [0, 100, 700, 700]
        assert here.kinds == ["destination_parked", "destination_recovered"]


@pytest.mark.parametrize("left_s", [50.0, 0.0, -86_400.0])
async def test_a_pause_that_was_asked_for_outlives_a_restart(autojump_clock: MockClock, left_s: float) -> None:
    """Even if the agent was down for longer, or the clock was set ahead."""
    async with world(RetryLater("busy", after=60)) as here:
        await here.queue()
        async with here.agent():
            await trio.sleep(10)
        here.clock = SetClock(NOW + timedelta(seconds=60 - left_s))
        async with here.agent():
            await trio.sleep(300)
            assert here.host.times == [0, 10 + max(0.0, left_s)]


async def test_a_clock_set_back_makes_no_pause_longer_than_asked(autojump_clock: MockClock) -> None:
    async with world(RetryLater("busy", after=60)) as here:
        await here.queue()
        async with here.agent():
            await trio.sleep(10)
        here.clock = SetClock(NOW - timedelta(days=365))
        async with here.agent():
            await trio.sleep(300)
            assert here.host.times == [0, 70]


async def test_our_own_pause_does_not_outlive_a_restart(autojump_clock: MockClock) -> None:
    busy = RetryLater("busy")
    async with world(busy, busy, busy) as here:
        await here.queue()
        async with here.agent():
            await trio.sleep(7)
        async with here.agent() as dispatcher:
            await trio.sleep(1)
            assert here.host.times == [0, 1, 6, 7]
            assert await state_of(dispatcher) == "open"


async def test_a_disabled_destination_waits_for_a_hand_over_restarts(autojump_clock: MockClock) -> None:
    gone = DestinationGone("410")
    async with world(gone, gone, None) as here:
        await here.queue()
        async with here.agent():
            await trio.sleep(86_400)
        async with here.agent() as dispatcher:
            await trio.sleep(86_400)
            assert here.host.times == [0]
            (status,) = await dispatcher.snapshot()
            assert (status.state, status.last_error, status.retry_at) == ("disabled", "410", None)
            await dispatcher.resume(NAME)
            await trio.sleep(86_400)
            assert await state_of(dispatcher) == "disabled"
            await dispatcher.unpark_all()
            await trio.sleep(1)
            assert await state_of(dispatcher) == "open"
        assert here.host.times == [0, 172_800, 259_200]
        assert here.kinds[-1] == "destination_recovered"


@pytest.mark.parametrize("answer", [RetryLater("busy", after=1000), DestinationBroken("revoked")])
async def test_a_hand_lets_a_destination_in_trouble_be_tried_at_once(
    autojump_clock: MockClock, answer: Exception
) -> None:
    async with world(answer) as here:
        await here.queue()
        async with here.agent() as dispatcher:
            await trio.sleep(10)
            assert await dispatcher.resume(NAME)
            await trio.sleep(1)
            assert here.host.times == [0, 10]


async def test_a_reload_tries_what_is_parked_and_nothing_else(autojump_clock: MockClock) -> None:
    async with world(DestinationBroken("revoked"), DestinationBroken("revoked"), RetryLater("busy")) as here:
        await here.queue()
        async with here.agent() as dispatcher:
            await trio.sleep(10)
            await dispatcher.unpark_all()
            await trio.sleep(10)
            assert here.host.times == [0, 10]
            await dispatcher.pause(NAME)
            await dispatcher.unpark_all()
            await trio.sleep(10)
            assert await state_of(dispatcher) == "paused"
            assert here.host.times == [0, 10]


async def test_a_slow_rate_is_kept_over_restarts(autojump_clock: MockClock) -> None:
    async with world() as here:
        await here.queue(3)
        for _ in range(4):
            async with here.agent(rate=Rate(10, 3600.0)):
                await trio.sleep(200)
    assert here.host.times == [0, 360, 720]


async def test_a_name_without_a_worker_is_an_error(autojump_clock: MockClock) -> None:
    async with world() as here, here.agent() as dispatcher:
        with pytest.raises(LookupError, match=r"no destination called slack\.b has a worker"):
            await dispatcher.pause("slack.b")
        with pytest.raises(LookupError, match=r"no destination called slack\.b has a worker"):
            await dispatcher.resume("slack.b")


async def test_rows_are_kept_by_destination_and_variant() -> None:
    parked = GateRow("parked", 3, NOW, NOW, asked=True, slot_at=NOW, paused=True, last_error="why", since=NOW)
    opened = GateRow("open", 0, NOW)

    async with memory() as storage:
        await storage.run(inside(lambda store: store.gates.write(NAME, opened)))
        await storage.run(inside(lambda store: store.gates.write(NAME, opened, "v2")))
        await storage.run(inside(lambda store: store.gates.write(NAME, parked)))
        assert await storage.run(inside(lambda store: store.gates.read(NAME))) == parked
        assert await storage.run(inside(lambda store: store.gates.read(NAME, "v2"))) == opened
        assert await storage.run(inside(lambda store: store.gates.read("slack.b"))) is None


@pytest.mark.parametrize("gone", [DestinationGone("410"), DestinationBroken("404"), RetryLater("429", after=3600)])
async def test_what_was_held_against_one_place_does_not_count_at_another(
    gone: Exception, autojump_clock: MockClock
) -> None:
    async with world(gone) as here:
        await here.queue()
        async with here.agent("old") as dispatcher:
            await trio.sleep(1)
            current = await state_of(dispatcher)
            assert current != "open"
        async with here.agent("new") as dispatcher:
            await trio.sleep(1)
            assert await state_of(dispatcher) == "open"
        assert len(here.host.tries) == 2


async def test_a_pause_by_hand_outlives_a_change_of_place(autojump_clock: MockClock) -> None:
    async with world(DestinationGone("410")) as here:
        await here.queue()
        async with here.agent("old") as dispatcher:
            await trio.sleep(1)
            assert await dispatcher.pause(NAME)
        async with here.agent("new") as dispatcher:
            await trio.sleep(1)
            assert await state_of(dispatcher) == "paused"
            await dispatcher.resume(NAME)
            await trio.sleep(1)
            assert await state_of(dispatcher) == "open"
        assert len(here.host.tries) == 2


async def test_the_same_place_stays_disabled(autojump_clock: MockClock) -> None:
    async with world(DestinationGone("410")) as here:
        await here.queue()
        for _ in range(2):
            async with here.agent("old") as dispatcher:
                await trio.sleep(1)
                assert await state_of(dispatcher) == "disabled"
        assert len(here.host.tries) == 1


async def since_of(dispatcher: Dispatcher) -> float | None:
    """Seconds after NOW since which the destination is in trouble, by both ways to ask."""
    (status,), (condition,) = await dispatcher.snapshot(), dispatcher.conditions()
    assert status.since == condition.since
    assert (status.state, status.last_error, status.retry_at) == (
        condition.label,
        condition.last_error,
        condition.retry_at,
    )
    return None if status.since is None else (status.since - NOW).total_seconds()


async def test_trouble_lasts_from_its_first_failure_over_restarts_to_its_end(autojump_clock: MockClock) -> None:
    busy, broken = RetryLater("busy"), DestinationBroken("revoked")
    async with world(None, busy, busy, broken, busy, broken, None) as here:
        await here.queue(2)
        async with here.agent(rate=Rate(1, 10.0)) as dispatcher:
            await trio.sleep(1)
            assert await since_of(dispatcher) is None
            await trio.sleep(100)
            assert await state_of(dispatcher) == "parked"
            assert await since_of(dispatcher) == 10
        for _ in range(2):
            async with here.agent() as dispatcher:
                await trio.sleep(1)
                assert await state_of(dispatcher) == "parked"
                assert await since_of(dispatcher) == 10
        async with here.agent() as dispatcher:
            await trio.sleep(1)
            assert await state_of(dispatcher) == "open"
            assert await since_of(dispatcher) is None


async def test_stored_trouble_shows_before_the_plugin_can_be_called(autojump_clock: MockClock) -> None:
    async with world(DestinationGone("410")) as here:
        await here.queue()
        async with here.agent():
            await trio.sleep(1)
        here.host.loaded = trio.Event()
        async with here.agent() as dispatcher:
            await trio.sleep(1)
            (condition,) = dispatcher.conditions()
            assert (condition.label, condition.state, condition.since) == ("disabled", GateState.DISABLED, NOW)


async def test_a_refused_message_is_trouble_until_a_success_or_until_a_person_has_seen_it(
    autojump_clock: MockClock,
) -> None:
    async with world(Rejected("no"), Rejected("no")) as here, here.agent() as dispatcher:
        await here.queue()
        dispatcher.wake([NAME])
        await trio.sleep(100)
        assert (await state_of(dispatcher), await since_of(dispatcher)) == ("open", 0)
        assert await dispatcher.resume(NAME)
        assert await since_of(dispatcher) is None
        assert not await dispatcher.resume(NAME)


async def test_a_pause_by_hand_has_its_own_beginning(autojump_clock: MockClock) -> None:
    async with world() as here, here.agent() as dispatcher:
        await trio.sleep(50)
        await dispatcher.pause(NAME)
        await trio.sleep(50)
        assert await since_of(dispatcher) == 50
        await dispatcher.resume(NAME)
        assert await since_of(dispatcher) is None


async def test_a_clock_set_back_makes_no_trouble_younger_than_it_is(autojump_clock: MockClock) -> None:
    clock = SetClock(NOW)
    async with world(clock=clock) as here, here.agent() as dispatcher:
        await trio.sleep(1)
        await dispatcher.pause(NAME)
        assert await since_of(dispatcher) == 0
        await trio.sleep(600)
        clock.time = NOW - timedelta(hours=20)
        assert await since_of(dispatcher) == -20 * 3600 - 600
        clock.time = NOW + timedelta(seconds=600)
        assert await since_of(dispatcher) == 0
