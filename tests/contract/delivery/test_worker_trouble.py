"""Workers with a failing store, a changed clock, or an unusual order of events."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from outcome import Error
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import DestinationBroken, HttpFailed, Rejected, RetryLater, StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.store import Storage, Store
from support.outbox import NOW, Answer, FakeHost, SetClock, claim_all, event, inside, memory, new_store, queue_up
from support.trio_clock import TrioClock

pytestmark = pytest.mark.usefixtures("any_store")

T = TypeVar("T")
WEEK = 7 * 86_400.0


class FailingStorage(Storage):
    """Every call fails while ``broken`` is set."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, inline=True)
        self.broken = False

    async def run(self, fn: Callable[[Store], T]) -> T:
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise StoreError("the disk is full")
        return await super().run(fn)


@asynccontextmanager
async def open_workers(
    storage: Storage, host: FakeHost, clock: Clock | None = None, **settings: object
) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(
        storage=storage,
        host=host,
        clock=clock or TrioClock(NOW),
        chance=lambda: 0.0,
        announce=lambda _event: None,
    ) as dispatcher:
        named = {"name": "file_log.a", "max_age": WEEK} | settings
        dispatcher.start(DestinationSettings(**named))  # type: ignore[arg-type]
        yield dispatcher


async def test_a_sent_delivery_is_not_sent_again_while_it_cannot_be_recorded(autojump_clock: MockClock) -> None:
    storage = FailingStorage(new_store())
    await storage.run(queue_up(event("task_started", run=f"t{n}") for n in range(3)))
    host = FakeHost(takes_s=1.0, answers=deque([None, {"ts": "1"}]))
    async with open_workers(storage, host):
        await trio.sleep(1.5)
        storage.broken = True
        await trio.sleep(3600)
        assert host.titles == ["task_started t0", "task_started t1"]
        storage.broken = False
        await trio.sleep(3600)
        assert host.titles == ["task_started t0", "task_started t1", "task_started t2"]
        assert await storage.run(inside(lambda store: store.outbox.queues())) == {}
    await storage.run(Store.close)


async def test_a_store_that_fails_at_claiming_is_asked_again(autojump_clock: MockClock) -> None:
    storage = FailingStorage(new_store())
    await storage.run(queue_up([event("task_started")]))
    storage.broken = True
    host = FakeHost()
    async with open_workers(storage, host):
        await trio.sleep(100)
        assert host.tries == []
        storage.broken = False
        await trio.sleep(3600)
        assert len(host.tries) == 1
    await storage.run(Store.close)


async def test_a_sent_delivery_is_recorded_although_the_worker_is_cancelled(autojump_clock: MockClock) -> None:
    cancelled = trio.CancelScope()

    class CancellingHost(FakeHost):
        async def deliver(self, name: str, notifications: object) -> list[object]:  # type: ignore[override]
            results = await super().deliver(name, notifications)  # type: ignore[arg-type]
            cancelled.cancel()
            return results  # type: ignore[return-value]

    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        with cancelled:
            async with open_workers(storage, CancellingHost()):
                await trio.sleep_forever()
        assert await storage.run(claim_all()) == []


async def test_a_delivery_cut_off_by_a_cancellation_stays_queued(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        with trio.move_on_after(1):
            async with open_workers(storage, FakeHost(takes_s=60)):
                await trio.sleep_forever()
        assert len(await storage.run(claim_all())) == 1


async def test_a_clock_that_is_set_back_keeps_nothing_waiting(autojump_clock: MockClock) -> None:
    clock = SetClock(NOW)
    host = FakeHost(answers=deque([KeyError("a")]))
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        async with open_workers(storage, host, clock):
            await trio.sleep(1)
            clock.time = NOW - timedelta(hours=1)
            await trio.sleep(120)
            assert len(host.tries) == 2
            assert await storage.run(inside(lambda store: store.outbox.queues())) == {}


async def test_a_clock_that_leaps_a_year_leads_to_no_hot_loop(autojump_clock: MockClock) -> None:
    clock = SetClock(NOW)
    host = FakeHost(default=RetryLater("busy"))
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        async with open_workers(storage, host, clock, max_age=1000 * 86_400.0):
            await trio.sleep(1)
            clock.time = NOW + timedelta(days=365)
            await trio.sleep(100)
            assert host.times == [0, 1, 6, 21, 81]


async def test_a_dead_destination_delays_no_other(autojump_clock: MockClock) -> None:
    class TwoFaced(FakeHost):
        async def deliver(self, name: str, notifications: object) -> list[object]:  # type: ignore[override]
            results = await super().deliver(name, notifications)  # type: ignore[arg-type]
            return [Error(HttpFailed("refused"))] if name == "slack.dead" else list(results)

    host = TwoFaced()
    async with memory() as storage, open_workers(storage, host) as dispatcher:
        dispatcher.start(DestinationSettings(name="slack.dead", max_age=WEEK))
        for n in range(5):
            await storage.run(queue_up([event("task_started", run=f"t{n}")], ["slack.dead", "file_log.a"]))
            dispatcher.wake(["slack.dead", "file_log.a", "nobody"])
            await trio.sleep(10)
        good = [round(when) for when, name, _ in host.tries if name == "file_log.a"]
        assert good == [0, 10, 20, 30, 40]
        states = {status.name: (status.state, status.queued) for status in await dispatcher.snapshot()}
        assert states == {"file_log.a": ("open", 0), "slack.dead": ("backing off", 5)}


async def test_a_destination_that_is_removed_keeps_its_queue(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_workers(storage, FakeHost(loaded=trio.Event())) as dispatcher:
        await storage.run(queue_up([event("task_started")], ["slack.gone"]))
        dispatcher.start(DestinationSettings(name="slack.gone", max_age=WEEK))
        with pytest.raises(ValueError, match=r"slack\.gone has a worker already"):
            dispatcher.start(DestinationSettings(name="slack.gone", max_age=WEEK))
        await dispatcher.stop("slack.gone", timeout=1)
        await dispatcher.stop("slack.gone", timeout=1)
        with capture_logs() as lines:
            await dispatcher.log_orphaned_queues()
        assert [(line["name"], line["queued"]) for line in lines] == [("slack.gone", 1)]
        assert (await dispatcher.queues())["slack.gone"].queued == 1
        assert [(status.name, status.state, status.queued) for status in await dispatcher.snapshot()] == [
            ("file_log.a", "open", 0),
            ("slack.gone", "not configured", 1),
        ]
        assert dispatcher.names() == ("file_log.a",)


async def test_a_destination_in_trouble_does_not_delay_wait_idle(autojump_clock: MockClock) -> None:
    host = FakeHost(default=RetryLater("busy"))
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        async with open_workers(storage, host) as dispatcher:
            await trio.sleep(1)
            await dispatcher.wait_idle()
            assert trio.current_time() == 1


async def test_a_drain_does_not_wait_for_a_store_when_there_is_nothing_to_record(
    autojump_clock: MockClock,
) -> None:
    storage = FailingStorage(new_store())
    storage.broken = True
    async with open_workers(storage, FakeHost()) as dispatcher:
        await trio.sleep(10)
        storage.broken = False
        await dispatcher.drain(60)
        assert trio.current_time() == 10
    await storage.run(Store.close)


async def test_a_drain_waits_until_sent_deliveries_are_recorded(autojump_clock: MockClock) -> None:
    storage = FailingStorage(new_store())
    await storage.run(queue_up([event("task_started")]))
    async with open_workers(storage, FakeHost(takes_s=1)) as dispatcher:
        await trio.sleep(0.5)
        storage.broken = True
        await trio.sleep(4.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.drain, 60)
            await trio.sleep(1)
            storage.broken = False
        assert trio.current_time() == 7
        assert await dispatcher.queues() == {}
    await storage.run(Store.close)


async def test_a_stop_that_is_cancelled_leaves_the_worker_to_the_drain(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        async with open_workers(storage, FakeHost(takes_s=5)) as dispatcher:
            await trio.sleep(1)
            with trio.move_on_after(1):
                await dispatcher.stop("file_log.a", 60)
            await dispatcher.drain(60)
            assert trio.current_time() == 5
            assert await dispatcher.queues() == {}


FAULTS: list[Answer] = [
    None,
    {"n": 1},
    RetryLater("busy"),
    RetryLater("busy", after=3),
    HttpFailed("reset", maybe_sent=True),
    TimeoutError(),
    DestinationBroken("revoked"),
    Rejected("too long"),
    KeyError("a"),
    ValueError("b"),
]


@example(answers=[], arrivals=[("a", 0)] * 4, in_flight=3, restarts={0, 3})
@given(
    answers=st.lists(st.sampled_from(FAULTS), max_size=25),
    arrivals=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 0, 1, 400])), max_size=12),
    in_flight=st.sampled_from([1, 3]),
    restarts=st.sets(st.integers(0, 11)),
)
def test_nothing_is_lost_and_a_run_keeps_its_order(
    answers: list[Answer], arrivals: list[tuple[str, float]], in_flight: int, restarts: set[int]
) -> None:
    """Holds for all answers of a plugin, and for restarts at any point.

    A restart repeats the batch that it cut off, so a run's tries may come as 2, 3, 2, 3. Within the life of one
    agent they never step back, and neither the first nor the last try of a delivery overtakes an earlier one.
    """
    host = FakeHost(answers=deque(answers))
    starts: list[int] = []

    async def main() -> None:
        store = Store("sqlite://")  # a new store for each example
        storage = Storage(store, inline=True)
        host.loaded = trio.Event()
        host.loaded.set()
        waiting = deque(enumerate(arrivals))
        while waiting:
            starts.append(len(host.tries))
            async with open_workers(storage, host, in_flight=in_flight) as dispatcher:
                while waiting:
                    n, (run, pause) = waiting.popleft()
                    await storage.run(queue_up([event("artifact", run=run, artifact={"path": str(n)})]))
                    dispatcher.wake(["file_log.a"])
                    await trio.sleep(pause)
                    if n in restarts:
                        break
        starts.append(len(host.tries))
        async with open_workers(storage, host, in_flight=in_flight):
            for _ in range(1000):
                if not await storage.run(inside(lambda store: store.outbox.queues())):
                    break
                await trio.sleep(300)
        assert await storage.run(inside(lambda store: store.outbox.queues())) == {}
        store.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    tried = [int(notification.event.wire()["artifact"]["path"]) for _, _, notification in host.tries]
    assert set(tried) == set(range(len(arrivals)))
    lives = [tried[start:end] for start, end in pairwise([*starts, len(tried)])]
    for run in "abc":
        mine = [n for n in tried if arrivals[n][0] == run]
        assert in_order(dict.fromkeys(mine))
        assert in_order(reversed(dict.fromkeys(reversed(mine))))
        for life in [mine] if in_flight == 1 else lives:
            assert in_order(n for n in life if arrivals[n][0] == run)


def in_order(numbers: Iterable[int]) -> bool:
    """Returns whether the numbers never decrease."""
    return all(earlier <= later for earlier, later in pairwise(numbers))


async def test_a_notification_keeps_its_id_over_every_retry(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([RetryLater(), KeyError("a"), DestinationBroken("x"), None]))
    async with memory() as storage:
        await storage.run(queue_up([event("task_started")]))
        async with open_workers(storage, host):
            await trio.sleep(86_400)
    tries: list[Notification] = [notification for _, _, notification in host.tries]
    assert len(tries) == 4
    assert len({notification.id for notification in tries}) == 1
