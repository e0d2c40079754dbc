"""After an outage the least important deliveries become one summary; all others go out in order, at the rate."""

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.domain.events import Event
from aintandem_notify.errors import HttpFailed, RetryLater
from aintandem_notify.store import Storage, Store
from support.fault_counts import Counts, Record
from support.outbox import NOW, FakeHost, event, inside, memory, queue_up
from support.trio_clock import TrioClock

pytestmark = pytest.mark.usefixtures("any_store")

NAME = "slack.team"
WEEK = 7 * 86_400.0
DOWN = HttpFailed("refused")


@asynccontextmanager
async def agent(storage: Storage, host: FakeHost, **settings: Any) -> AsyncIterator[Dispatcher]:
    clock = TrioClock(NOW + timedelta(seconds=trio.current_time()))
    async with open_dispatcher(
        storage=storage, host=host, clock=clock, chance=lambda: 0.0, announce=lambda _event: None
    ) as dispatcher:
        named: dict[str, Any] = {"name": NAME, "max_age": WEEK, "rate": Rate(1, 1.0), "digest_over": 50}
        dispatcher.start(DestinationSettings(**named | settings))
        yield dispatcher


def happened(count: int, start: int = 0) -> list[Event]:
    """Runs that start and end; every tenth fails."""
    return [
        notification
        for n in range(start, start + count)
        for notification in (
            event("task_started", run=f"t{n}", at=2 * n),
            event("task_failed" if n % 10 == 9 else "task_completed", run=f"t{n}", at=2 * n + 1),
        )
    ]


def states(store: Store) -> Counter[str]:
    rows = store._connection.exec_driver_sql("SELECT state FROM deliveries")
    return Counter(row[0] for row in rows)


async def test_a_backlog_becomes_a_summary_and_what_matters(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([DOWN] * 7))
    async with memory() as storage:
        await storage.run(queue_up(happened(150), [NAME]))
        async with agent(storage, host):
            await trio.sleep(10_000)
        assert await storage.run(inside(states)) == {"folded": 275, "delivered": 26}
    failed, (probe, digest, *later) = host.tries[:7], host.tries[7:]
    assert [notification.title.split() for _, _, notification in [*failed, probe]] == [
        ["task_started", run] for run in ("t0", "t0", "t0", "t1", "t2", "t3", "t4", "t5")
    ]
    summary_text = digest[2]
    assert summary_text.event.type == "backlog_folded"
    wire = summary_text.event.wire()
    assert (wire["count"], wire["runs"]) == (275, 145)
    assert sum(wire["types"].values()) == 275
    assert wire["names"][:3] == ["t0", "t1", "t2"]
    assert len(wire["names"]) == 20
    assert [notification.title for _, _, notification in later if notification.event.type == "task_failed"] == [
        f"task_failed t{n}" for n in range(9, 150, 10)
    ]
    assert len(later) == 24
    times = [when for when, _, _ in host.tries[7:]]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))


async def test_an_hours_queue_goes_out_in_order_and_never_faster_than_one_a_second(
    autojump_clock: MockClock, counts: Counts, record: Record
) -> None:
    """All are errors, so none is folded. At that rate 5,000 take 83 minutes; hence the virtual time."""
    kinds = ("task_queued", "task_started", "task_failed")
    runs = [f"t{number}" for number in range(counts.paced // len(kinds))]
    queued = [event(kind, run=run, at=at) for at, kind in enumerate(kinds) for run in runs]
    host = FakeHost(default=DOWN)
    async with memory() as storage:
        await storage.run(queue_up(queued, [NAME]))
        async with agent(storage, host, digest_over=None):
            await trio.sleep(3600)
            failed = len(host.tries)
            host.default = None
            await trio.sleep(1200 + len(queued))
        assert await storage.run(inside(states)) == {"delivered": len(queued)}
    record("count", f"{len(queued):,} queued, 1/s, in virtual time")
    delivered = host.tries[failed:]
    assert min(later - earlier for (earlier, *_), (later, *_) in pairwise(delivered)) >= 1.0
    # Nor slower than the rate.
    assert delivered[-1][0] - delivered[0][0] == pytest.approx(len(queued) - 1)
    for run in runs:
        assert [
            notification.event.type for _, _, notification in delivered if notification.event.run_id == run
        ] == list(kinds)


async def test_what_is_left_keeps_the_order_of_its_runs(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([DOWN] * 7))
    async with memory() as storage:
        await storage.run(queue_up(happened(60), [NAME]))
        async with agent(storage, host):
            await trio.sleep(10_000)
    delivered = [notification for _, _, notification in host.tries[7:] if notification.run is not None]
    occurred = [notification.occurred_at for notification in delivered]
    assert occurred == sorted(occurred)


async def test_nothing_is_folded_while_the_destination_is_down_or_over_restarts(autojump_clock: MockClock) -> None:
    host = FakeHost(default=RetryLater("busy"))
    async with memory() as storage:
        await storage.run(queue_up(happened(100), [NAME]))
        for _ in range(3):
            async with agent(storage, host):
                await trio.sleep(1000)
        assert await storage.run(inside(states)) == {"queued": 200}


async def test_a_short_rush_is_not_folded(autojump_clock: MockClock) -> None:
    host = FakeHost(answers=deque([DOWN] * 4))
    async with memory() as storage:
        await storage.run(queue_up(happened(60), [NAME]))
        async with agent(storage, host):
            await trio.sleep(1000)
        assert await storage.run(inside(states)) == {"delivered": 120}


@pytest.mark.parametrize("digest_over", [None, 200])
async def test_nothing_is_folded_where_it_need_not_be(autojump_clock: MockClock, digest_over: int | None) -> None:
    host = FakeHost(answers=deque([DOWN] * 7))
    async with memory() as storage:
        await storage.run(queue_up(happened(100), [NAME]))
        async with agent(storage, host, digest_over=digest_over):
            await trio.sleep(10_000)
        assert await storage.run(inside(states)) == {"delivered": 200}


async def test_what_comes_while_the_backlog_goes_out_may_be_folded_again(autojump_clock: MockClock) -> None:
    """Not one by one: a summary replaces half of ``digest_over``."""
    host = FakeHost(answers=deque([DOWN] * 7), takes_s=30.0)
    async with memory() as storage:
        await storage.run(queue_up(happened(100), [NAME]))
        async with agent(storage, host):
            await trio.sleep(5000)
            for n in range(100, 160, 4):
                await storage.run(queue_up(happened(4, n), [NAME]))
                await trio.sleep(60)
            await trio.sleep(10_000)
        summaries = [
            notification.event.wire()
            for _, _, notification in host.tries
            if notification.event.type == "backlog_folded"
        ]
        counts = [notification["count"] for notification in summaries]
        assert len(counts) > 1
        assert all(count >= 5 for count in counts)
        counts_by_state = await storage.run(inside(states))
        assert counts_by_state["folded"] == sum(counts)
        assert counts_by_state["folded"] + counts_by_state["delivered"] == 320 + len(counts)
    assert Counter(notification.event.type for _, _, notification in host.tries)["task_failed"] == 16


async def test_a_summary_is_no_part_of_another(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await storage.run(queue_up(happened(100), [NAME]))
        for _ in range(3):
            host = FakeHost(answers=deque([DOWN] * 2), default=RetryLater("busy", after=3600))
            async with agent(storage, host):
                await trio.sleep(1000)
            host = FakeHost(answers=deque([None]), default=RetryLater("busy", after=60))
            async with agent(storage, host):
                await trio.sleep(4000)
            await storage.run(queue_up(happened(50, int(trio.current_time())), [NAME]))
        types = await storage.run(
            inside(
                lambda store: store._connection.exec_driver_sql(
                    "SELECT d.state, count(*) FROM deliveries d JOIN notifications n ON n.id = d.notification_id "
                    "WHERE n.rule = 'backlog' GROUP BY d.state"
                ).all()
            )
        )
        assert {state for state, _ in types} <= {"queued", "delivered"}
        assert sum(count for _, count in types) >= 2
