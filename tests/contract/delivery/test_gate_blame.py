"""Whose trouble is it? One message that never arrives holds nothing back; an outage costs no message."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome import Error, Value
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.delivery.settlement import USUAL_PATIENCE, Patience
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import DestinationBroken, HttpFailed, RetryLater
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.plugins.border import DeadlineExceeded, NoConnection
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import DeliveryRow, DeliveryState, Storage, Store
from support.outbox import NOW, delivery_rows, event, inside, memory, queue_up
from support.trio_clock import TrioClock

NAME, OTHER = "slack.a", "file_log.b"
DAY = 86_400.0
UNDECIDED = [
    RetryLater("HTTP 500"),
    HttpFailed("connection reset", maybe_sent=True),
    DeadlineExceeded("no answer within 30 s"),
    NoConnection("ConnectionResetError: by peer"),
]
"""Errors of which nobody can tell from one try whether they are about the message or the destination."""
BUSY, BROKEN = RetryLater("HTTP 429", after=60), DestinationBroken("revoked")


STRICT = Patience(min_blamed_age_s=0.0)
"""Lets the blame end messages of any age, so that the tests are as strict as can be."""


@dataclass
class Receiver:
    """A destination that fails for some notifications always, and for all of them at some times."""

    refuses: Callable[[Notification], Exception | None] = lambda _notification: None
    fails_at: Callable[[float], Exception | None] = lambda _now_s: None
    tries: list[tuple[float, str, bool]] = field(default_factory=list)
    delivered: dict[str, float] = field(default_factory=dict)

    def is_loaded(self, name: str) -> bool:
        return True

    async def wait_loaded(self, name: str) -> None:
        await trio.lowlevel.checkpoint()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results: list[DeliveryResult] = []
        for notification in notifications:
            now_s, run = trio.current_time(), label(notification)
            await trio.sleep(0.01)
            if name == NAME:
                self.tries.append((now_s, run, notification.plain))
                if error := self.fails_at(now_s) or self.refuses(notification):
                    return [*results, Error(error)]
            self.delivered[run if name == NAME else f"{name} {run}"] = now_s
            results.append(Value(None))
        return results

    def times(self, run: str) -> list[float]:
        return [round(now_s, 1) for now_s, tried, _ in self.tries if tried == run]


def label(notification: Notification) -> str:
    return f"{notification.event.run_id}" + (":end" if notification.event.type == "task_failed" else "")


def refusing(error: Exception, *runs: str, plain_too: bool = True) -> Callable[[Notification], Exception | None]:
    return lambda tried: error if label(tried) in runs and (plain_too or not tried.plain) else None


@dataclass
class World:
    storage: Storage
    receiver: Receiver
    clock: Clock

    @asynccontextmanager
    async def agent(self, **settings: Any) -> AsyncIterator[Dispatcher]:
        async with open_dispatcher(
            storage=self.storage,
            host=self.receiver,
            clock=self.clock,
            chance=lambda: 0.0,
            announce=lambda _event: None,
        ) as dispatcher:
            named: dict[str, Any] = {"name": NAME, "max_age": 3 * DAY, "patience": STRICT} | settings
            dispatcher.start(DestinationSettings(**named))
            dispatcher.start(DestinationSettings(OTHER, max_age=3 * DAY, patience=STRICT))
            yield dispatcher

    async def queue(self, runs: Iterable[str], kind: str = "task_started") -> None:
        await self.storage.run(queue_up([event(kind, run=run) for run in runs], [NAME], self.clock.now()))

    async def rows(self) -> dict[str, DeliveryRow]:
        """Returns the deliveries of the destination by their label."""
        rows = await self.storage.run(delivery_rows(NAME))
        words = {row.id: row.content["title"].split() for row in rows if row.content}
        return {words[row.id][1] + (":end" if words[row.id][0] == "task_failed" else ""): row for row in rows}

    async def states(self) -> dict[str, str]:
        return {run: row.state.value for run, row in (await self.rows()).items()}


@asynccontextmanager
async def world(receiver: Receiver) -> AsyncIterator[World]:
    async with memory() as storage:
        yield World(storage, receiver, TrioClock(NOW))


def runs(count: int, first: int = 0) -> list[str]:
    return [f"t{number}" for number in range(first, first + count)]


@pytest.mark.usefixtures("any_store")
@pytest.mark.parametrize("in_flight", [1, 10])
async def test_a_message_that_never_arrives_holds_nothing_back_and_dies(
    autojump_clock: MockClock, in_flight: int
) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t1"))
    async with world(receiver) as here:
        await here.queue(runs(5))
        async with here.agent(in_flight=in_flight) as dispatcher:
            await trio.sleep(60)
            assert sorted(receiver.delivered) == ["t0", "t2", "t3", "t4"]
            for number in range(30):
                await here.queue([f"later{number}"])
                dispatcher.wake([NAME])
                await trio.sleep(30)
            row = (await here.rows())["t1"]
            assert row.state is DeliveryState.DEAD
            assert row.reason == (
                "the destination took other messages, but failed 9 times on this one: HTTP 500, also as plain text"
            )
            plains = [plain for _, run, plain in receiver.tries if run == "t1"]
            assert (plains[:8], plains[-1]) == ([False] * 8, True)
            assert len(plains) < 18
            assert len(receiver.delivered) == 34
            (condition, _) = dispatcher.conditions()
            assert (condition.label, condition.since) == ("open", None)


@pytest.mark.parametrize("error", UNDECIDED, ids=lambda error: type(error).__name__)
async def test_each_undecided_error_can_be_the_message_s_own(autojump_clock: MockClock, error: Exception) -> None:
    receiver = Receiver(refusing(error, "t0"))
    async with world(receiver) as here, here.agent() as dispatcher:
        for run in runs(60):
            await here.queue([run])
            dispatcher.wake([NAME])
            await trio.sleep(20)
        assert {run for run, state in (await here.states()).items() if state != "delivered"} == {"t0"}
        assert (await here.states())["t0"] == "dead"


@pytest.mark.parametrize("error", [RetryLater("busy", after=600), DestinationBroken("revoked")])
async def test_a_destination_that_speaks_for_itself_is_believed(
    autojump_clock: MockClock, error: Exception
) -> None:
    """A pause that was requested, and a broken destination, are nobody else's trouble."""
    receiver = Receiver(refusing(error, "t0"))
    async with world(receiver) as here:
        await here.queue(runs(3))
        async with here.agent():
            await trio.sleep(DAY / 4)
            assert set((await here.states()).values()) == {"queued"}
            assert {run for _, run, _ in receiver.tries} == {"t0"}


async def test_the_last_try_as_plain_text_may_arrive(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(HttpFailed("reset"), "t0", plain_too=False))
    async with world(receiver) as here, here.agent() as dispatcher:
        for run in runs(60):
            await here.queue([run])
            dispatcher.wake([NAME])
            await trio.sleep(20)
        assert set((await here.states()).values()) == {"delivered"}


async def test_a_lone_message_waits_and_a_later_one_probes_at_once(autojump_clock: MockClock) -> None:
    """Nothing has arrived yet, so nobody can tell whose trouble it is."""
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0", "t0:end"))
    async with world(receiver) as here:
        await here.queue(["t0"])
        async with here.agent() as dispatcher:
            await here.queue(["t0"], "task_failed")
            await trio.sleep(DAY / 4)
            assert set((await here.states()).values()) == {"queued"}
            assert {run for _, run, _ in receiver.tries} == {"t0"}
            tries = len(receiver.tries)
            await here.queue(["t1"])
            dispatcher.wake([NAME])
            await trio.sleep(0.1)
            assert receiver.tries[tries][1] == "t1"
            assert list(receiver.delivered) == ["t1"]


async def test_what_is_of_the_same_run_waits_behind_it(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0"))
    async with world(receiver) as here:
        await here.queue(["t0"])
        await here.queue(["t0"], "task_failed")
        async with here.agent() as dispatcher:
            for number in range(40):
                await here.queue([f"other{number}"])
                dispatcher.wake([NAME])
                await trio.sleep(30)
            assert (await here.states())["t0"] == "dead"
        died_at = receiver.times("t0")[-1]
        assert receiver.times("t0:end")[0] >= died_at


@pytest.mark.usefixtures("any_store")
async def test_an_outage_kills_nothing_however_long_it_is(autojump_clock: MockClock) -> None:
    """Not before ``max_age``; and once it is over, all is delivered at once, in order."""
    receiver = Receiver(fails_at=lambda now_s: RetryLater("HTTP 503") if now_s < DAY / 2 else None)
    async with world(receiver) as here:
        await here.queue(runs(8))
        async with here.agent():
            await trio.sleep(DAY / 2)
            assert set((await here.states()).values()) == {"queued"}
            assert len(receiver.tries) < 60
            await trio.sleep(901 + 10)
            assert sorted(receiver.delivered) == runs(8)
            by_time = sorted(receiver.delivered, key=lambda run: receiver.delivered[run])
            assert sorted(by_time[1:]) == by_time[1:]


@pytest.mark.parametrize(("chance", "hours"), [(0.05, 6), (0.5, 3)])
@pytest.mark.parametrize("seed", range(2))
async def test_a_destination_that_fails_at_random_gets_everything(
    autojump_clock: MockClock, chance: float, hours: int, seed: int
) -> None:
    draw = Random(seed)
    receiver = Receiver(fails_at=lambda _now_s: RetryLater("HTTP 503") if draw.random() < chance else None)
    async with world(receiver) as here, here.agent() as dispatcher:
        for number in range(hours * 60):
            await here.queue([f"t{number}"])
            dispatcher.wake([NAME])
            await trio.sleep(60)
        receiver.fails_at = lambda _now_s: None
        await trio.sleep(3600)
        assert set((await here.states()).values()) == {"delivered"}


async def test_a_dead_one_goes_to_the_fallback(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0"))
    async with world(receiver) as here, here.agent(fallback=OTHER, fallback_after=2 * DAY) as dispatcher:
        for run in runs(60):
            await here.queue([run])
            dispatcher.wake([NAME])
            await trio.sleep(20)
        row = (await here.rows())["t0"]
        assert row.state is DeliveryState.DEAD
        assert row.reason is not None
        assert row.reason.endswith(f"on this one: HTTP 500, also as plain text; {OTHER} took over")
        assert f"{OTHER} t0" in receiver.delivered


async def test_a_retry_by_hand_begins_anew(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0"))
    async with world(receiver) as here, here.agent() as dispatcher:
        for run in runs(60):
            await here.queue([run])
            dispatcher.wake([NAME])
            await trio.sleep(20)
        row = (await here.rows())["t0"]
        assert row.state is DeliveryState.DEAD
        receiver.refuses = lambda _notification: None
        retry = inside(lambda store: store.delivery_queries.retry([row.id], now=here.clock.now()))
        await here.storage.run(retry)
        dispatcher.wake([NAME])
        await trio.sleep(1)
        assert receiver.tries[-1][1:] == ("t0", False)
        assert (await here.states())["t0"] == "delivered"


async def test_the_rate_holds_for_probes_too(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0"))
    async with world(receiver) as here:
        await here.queue(runs(10))
        async with here.agent(rate=Rate(1, 30.0)):
            await trio.sleep(3600)
            starts = [now_s for now_s, _, _ in receiver.tries]
            assert min(later - earlier for earlier, later in pairwise(starts)) >= 30
            assert len(receiver.delivered) == 9


async def test_the_log_says_whose_trouble_it_is(autojump_clock: MockClock) -> None:
    receiver = Receiver(refusing(RetryLater("HTTP 500"), "t0"))
    with capture_logs() as lines:
        async with world(receiver) as here, here.agent() as dispatcher:
            for run in runs(60):
                await here.queue([run])
                dispatcher.wake([NAME])
                await trio.sleep(20)
    said = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert said == [
        *["only this notification does not arrive, trying it again"] * 4,
        "notification refused, trying it once more as plain text",
        "delivery given up",
    ]


def outage_at(now_s: float, outages: Sequence[tuple[float, float, Exception]]) -> Exception | None:
    return next((error for start, length, error in outages if start <= now_s < start + length), None)


@settings(max_examples=10)
@given(
    bad=st.sets(st.integers(0, 19), max_size=4),
    threads=st.lists(st.integers(0, 5), min_size=20, max_size=20),
    gaps=st.lists(st.sampled_from([0, 0, 1, 30, 400]), min_size=20, max_size=20),
    outages=st.lists(
        st.tuples(
            st.floats(0, 3000), st.sampled_from([1, 20, 200, 3000]), st.sampled_from([*UNDECIDED, BROKEN, BUSY])
        ),
        max_size=4,
    ),
    in_flight=st.sampled_from([1, 5]),
    restarts=st.sets(st.integers(0, 19), max_size=3),
)
def test_each_good_message_arrives_and_each_bad_one_dies_alone(
    bad: set[int],
    threads: list[int],
    gaps: list[int],
    outages: list[tuple[float, float, Exception]],
    in_flight: int,
    restarts: set[int],
) -> None:
    """The model: some messages are always refused, and at some times all are. Restarts lose no count.

    Each outage can put at most one failure of a good message between two successes, and there are fewer outages
    than a message needs of those to be given up.
    """
    receiver = Receiver(
        lambda tried: RetryLater("HTTP 500") if tried.event.wire().get("number") in bad else None,
        lambda now_s: outage_at(now_s, outages),
    )

    async def main() -> None:
        storage = Storage(Store("sqlite://"), inline=True)
        here = World(storage, receiver, TrioClock(NOW))
        number = 0
        while number < 20:
            async with here.agent(in_flight=in_flight) as dispatcher:
                while number < 20:
                    about = event("artifact", run=f"t{threads[number]}", artifact={"path": "a"}, number=number)
                    await storage.run(queue_up([about], [NAME], here.clock.now()))
                    dispatcher.wake([NAME])
                    await trio.sleep(gaps[number])
                    number += 1
                    if number - 1 in restarts:
                        break
        async with here.agent(in_flight=in_flight) as dispatcher:
            await dispatcher.unpark_all()
            await trio.sleep(max(0.0, 7000 - trio.current_time()))
            for later in range(90):
                await here.queue([f"later{later}"])
                dispatcher.wake([NAME])
                await trio.sleep(60)
            rows = await storage.run(delivery_rows(NAME))
        assert len(rows) == 110
        for position, row in enumerate(rows):
            assert row.state is (DeliveryState.DEAD if position in bad else DeliveryState.DELIVERED), position
            assert position not in bad or "but failed" in (row.reason or "")
        await storage.run(Store.close)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_several_such_messages_at_the_head_are_passed_one_by_one(autojump_clock: MockClock) -> None:
    bad = runs(4)
    receiver = Receiver(refusing(RetryLater("HTTP 500"), *bad))
    async with world(receiver) as here:
        await here.queue(runs(10))
        async with here.agent() as dispatcher:
            for number in range(100):
                await here.queue([f"later{number}"])
                dispatcher.wake([NAME])
                await trio.sleep(60)
            states = await here.states()
            assert {run for run, state in states.items() if state == "dead"} == set(bad)
            assert {run for run, state in states.items() if state == "queued"} == set()


async def test_a_slow_destination_loses_no_message_of_a_burst(autojump_clock: MockClock) -> None:
    """It takes one message in half a minute, and refuses each that comes right after another."""

    def is_too_soon(now_s: float) -> Exception | None:
        last_s = max(receiver.delivered.values(), default=-30.0)
        return RetryLater("HTTP 503") if now_s - last_s < 30 else None

    receiver = Receiver(fails_at=is_too_soon)
    async with world(receiver) as here:
        await here.queue(runs(60))
        async with here.agent(patience=USUAL_PATIENCE) as dispatcher:
            for _ in range(24 * 60):
                if len(receiver.delivered) == 60:
                    break
                await trio.sleep(60)
                dispatcher.wake([NAME])
        assert set((await here.states()).values()) == {"delivered"}
