"""Links and agents that are down: clocks of silence stand still, the others go on and are judged late."""

from datetime import timedelta

import pytest
from trio.testing import MockClock

from aintandem_notify.domain.events import ConnectionConnectedEvent
from support.outbox import NOW, PROJECT, event, memory
from support.staging import StageBench, open_stages, until
from support.watches import happened, notified, watch, watching

pytestmark = pytest.mark.usefixtures("any_store")
HUNG = watch("stalled", silent_for=900.0)
SLOW = watch("overdue", running_for=3600.0)


async def connect(bench: StageBench) -> None:
    """The link is open, and all is caught up."""
    connected = ConnectionConnectedEvent(timestamp=bench.clock.now(), project_id=PROJECT.id)
    await bench.ingest.commit(PROJECT, [connected])
    await catch_up(bench)


async def catch_up(bench: StageBench) -> None:
    """As the end of catching up: nothing is missing now."""
    await bench.ingest.mark_seen({PROJECT.id: bench.clock.now()}, PROJECT, [])
    bench.caught_up = True


async def lose_link(bench: StageBench) -> None:
    """Nothing is heard from now on."""
    await bench.ingest.mark_seen({PROJECT.id: bench.clock.now()})
    bench.caught_up = False


async def test_silence_stands_still_while_the_link_is_down(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await connect(bench)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 600)
        await lose_link(bench)
        await until(bench.clock, 4200)
        assert await notified(bench) == []
        await catch_up(bench)
        await until(bench.clock, 4490)
        assert await notified(bench) == []
        await until(bench.clock, 5000)
        assert await notified(bench) == [(4500, "run_stalled", "t1")]
        [(_, notification)] = await bench.notifications()
        assert notification.title == 'Task "t1" has been silent for 15 min'


async def test_a_link_that_flaps_delays_by_no_more_than_it_was_down(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await connect(bench)
        await bench.happen("task_started", "t1")
        for number in range(30):
            await until(bench.clock, number * 60 + 50)
            await lose_link(bench)
            await until(bench.clock, number * 60 + 60)
            await catch_up(bench)
        await until(bench.clock, 3000)
        # 15 minutes heard are 18 rounds of 50 seconds: the last of them ends after 17 minutes and 50 seconds.
        [(at, kind, run)] = await notified(bench)
        assert (kind, run) == ("run_stalled", "t1")
        assert 1070 <= at <= 1082


async def test_wall_clocks_go_on_and_are_judged_late_and_once(autojump_clock: MockClock) -> None:
    queued = watch("queued", waiting_for=600.0, remind_every=600.0)
    async with memory() as storage, open_stages(storage, watching(SLOW, queued)) as bench:
        await connect(bench)
        await bench.happen("task_started", "t1")
        await bench.happen("task_started", "t2")
        await bench.happen("task_queued", "t3")
        await until(bench.clock, 300)
        await lose_link(bench)
        await until(bench.clock, 7200)
        assert await notified(bench) == []
        ended = event("task_completed", "t2", at=5000)  # found by catching up, before it is complete
        await bench.ingest.commit(PROJECT, [ended])
        await catch_up(bench)
        await until(bench.clock, 7300)
        assert [(kind, run) for _, kind, run in await notified(bench)] == [
            ("run_waiting", "t3"),
            ("run_overdue", "t1"),
        ]
        assert await happened(bench) == [(600, "run_waiting", "t3"), (3600, "run_overdue", "t1")]
        _, overdue = (notification for _, notification in await bench.notifications())
        assert overdue.title == 'Task "t1" has been running for 2 h'
        assert dict(overdue.fields)["Noticed"] == "1 h late: nothing could be heard when it was due"
        await until(bench.clock, 9000)
        assert [kind for _, kind, _ in await notified(bench)].count("run_waiting") == 3


async def test_an_expected_run_that_came_meanwhile_is_not_missing(autojump_clock: MockClock) -> None:
    hourly = watch("missing", every=3600.0, grace=60.0)
    async with memory() as storage, open_stages(storage, watching(hourly)) as bench:
        await connect(bench)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 300)
        await lose_link(bench)
        await until(bench.clock, 20_000)
        await bench.ingest.commit(PROJECT, [event("task_started", "t2", at=19_500)])
        await catch_up(bench)
        await until(bench.clock, 23_100)
        assert await happened(bench) == []
        await until(bench.clock, 23_200)
        assert await happened(bench) == [(23_160, "run_missing", "")]


async def test_several_expected_runs_that_were_missed_are_one_event(autojump_clock: MockClock) -> None:
    hourly = watch("missing", every=3600.0, grace=60.0)
    async with memory() as storage, open_stages(storage, watching(hourly)) as bench:
        await connect(bench)
        await until(bench.clock, 300)
        await lose_link(bench)
        await until(bench.clock, 12_000)
        await catch_up(bench)
        await until(bench.clock, 40_000)
        [(_, missing)] = await bench.notifications()
        assert missing.title == "A run did not start as expected 3 times"
        assert 8340 <= missing.event.late_by <= 8342  # type: ignore[attr-defined]


async def test_an_agent_that_was_down_takes_up_its_clocks(autojump_clock: MockClock) -> None:
    config = watching(HUNG, SLOW)
    async with memory() as storage:
        async with open_stages(storage, config) as bench:
            await connect(bench)
            await bench.happen("task_started", "t1")
            await until(bench.clock, 600)
            await bench.ingest.mark_seen({PROJECT.id: bench.clock.now()})
        async with open_stages(storage, config, NOW + timedelta(seconds=4200), caught_up=False) as bench:
            await bench.ingest.commit(PROJECT, [event("output", "t9", at=0, output="x")])
            await until(bench.clock, 4205)
            assert await notified(bench) == []
            await connect(bench)
            await until(bench.clock, 4300)
            assert await happened(bench) == [(3600, "run_overdue", "t1")]
            await until(bench.clock, 4600)
            stalled = [
                (at, kind) for at, kind, run in await happened(bench) if kind == "run_stalled" and run == "t1"
            ]
            assert stalled == [(4505, "run_stalled")]


async def test_a_restart_neither_forgets_nor_repeats(autojump_clock: MockClock) -> None:
    config = watching(HUNG, watch("missing", every=3600.0, grace=0.0))
    async with memory() as storage:
        for number in range(12):
            start = NOW + timedelta(seconds=number * 600)
            async with open_stages(storage, config, start) as bench:
                if number == 0:
                    await connect(bench)
                    await bench.happen("task_started", "t1")
                if number == 9:
                    await bench.happen("output", "t1", output="x")
                await until(bench.clock, (number + 1) * 600 - 1)
                events = await happened(bench)
        assert events == [
            (900, "run_stalled", "t1"),
            (3600, "run_missing", ""),
            (5400, "run_moving", "t1"),
            (6300, "run_stalled", "t1"),
        ]
