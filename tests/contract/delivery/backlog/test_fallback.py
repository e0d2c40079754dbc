"""A fallback delivers notifications that died or waited too long at a destination: once, and with the same id."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import trio
from outcome import Error
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.delivery.gate import PROBE_S
from aintandem_notify.domain.events import DestinationParkedEvent
from aintandem_notify.domain.notification import Notification, agent_thread
from aintandem_notify.errors import DestinationBroken, HttpFailed, Rejected
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import JournalChanges, Storage, Store
from support.outbox import NOW, FakeHost, event, inside, memory, notification, queue_up
from support.trio_clock import TrioClock

pytestmark = pytest.mark.usefixtures("any_store")

FIRST, OTHER, THIRD = "slack.team", "slack.other", "file_log.last"
LONG_S = 3.0 * PROBE_S[-1]
"""Longer than the longest pause before a destination is tried again, and than ``fallback_after``."""
WEEK = 7 * 86_400.0


@dataclass
class Fates(FakeHost):
    """Each destination fails as set here; one that is not named delivers."""

    fates: dict[str, Exception] = field(default_factory=dict)

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results = await super().deliver(name, notifications)
        return [Error(self.fates[name])] if name in self.fates else results

    def got(self, name: str) -> list[Notification]:
        """Returns the tries at this destination."""
        return [notification for _, where, notification in self.tries if where == name]


@asynccontextmanager
async def agent(storage: Storage, host: Fates, **first: Any) -> AsyncIterator[Dispatcher]:
    """Runs the agent once with three destinations, each the fallback of the previous one."""
    async with open_dispatcher(
        storage=storage,
        host=host,
        clock=TrioClock(NOW + timedelta(seconds=trio.current_time())),
        chance=lambda: 0.0,
        announce=lambda _event: None,
    ) as dispatcher:
        named: dict[str, Any] = {"name": FIRST, "max_age": WEEK, "fallback": OTHER}
        dispatcher.start(DestinationSettings(**named | first))
        dispatcher.start(DestinationSettings(OTHER, WEEK, fallback=THIRD))
        dispatcher.start(DestinationSettings(THIRD, WEEK))
        yield dispatcher


def rows(store: Store) -> list[tuple[Any, ...]]:
    """Returns destination, state and reason of every delivery."""
    rows = store._connection.exec_driver_sql(
        "SELECT destination, state, reason, instead_of FROM deliveries ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_what_dies_is_taken_over_at_once(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: Rejected("no_text")})
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed")], [FIRST]))
        async with agent(storage, host):
            await trio.sleep(10)
        (taken_over,) = host.got(OTHER)
        assert taken_over.id == host.got(FIRST)[0].id
        assert (taken_over.instead_of, taken_over.plain) == (FIRST, False)
        assert ("Instead of", FIRST) in taken_over.fields
        assert await storage.run(inside(rows)) == [
            (FIRST, "dead", "no_text, also as plain text; slack.other took over", None),
            (OTHER, "delivered", None, FIRST),
        ]


async def test_it_goes_on_to_the_next_and_is_dead_after_the_last(autojump_clock: MockClock) -> None:
    odd = Rejected("odd")
    host = Fates(fates={FIRST: odd, OTHER: odd, THIRD: odd})
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed")], [FIRST]))
        async with agent(storage, host):
            await trio.sleep(100)
        assert await storage.run(inside(rows)) == [
            (FIRST, "dead", "odd, also as plain text; slack.other took over", None),
            (OTHER, "dead", "odd, also as plain text; file_log.last took over", FIRST),
            (THIRD, "dead", "odd, also as plain text", FIRST),
        ]


@pytest.mark.parametrize("trouble", [HttpFailed("refused"), DestinationBroken("revoked")])
async def test_what_waits_too_long_is_taken_over_in_order(autojump_clock: MockClock, trouble: Exception) -> None:
    host = Fates(fates={FIRST: trouble})
    async with memory() as storage:
        await storage.run(queue_up([event("artifact", artifact={"path": str(n)}) for n in range(5)], [FIRST]))
        async with agent(storage, host, fallback_after=600.0):
            await trio.sleep(590)
            assert host.got(OTHER) == []
            await trio.sleep(100)
            paths = [notification.event.wire()["artifact"]["path"] for notification in host.got(OTHER)]
            assert paths == ["0", "1", "2", "3", "4"]
            host.fates.clear()
            await trio.sleep(LONG_S)
        ends = await storage.run(inside(rows))
        assert ends[:5] == [(FIRST, "dead", "waited longer than 10m; slack.other took over", None)] * 5
        assert ends[5:] == [(OTHER, "delivered", None, FIRST)] * 5


async def test_a_run_keeps_its_order_although_the_clock_was_set_back(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: HttpFailed("no answer", maybe_sent=False)})
    async with memory() as storage:
        await storage.run(queue_up([event("task_started", run="a")], [FIRST], NOW + timedelta(hours=1)))
        await storage.run(queue_up([event("task_failed", run="a"), event("task_failed", run="b")], [FIRST]))
        async with agent(storage, host, fallback_after=600.0):
            await trio.sleep(1200)
    assert [about.title for about in host.got(OTHER)] == ["task_started a", "task_failed a", "task_failed b"]


async def test_what_waits_behind_a_pause_or_a_plugin_is_taken_over_too(autojump_clock: MockClock) -> None:
    host = Fates()
    async with memory() as storage, agent(storage, host) as dispatcher:
        await dispatcher.pause(FIRST)
        await storage.run(queue_up([event("task_failed")], [FIRST]))
        await trio.sleep(1000)
        assert (len(host.got(FIRST)), len(host.got(OTHER))) == (0, 1)


async def test_what_is_in_flight_is_never_taken_over(autojump_clock: MockClock) -> None:
    host = Fates(takes_s=1000)
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed", run=f"t{n}") for n in range(3)], [FIRST]))
        async with agent(storage, host, fallback_after=60.0):
            await trio.sleep(10_000)
        assert [notification.event.run_id for notification in host.got(FIRST)] == ["t0"]
        assert [notification.event.run_id for notification in host.got(OTHER)] == ["t1"]
        assert [notification.event.run_id for notification in host.got(THIRD)] == [
            "t2"
        ]  # it waited too long behind t1
        assert [state for _, state, _, _ in await storage.run(inside(rows))].count("delivered") == 3


@pytest.mark.parametrize("max_age", [WEEK, 60.0])
async def test_what_is_behind_one_in_flight_is_taken_over_after_it(
    autojump_clock: MockClock, max_age: float
) -> None:
    """Else the fallback would have the end of a run first."""
    host = Fates(fates={FIRST: HttpFailed("timed out")}, takes_s=100)
    async with memory() as storage:
        await storage.run(queue_up([event("artifact", artifact={"path": str(n)}) for n in range(3)], [FIRST]))
        async with agent(storage, host, fallback_after=60.0, max_age=max_age):
            await trio.sleep(1000)
        paths = [one.event.wire()["artifact"]["path"] for one in host.got(OTHER)]
        assert paths == ["0", "1", "2"]


async def test_a_stuck_call_does_not_keep_its_run_from_the_fallback(autojump_clock: MockClock) -> None:
    host = Fates(takes_s=10_000)
    async with memory() as storage:
        await storage.run(queue_up([event("artifact", artifact={"path": str(n)}) for n in range(2)], [FIRST]))
        async with agent(storage, host, fallback_after=60.0):
            await trio.sleep(650)
            assert host.got(OTHER) == []
            await trio.sleep(50)
            assert len(host.got(OTHER)) == 1


async def test_a_destination_that_has_it_already_gets_it_once(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: Rejected("no_text")})
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed")], [FIRST, OTHER]))
        async with agent(storage, host):
            await trio.sleep(100)
        assert [notification.instead_of for notification in host.got(OTHER)] == [None]
        assert (await storage.run(inside(rows)))[0] == (
            FIRST,
            "dead",
            "no_text, also as plain text; slack.other has it already",
            None,
        )


async def test_what_is_too_old_is_taken_over_before_it_is_given_up(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: HttpFailed("refused")})
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed")], [FIRST]))
        async with agent(storage, host, max_age=300.0, fallback_after=86_400.0):
            await trio.sleep(1000)
        assert len(host.got(OTHER)) == 1
        assert (await storage.run(inside(rows)))[0][2] == "waited longer than 5m; slack.other took over"


@pytest.mark.parametrize("trouble", [Rejected("odd"), HttpFailed("refused")])
async def test_no_destination_tells_of_its_own_trouble(autojump_clock: MockClock, trouble: Exception) -> None:
    about = DestinationParkedEvent(timestamp=NOW, instance=OTHER, reason="revoked")
    telling = notification(about, None).model_copy(update={"thread": agent_thread(OTHER)})
    changes = JournalChanges(events=[about], notifications=[(telling, [FIRST])])
    host = Fates(fates={FIRST: trouble})
    async with memory() as storage:
        await storage.run(inside(lambda store: store.journal.write(changes, NOW)))
        await storage.run(queue_up([event("task_failed")], [FIRST]))
        async with agent(storage, host):
            await trio.sleep(LONG_S)
        assert [notification.event.type for notification in host.got(OTHER)] == ["task_failed"]


async def test_a_long_queue_is_taken_over_whole(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: HttpFailed("refused")})
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed", run=f"t{n}") for n in range(1201)], [FIRST]))
        async with agent(storage, host):
            await trio.sleep(1000)
        assert len({notification.id for notification in host.got(OTHER)}) == len(host.got(OTHER)) == 1201


async def test_a_kill_at_any_moment_leaves_each_with_exactly_one_destination(autojump_clock: MockClock) -> None:
    host = Fates(fates={FIRST: Rejected("odd")}, takes_s=1)
    async with memory() as storage:
        await storage.run(queue_up([event("task_failed", run=f"t{n}") for n in range(4)], [FIRST]))
        for _ in range(40):
            async with agent(storage, host, rate=Rate(1, 1.0)):
                await trio.sleep(3.3)
            ends = await storage.run(inside(rows))
            taken_over = [row for row in ends if row[0] == OTHER]
            handed_over = [row for row in ends if row[0] == FIRST and row[1] == "dead"]
            assert len(taken_over) == len(handed_over)
        assert [state for where, state, _, _ in ends if where == OTHER] == ["delivered"] * 4
