"""Store, ingest and workers together: real SQLite, a fake plugin, virtual time."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.delivery.dispatcher import CANCEL_GRACE_S
from aintandem_notify.domain.events import AgentEvent
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import DestinationBroken, Rejected, RetryLater
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.rules import Router
from aintandem_notify.store import Storage, open_storage
from support.outbox import (
    NOW,
    PROJECT,
    FakeHost,
    claim_all,
    event,
    inside,
    memory,
    queue_up,
    router,
)
from support.trio_clock import TrioClock

pytestmark = pytest.mark.usefixtures("any_store")

DAY = 86_400.0


@dataclass
class Bench:
    """Opens all parts of the data path, connected as in the agent."""

    storage: Storage
    host: FakeHost
    dispatcher: Dispatcher
    ingest: Ingest
    announced: list[AgentEvent] = field(default_factory=list)

    def start(self, name: str = "file_log.a", **settings: object) -> None:
        self.dispatcher.start(DestinationSettings(**{"name": name, "max_age": 3 * DAY} | settings))  # type: ignore[arg-type]


@asynccontextmanager
async def open_bench(host: FakeHost, rules: Router | None = None) -> AsyncIterator[Bench]:
    clock = TrioClock(NOW)
    announced: list[AgentEvent] = []
    async with (
        memory() as storage,
        open_dispatcher(
            storage=storage, host=host, clock=clock, chance=lambda: 0.0, announce=announced.append
        ) as dispatcher,
        open_ingest(
            storage,
            router=rules or router(),
            clock=clock,
            publish=lambda _event, _project: None,
            wake=dispatcher.wake,
        ) as ingest,
    ):
        yield Bench(storage, host, dispatcher, ingest, announced)


async def test_an_event_reaches_its_destination_with_its_run(autojump_clock: MockClock) -> None:
    async with open_bench(FakeHost()) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started"), event("task_failed", at=5, error="boom")])
        await trio.sleep(1)
        assert bench.host.titles == ["task_started t1", "task_failed t1"]
        run = bench.host.tries[1][2].run
        assert run is not None
        assert run.duration == 5
        assert await bench.dispatcher.queues() == {}


async def test_trouble_of_the_destination_holds_the_queue_and_counts_nothing(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([RetryLater("busy")] * 5))
    async with open_bench(host) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started", run=f"t{n}") for n in range(3)])
        await trio.sleep(DAY)
        assert host.times == [0, 1, 6, 6, 21, 81, 81, 81]
        assert [title.split()[1] for title in host.titles] == ["t0", "t0", "t0", "t1", "t2", "t0", "t1", "t2"]
        assert await bench.dispatcher.queues() == {}


async def test_retry_after_is_never_earlier_than_asked(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([RetryLater(after=7.5), RetryLater(after=0)]))
    async with open_bench(host) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started")])
        await trio.sleep(100)
        assert host.times == [0, 7.5, 8.5]


async def test_a_rejected_message_dies_alone(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([Rejected("too long"), None, Rejected("too long")]))
    async with open_bench(host) as bench:
        bench.start()
        await bench.ingest.commit(
            PROJECT, [event("task_started"), event("task_started", run="t2"), event("task_completed")]
        )
        await trio.sleep(10)
        assert [(round(when), item.title, item.plain) for when, _, item in host.tries] == [
            (0, "task_started t1", False),
            (0, "task_started t2", False),
            (5, "task_started t1", True),
            (5, "task_completed t1", False),
        ]
        assert await bench.dispatcher.queues() == {}


async def test_a_fault_of_the_plugin_is_tried_three_times_and_holds_its_run_only(
    autojump_clock: MockClock,
) -> None:
    host = FakeHost(answers=deque([KeyError("a"), None, KeyError("b"), KeyError("c"), ValueError("d")]))
    async with open_bench(host) as bench:
        bench.start()
        await bench.ingest.commit(
            PROJECT, [event("task_started"), event("task_completed"), event("task_started", run="t2")]
        )
        await trio.sleep(100)
        assert list(zip(host.times, host.titles, strict=True)) == [
            (0, "task_started t1"),
            (0, "task_started t2"),
            (5, "task_started t1"),
            (35, "task_started t1"),
            (40, "task_started t1"),
            (40, "task_completed t1"),
        ]
        assert [item.plain for _, _, item in host.tries] == [False, False, False, False, True, False]


async def test_a_broken_destination_is_parked_probed_and_recovers(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([DestinationBroken("no_service")] * 3))
    async with open_bench(host) as bench:
        bench.start(in_flight=10)
        await bench.ingest.commit(PROJECT, [event("task_started", run=f"t{n}") for n in range(3)])
        await trio.sleep(1)
        (status,) = await bench.dispatcher.snapshot()
        assert (status.state, status.queued, status.last_error) == ("parked", 3, "no_service")
        assert status.retry_at == NOW + timedelta(seconds=300)
        await trio.sleep(DAY)
        assert host.times == [0, 300, 900, 2100, 2100, 2100]
        assert host.batches == [3, 1, 1, 1, 2]
        assert [(item.type, item.timestamp) for item in bench.announced] == [
            ("destination_parked", NOW),
            ("destination_recovered", NOW + timedelta(seconds=2100)),
        ]
        (status,) = await bench.dispatcher.snapshot()
        assert (status.state, status.queued, status.retry_at) == ("open", 0, None)


async def test_the_rate_spreads_deliveries_evenly(autojump_clock: MockClock) -> None:
    async with open_bench(FakeHost()) as bench:
        bench.start(rate=Rate(30, 60.0), in_flight=10)
        await bench.ingest.commit(PROJECT, [event("task_started", run=f"t{n}") for n in range(4)])
        await trio.sleep(100)
        assert bench.host.times == [0, 2, 4, 6]


async def test_what_waits_too_long_is_given_up_even_if_the_plugin_never_loads(
    autojump_clock: MockClock,
) -> None:
    host = FakeHost(loaded=trio.Event())
    async with open_bench(host) as bench:
        host.loaded = trio.Event()
        bench.start(max_age=3600.0)
        await bench.ingest.commit(PROJECT, [event("task_started")])
        await trio.sleep(3500)
        assert (await bench.dispatcher.queues())["file_log.a"].queued == 1
        await trio.sleep(200)
        assert await bench.dispatcher.queues() == {}
        host.loaded.set()
        await trio.sleep(100)
        assert host.tries == []


async def test_draining_lets_what_is_in_flight_end_and_keeps_the_rest(autojump_clock: MockClock) -> None:
    async with open_bench(FakeHost(takes_s=3)) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started", run=f"t{n}") for n in range(3)])
        await trio.sleep(1)
        await bench.dispatcher.drain(10)
        assert trio.current_time() == 3
        assert (await bench.dispatcher.queues())["file_log.a"].queued == 2


async def test_draining_gives_up_what_does_not_end_in_time(autojump_clock: MockClock) -> None:
    async with open_bench(FakeHost(takes_s=300)) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started")])
        await trio.sleep(1)
        await bench.dispatcher.drain(10)
        assert trio.current_time() == 11
        assert (await bench.dispatcher.queues())["file_log.a"].queued == 1


class HoldsOn(FakeHost):
    """A plugin whose deliveries cannot be cancelled."""

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results: list[DeliveryResult] = []
        with trio.CancelScope(shield=True):
            results += await super().deliver(name, notifications)
        return results


async def test_a_delivery_that_cannot_be_cancelled_holds_no_reload_back(autojump_clock: MockClock) -> None:
    host = HoldsOn(takes_s=300)
    async with open_bench(host) as bench:
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started")])
        await trio.sleep(1)
        await bench.dispatcher.stop("file_log.a", 10)
        assert trio.current_time() == 11 + CANCEL_GRACE_S
        host.takes_s = 0
        bench.start()
        await bench.ingest.commit(PROJECT, [event("task_started", run="t2")])
        await bench.dispatcher.wait_idle()
        assert host.titles[-1] == "task_started t2"
        await trio.sleep(600)
        assert (await bench.dispatcher.queues()) == {}


async def test_receipts_come_back_with_the_next_of_the_thread(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([{"ts": "1"}, {"ts": "2"}, None, None]))
    async with open_bench(host) as bench:
        bench.start()
        kinds = ("task_queued", "task_started", "artifact", "task_completed")
        await bench.ingest.commit(
            PROJECT,
            [event(kind, artifact={"path": "a"}) for kind in kinds] + [event("task_started", run="other")],
        )
        await trio.sleep(1)
        assert [item.previous for _, _, item in host.tries] == [None, {"ts": "1"}, {"ts": "2"}, {"ts": "2"}, None]


async def test_a_delivery_that_was_in_flight_at_a_kill_is_claimed_again(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "s.db", inline=True) as storage:
        await storage.run(queue_up([event("task_started")]))
        (before,) = await storage.run(claim_all())
    async with open_storage(tmp_path / "s.db", inline=True) as storage:
        (again,) = await storage.run(claim_all())
        assert again == before
        assert await storage.run(inside(lambda store: store.outbox.queues()["file_log.a"].queued)) == 1
