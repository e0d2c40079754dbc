"""Runs that take too long, wait, do not come or succeed too soon, on a real store and in virtual time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from trio.testing import MockClock

from support.outbox import NOW, event, inside, memory
from support.outbox import PROJECT as SALES
from support.staging import open_stages, until
from support.watches import happened, notified, timers, watch, watching

pytestmark = pytest.mark.usefixtures("any_store")


async def test_a_run_that_takes_too_long_is_told_once(autojump_clock: MockClock) -> None:
    slow = watch("overdue", running_for=3600.0)
    async with memory() as storage, open_stages(storage, watching(slow)) as bench:
        await bench.happen("task_started", "t1")
        for minute in (20, 40, 80, 100):
            await until(bench.clock, minute * 60)
            await bench.happen("output", "t1", output="x")
        await until(bench.clock, 20_000)
        assert await notified(bench) == [(3600, "run_overdue", "t1")]
        await bench.happen("task_completed", "t1")
        assert await timers(bench) == 0


async def test_slower_than_usual(autojump_clock: MockClock) -> None:
    slower = watch("overdue", slower_than={"quantile": 0.95, "times": 2, "at_least": 100.0})
    async with memory() as storage, open_stages(storage, watching(slower)) as bench:
        at = 0
        for number, seconds in enumerate([60, 80, 100, 120, 100]):
            await bench.happen("task_started", f"t{number}", task="train")
            at += seconds
            await until(bench.clock, at)
            await bench.happen("task_completed", f"t{number}", task="train")
        await bench.happen("task_started", "new", task="never seen before")
        await bench.happen("task_started", "t9", task="train")
        await until(bench.clock, at + 1000)
        assert await notified(bench) == [(at + 240, "run_overdue", "t9")]
        [(_, notification)] = await bench.notifications()
        assert notification.body == "Usually it takes 1 min 40 s."


async def test_a_queued_task_and_a_paused_workflow_are_told_again_and_again(autojump_clock: MockClock) -> None:
    ids: dict[str, Any] = {"execution_id": "x1", "workflow_id": "nightly"}
    queued = watch("queued", waiting_for=600.0, remind_every=1200.0)
    paused = watch("paused", waiting_for=900.0, notify=("slack.team",))
    async with memory() as storage, open_stages(storage, watching(queued, paused)) as bench:
        await bench.happen("task_queued", "t1")
        await bench.happen("workflow_execution_started", **ids)
        await bench.happen("workflow_execution_paused", **ids)
        await until(bench.clock, 3100)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 9000)
        assert await notified(bench) == [
            (600, "run_waiting", "t1"),
            (900, "run_waiting", "x1"),
            (1800, "run_waiting", "t1"),
            (3000, "run_waiting", "t1"),
        ]
        titles = [notification.title for _, notification in await bench.notifications()]
        assert titles[:3] == [
            'Task "t1" has been queued for 10 min',
            'Workflow "nightly" has been paused for 15 min',
            'Task "t1" is still queued, after 30 min',
        ]


async def test_a_run_that_is_expected_by_cron(autojump_clock: MockClock) -> None:
    nightly = watch("missing", cron="0 6 * * *", grace=1800.0, tasks=("import-*",))
    day = 86400
    assert datetime(2026, 1, 1, tzinfo=UTC) == NOW
    async with memory() as storage, open_stages(storage, watching(nightly)) as bench:
        await bench.happen("task_started", "other", task="something else")
        await until(bench.clock, 6 * 3600 - 20)  # a clock that is 20 seconds ahead
        await bench.happen("task_started", "t1", task="import-1")
        await until(bench.clock, day + 8 * 3600)
        assert await notified(bench) == [(day + 6 * 3600 + 1800, "run_missing", "")]
        [(_, missing)] = await bench.notifications()
        assert missing.title == 'Task "import-*" did not start as expected'
        assert missing.body == (
            "Expected at 2026-01-02 06:00:00 UTC; the last one started at 2026-01-01 05:59:40 UTC."
        )
        assert missing.thread == "watch/p/missing"
        await until(bench.clock, 4 * day)
        assert len(await notified(bench)) == 1
        await bench.happen("task_started", "t2", task="import-2")
        await until(bench.clock, 4 * day + 7 * 3600)
        assert (await happened(bench))[1:] == [
            (4 * day, "run_arrived", "t2"),
            (4 * day + 6 * 3600 + 1800, "run_missing", ""),
        ]


async def test_a_run_that_comes_often_enough(autojump_clock: MockClock) -> None:
    often = watch("missing", every=3600.0, grace=60.0, workflows=("sync",))
    async with memory() as storage, open_stages(storage, watching(often)) as bench:
        await bench.happen("task_started", "t1")
        for number in range(1, 5):
            await until(bench.clock, number * 3000)
            await bench.happen("workflow_execution_created", execution_id=f"x{number}", workflow_id="sync")
            await bench.happen("workflow_execution_started", execution_id=f"x{number}", workflow_id="sync")
        await until(bench.clock, 12_000 + 3659)
        assert await happened(bench) == []
        await until(bench.clock, 12_000 + 3700)
        assert await happened(bench) == [(12_000 + 3660, "run_missing", "")]


async def test_a_success_that_came_too_soon(autojump_clock: MockClock) -> None:
    fast = watch("too_fast", faster_than=5.0, tasks=("import-*",))
    async with memory() as storage, open_stages(storage, watching(fast)) as bench:
        for run, seconds, end in (("t1", 2, "completed"), ("t2", 6, "completed"), ("t3", 1, "failed")):
            await bench.happen("task_started", run, task=f"import-{run}")
            await until(bench.clock, (bench.clock.now() - NOW).total_seconds() + seconds)
            await bench.happen(f"task_{end}", run, task=f"import-{run}")
        await bench.happen("task_completed", "t4", task="import-t4")  # its start is not known
        await bench.happen("task_completed", "t1", task="import-t1")  # repeated
        assert await happened(bench) == [(2, "run_too_fast", "t1")]


async def test_stages_apply_to_events_of_watches(autojump_clock: MockClock) -> None:
    hung = watch("stalled", silent_for=900.0)
    grouped = watching(hung, group={"by": ["project"], "wait": 60, "every": 300})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        for number in range(3):
            await bench.happen("task_started", f"t{number}")
        await until(bench.clock, 1000)
        assert await bench.titles() == [(960, "3 × run stalled in Sales")]


async def test_no_summary_of_a_backlog_takes_events_of_watches(autojump_clock: MockClock) -> None:
    hung = watch("stalled", silent_for=900.0)
    async with memory() as storage, open_stages(storage, watching(hung)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 1000)
        rows = await storage.run(
            inside(
                lambda store: store._connection.exec_driver_sql("SELECT severity FROM deliveries").scalars().all()
            )
        )
        assert rows == [None]
        assert SALES.id == event("task_started").project_id
