"""Several deliveries at a time at one destination: order, trouble, waves of failures, and the end of a worker."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome import Error, Value
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import DestinationBroken, Rejected, RetryLater
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import Storage, Store
from aintandem_notify.store.tables.outbox import WINDOW
from support.outbox import NOW, delivery_rows, event, inside, memory, queue_up
from support.trio_clock import TrioClock

NAME = "webhook.a"
DAY = 86_400.0
DOWN = RetryLater("HTTP 503")


@dataclass(frozen=True)
class Call:
    """One delivery at the plugin: when it began and ended (None: cancelled), and its run."""

    run: str
    began_s: float
    ended_s: float | None = None


@dataclass
class SlowHost:
    """A plugin whose deliveries take a time and end with an answer, both by the notification and the time."""

    takes_s: Callable[[str, float], float] = lambda _run, _now_s: 1.0
    answer: Callable[[str, float], Exception | None] = lambda _run, _began_s: None
    calls: list[Call] = field(default_factory=list)
    active: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    sizes: list[int] = field(default_factory=list)

    def is_loaded(self, name: str) -> bool:
        return True

    async def wait_loaded(self, name: str) -> None:
        await trio.lowlevel.checkpoint()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        self.sizes.append(len(notifications))
        results: list[DeliveryResult] = []
        for notification in notifications:
            run, began_s = str(notification.event.run_id), trio.current_time()
            assert not self.active[run], "two deliveries of one run at a time"
            self.active[run] += 1
            self.peak = max(self.peak, self.active.total())
            ended_s = None
            try:
                await trio.sleep(self.takes_s(run, began_s))
                ended_s = trio.current_time()
            finally:
                self.active[run] -= 1
                self.calls.append(Call(label(notification), began_s, ended_s))
            error = self.answer(run, began_s)
            results.append(Error(error) if error else Value(None))
            if error:
                break
        return results

    @property
    def starts(self) -> list[float]:
        return sorted(round(call.began_s, 3) for call in self.calls)


def label(notification: Notification) -> str:
    path = notification.event.wire().get("artifact", {}).get("path", "")
    return f"{notification.event.run_id} {path}".strip()


@asynccontextmanager
async def worker(storage: Storage, host: SlowHost, **named: Any) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(
        storage=storage, host=host, clock=TrioClock(NOW), chance=lambda: 0.0, announce=lambda _event: None
    ) as dispatcher:
        options: dict[str, Any] = {"parallel": 4} | named
        dispatcher.start(DestinationSettings(NAME, 3 * DAY, **options))
        yield dispatcher


async def queue(storage: Storage, runs: Iterable[str]) -> None:
    counts: Counter[str] = Counter()
    events = []
    for run in runs:
        events.append(event("artifact", run=run, artifact={"path": str(counts[run])}))
        counts[run] += 1
    await storage.run(queue_up(events, [NAME]))


async def queued(storage: Storage) -> int:
    queues = await storage.run(inside(lambda store: store.outbox.queues()))
    return queues[NAME].queued if NAME in queues else 0


def sorted_calls(host: SlowHost) -> list[tuple[str, float]]:
    """Returns the deliveries by their start, each with the time of it."""
    calls = sorted(host.calls, key=lambda call: (call.began_s, call.run))
    return [(call.run, call.began_s) for call in calls]


def numbered(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


@pytest.mark.usefixtures("any_store")
async def test_deliveries_of_different_runs_go_out_together_and_those_of_one_run_in_order(
    autojump_clock: MockClock,
) -> None:
    host = SlowHost()
    async with memory() as storage:
        await queue(storage, ["a", "a", "b", "a", "c", "d", "e", "b"])
        async with worker(storage, host) as dispatcher:
            await dispatcher.wait_idle()
            assert trio.current_time() == 3
            assert await queued(storage) == 0
    assert sorted_calls(host) == [
        *(("a 0", 0), ("b 0", 0), ("c 0", 0), ("d 0", 0)),
        *(("a 1", 1), ("b 1", 1), ("e 0", 1)),
        ("a 2", 2),
    ]
    assert host.peak == 4


@pytest.mark.usefixtures("any_store")
async def test_a_wave_of_failures_is_one_failure_and_one_delivery_probes(autojump_clock: MockClock) -> None:
    host = SlowHost(takes_s=lambda _run, _now_s: 0.25, answer=lambda _run, began_s: DOWN if began_s < 6 else None)
    async with memory() as storage:
        await queue(storage, numbered(40))
        async with worker(storage, host, parallel=32) as dispatcher:
            await trio.sleep(0.9)
            (status,) = await dispatcher.snapshot()
            assert (status.state, status.queued) == ("backing off", 40)
            assert status.retry_at == NOW + timedelta(seconds=1.25)
            await trio.sleep(100)
            assert await queued(storage) == 0
    # A probe 1 s after the wave has ended, and one 5 s after that has failed.
    assert host.starts == [*[0.0] * 32, 1.25, 6.5, *[6.75] * 32, *[7.0] * 7]


@pytest.mark.usefixtures("any_store")
async def test_a_late_success_opens_nothing(autojump_clock: MockClock) -> None:
    takes_s = {"t0": 0.5, "t1": 1.0, "t2": 2.0}
    host = SlowHost(
        takes_s=lambda run, _now_s: takes_s.get(run, 0.25),
        answer=lambda run, began_s: DOWN if run == "t0" and began_s < 5 else None,
    )
    async with memory() as storage:
        await queue(storage, numbered(6))
        async with worker(storage, host, parallel=3) as dispatcher:
            for at_s, state in ((0.75, "backing off"), (1.25, "backing off"), (3.0, "backing off"), (8.0, "open")):
                await trio.sleep_until(at_s)
                assert [(item.name, item.state) for item in await dispatcher.snapshot()] == [(NAME, state)]
    # The probe of 1.5 s fails at 2.0; the one of 7.0 s opens the gate.
    assert host.starts == [0, 0, 0, 1.5, 7.0, 7.5, 7.5, 7.5]


async def test_a_late_failure_closes_no_gate_that_a_probe_has_opened(autojump_clock: MockClock) -> None:
    takes_s = {"t1": 5.0}
    host = SlowHost(
        takes_s=lambda run, began_s: takes_s.get(run, 0.5) if began_s == 0 else 0.5,
        answer=lambda _run, began_s: DOWN if began_s == 0 else None,
    )
    async with memory() as storage:
        await queue(storage, numbered(4))
        async with worker(storage, host, parallel=2) as dispatcher:
            await trio.sleep(5.1)
            (status,) = await dispatcher.snapshot()
            assert (status.state, status.last_error) == ("open", None)
            await dispatcher.wait_idle()
            assert await queued(storage) == 0
    # The gate opens at 2.0; one of two is under way until 5.0, and then is tried again at once.
    assert host.starts == [0, 0, 1.5, 2.0, 2.5, 5.0]


@pytest.mark.usefixtures("any_store")
async def test_a_destination_in_trouble_gets_one_at_a_time(autojump_clock: MockClock) -> None:
    host = SlowHost(
        takes_s=lambda _run, began_s: 0.0 if began_s == 0 else 20.0,
        answer=lambda _run, began_s: DOWN if began_s == 0 else None,
    )
    async with memory() as storage:
        await queue(storage, numbered(8))
        async with worker(storage, host) as dispatcher:
            for _ in range(10):
                await trio.sleep(2)
                dispatcher.wake([NAME])
            await trio.sleep(2)
    assert host.starts[4:6] == [1.0, 21.0]


async def test_a_requested_pause_of_a_late_failure_holds(autojump_clock: MockClock) -> None:
    def answer(run: str, began_s: float) -> Exception | None:
        return RetryLater(after={"t0": 3.0, "t1": 30.0}[run]) if began_s == 0 else None

    host = SlowHost(takes_s=lambda run, _now_s: {"t0": 1.0, "t1": 2.0}[run], answer=answer)
    async with memory() as storage:
        await queue(storage, numbered(2))
        async with worker(storage, host):
            await trio.sleep(100)
    assert host.starts == [0, 0, 32, 33]


async def test_a_broken_destination_is_parked_once(autojump_clock: MockClock) -> None:
    host = SlowHost(answer=lambda _run, began_s: DestinationBroken("revoked") if began_s < 300 else None)
    async with memory() as storage:
        await queue(storage, numbered(8))
        async with worker(storage, host):
            await trio.sleep(1000)
            assert await queued(storage) == 0
    assert host.starts == [*[0] * 4, 301, *[302] * 4, *[303] * 3]


@pytest.mark.usefixtures("any_store")
async def test_the_rate_limits_starts_and_not_flights(autojump_clock: MockClock) -> None:
    host = SlowHost(takes_s=lambda _run, _now_s: 10.0)
    async with memory() as storage:
        await queue(storage, numbered(6))
        async with worker(storage, host, rate=Rate(1, 2.0), in_flight=5):
            await trio.sleep(100)
    assert host.starts == [0, 2, 4, 6, 10, 12]
    assert host.peak == 4


@pytest.mark.usefixtures("any_store")
async def test_each_hand_over_holds_deliveries_of_other_runs(autojump_clock: MockClock) -> None:
    host = SlowHost()
    async with memory() as storage:
        await queue(storage, [*numbered(10), *numbered(10)])
        async with worker(storage, host, in_flight=3) as dispatcher:
            await dispatcher.wait_idle()
            assert await queued(storage) == 0
    assert host.peak == 4
    assert sorted(host.sizes[:4]) == [2, 2, 3, 3]
    assert all(size <= 3 for size in host.sizes)


@pytest.mark.usefixtures("any_store")
async def test_a_drain_waits_for_all_that_are_under_way_and_begins_no_other(autojump_clock: MockClock) -> None:
    host = SlowHost(takes_s=lambda run, _now_s: 1.0 + int(run[1:]))
    async with memory() as storage:
        await queue(storage, numbered(8))
        async with worker(storage, host) as dispatcher:
            await trio.sleep(0.5)
            await dispatcher.drain(10)
            assert trio.current_time() == 4
        assert await queued(storage) == 4
        again = SlowHost()
        async with worker(storage, again) as dispatcher:
            await dispatcher.wait_idle()
    assert sorted(call.run for call in host.calls) == [f"t{number} 0" for number in range(4)]
    assert sorted(call.run for call in again.calls) == [f"t{number} 0" for number in range(4, 8)]


@pytest.mark.usefixtures("any_store")
async def test_those_that_end_within_the_drain_time_are_not_repeated(autojump_clock: MockClock) -> None:
    host = SlowHost(takes_s=lambda run, _now_s: 100.0 if run == "t0" else 2.0)
    async with memory() as storage:
        await queue(storage, numbered(8))
        async with worker(storage, host) as dispatcher:
            await trio.sleep(1)
            await dispatcher.drain(5)
            assert trio.current_time() == 6
        again = SlowHost()
        async with worker(storage, again) as dispatcher:
            await dispatcher.wait_idle()
    ended = [call.run for call in host.calls if call.ended_s is not None]
    assert sorted(ended) == ["t1 0", "t2 0", "t3 0"]
    assert sorted(call.run for call in again.calls) == ["t0 0", "t4 0", "t5 0", "t6 0", "t7 0"]


class SlowStorage(Storage):
    """Each call takes half a second of virtual time, half of it before its work."""

    async def run(self, fn: Callable[[Store], Any]) -> Any:
        await trio.sleep(0.25)
        result = await super().run(fn)
        await trio.sleep(0.25)
        return result


async def test_trouble_that_arrives_while_the_next_are_claimed_stops_them(autojump_clock: MockClock) -> None:
    host = SlowHost(
        takes_s=lambda run, _now_s: {"t0": 0.1, "t1": 0.5}.get(run, 1.0),
        answer=lambda run, began_s: DOWN if run == "t1" and began_s < 2 else None,
    )
    async with memory() as plain:
        storage = SlowStorage(plain._store, inline=True)
        await queue(storage, numbered(5))
        async with worker(storage, host, parallel=2):
            await trio.sleep(100)
            assert await queued(storage) == 0
    # t2 is claimed between the ends of t0 and t1, and goes out after the probe, which is t1.
    by_start = sorted(host.calls, key=lambda call: call.began_s)
    assert [call.run for call in by_start][:3] == ["t0 0", "t1 0", "t1 0"]
    assert sorted(call.run for call in host.calls) == ["t0 0", "t1 0", "t1 0", "t2 0", "t3 0", "t4 0"]


@pytest.mark.usefixtures("any_store")
async def test_the_long_queue_of_one_run_hides_no_other(autojump_clock: MockClock) -> None:
    """Only the first deliveries of a queue are read at each look, the others once a second."""
    host = SlowHost(answer=lambda run, began_s: ValueError("odd") if run == "a" and began_s < 5 else None)
    async with memory() as storage:
        await queue(storage, [*["a"] * (WINDOW + 1), "b", "c"])
        async with worker(storage, host):
            await trio.sleep(4)
            assert sorted_calls(host) == [("a 0", 0), ("b 0", 0), ("c 0", 0)]
            await trio.sleep(WINDOW + 60)
            assert await queued(storage) == 0


@pytest.mark.usefixtures("any_store")
async def test_the_long_queue_of_one_run_hides_no_other_while_one_of_it_is_under_way(
    autojump_clock: MockClock,
) -> None:
    host = SlowHost(takes_s=lambda run, _began_s: 20.0 if run == "a" else 0.1)
    async with memory() as storage:
        await queue(storage, ["a"] * (WINDOW + 1))
        async with worker(storage, host) as dispatcher:
            await trio.sleep(0.5)
            await queue(storage, [*numbered(9), "t0"])
            dispatcher.wake([NAME])
            await trio.sleep(19)
    starts = {call.run: call.began_s for call in host.calls}
    assert starts.keys() == {"a 0", "t0 1", *(f"{run} 0" for run in numbered(9))}
    assert starts.pop("a 0") == 0
    assert min(starts.values()) <= 1.5
    assert max(starts.values()) < 5


@pytest.mark.usefixtures("any_store")
async def test_one_that_is_retried_by_hand_waits_for_a_later_one_of_its_run(autojump_clock: MockClock) -> None:
    host = SlowHost(
        takes_s=lambda _run, began_s: 50.0 if began_s == 5 else 0.0,
        answer=lambda _run, began_s: Rejected("odd") if began_s < 5 else None,
    )
    async with memory() as storage:
        await queue(storage, ["a"])
        async with worker(storage, host) as dispatcher:
            await trio.sleep(1)
            (first,) = await storage.run(delivery_rows())
            await storage.run(inside(lambda store: store.delivery_queries.drop([first.id], now=NOW, in_flight=())))
            await trio.sleep_until(5)
            await storage.run(queue_up([event("artifact", run="a", artifact={"path": "1"})], [NAME]))
            dispatcher.wake([NAME])
            await trio.sleep_until(20)
            await storage.run(inside(lambda store: store.delivery_queries.retry([first.id], now=NOW)))
            dispatcher.wake([NAME])
            await trio.sleep_until(60)
    assert sorted_calls(host) == [("a 0", 0), ("a 1", 5), ("a 0", 55)]


@settings(max_examples=30, deadline=None)
@given(
    runs=st.lists(st.sampled_from("abcdef"), max_size=24),
    pauses=st.lists(st.sampled_from([0, 0, 0.5, 3, 400]), min_size=24, max_size=24),
    durations=st.lists(st.sampled_from([0, 0.1, 1, 7, 40]), min_size=1, max_size=8),
    failures=st.lists(st.sampled_from([None, None, DOWN, ValueError("odd"), RetryLater(after=3)]), max_size=30),
    parallel=st.sampled_from([1, 2, 5, 32]),
    in_flight=st.sampled_from([1, 3]),
    restarts=st.sets(st.integers(0, 23), max_size=3),
)
def test_nothing_is_lost_and_each_run_keeps_its_order(
    runs: list[str],
    pauses: list[float],
    durations: list[float],
    failures: list[Exception | None],
    parallel: int,
    in_flight: int,
    restarts: set[int],
) -> None:
    times, answers = deque(durations), deque(failures)

    def takes_s(_run: str, _now_s: float) -> float:
        times.rotate(-1)
        return times[0]

    lives: list[SlowHost] = []

    def new_host() -> SlowHost:
        lives.append(SlowHost(takes_s, lambda _run, _now_s: answers.popleft() if answers else None))
        return lives[-1]

    async def main() -> None:
        store = Store("sqlite://")
        storage = Storage(store, inline=True)
        number = 0
        options = {"parallel": parallel, "in_flight": in_flight}
        while number < len(runs):
            async with worker(storage, new_host(), **options) as dispatcher:
                while number < len(runs):
                    about = event("artifact", run=runs[number], artifact={"path": str(number)})
                    await storage.run(queue_up([about], [NAME]))
                    dispatcher.wake([NAME])
                    await trio.sleep(pauses[number])
                    number += 1
                    if number - 1 in restarts:
                        await dispatcher.drain(3.0)
                        break
        async with worker(storage, new_host(), **options):
            for _ in range(1000):
                if not await queued(storage):
                    break
                await trio.sleep(300)
        assert await queued(storage) == 0
        store.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert all(host.peak <= parallel for host in lives)
    tried = [call.run for host in lives for call in sorted(host.calls, key=lambda call: call.began_s)]
    assert {int(call.split()[1]) for call in tried} == set(range(len(runs)))
    for run in "abcdef":
        numbers = [int(call.split()[1]) for call in tried if call.startswith(run)]
        assert all(earlier <= later for earlier, later in pairwise(numbers))
