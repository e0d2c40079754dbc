"""Runs that are silent, or do not get on, on a real store and in virtual time."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.domain.notification import Severity
from support.outbox import NOW, PROJECT, event, memory
from support.staging import StageBench, open_stages, until
from support.watches import happened, notified, timers, watch, watching

pytestmark = pytest.mark.usefixtures("any_store")
HUNG = watch("stalled", silent_for=900.0)


async def test_a_silent_run_is_told_once_and_again_after_it_has_moved(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 500)
        await bench.happen("step_progress", "t1", step="load", progress=40)
        await until(bench.clock, 1399)
        assert await notified(bench) == []
        await until(bench.clock, 5000)
        assert await notified(bench) == [(1400, "run_stalled", "t1")]
        await bench.happen("output", "t1", output="goes on")
        await until(bench.clock, 9000)
        assert await happened(bench) == [
            (1400, "run_stalled", "t1"),
            (5000, "run_moving", "t1"),
            (5900, "run_stalled", "t1"),
        ]
        assert await notified(bench) == [  # who was told of the trouble is told of its end
            (1400, "run_stalled", "t1"),
            (5000, "run_moving", "t1"),
            (5900, "run_stalled", "t1"),
        ]


async def test_the_notification_is_about_the_run_and_by_the_rule_for_failures(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1", task="Train the model")
        await bench.happen("step_progress", "t1", step="load", progress=40)
        await until(bench.clock, 901)
        [(_, notification)] = await bench.notifications()
        assert (notification.rule, notification.severity) == ("failures", Severity.WARNING)
        assert notification.title == 'Task "Train the model" has been silent for 15 min'
        assert notification.run is not None
        assert (notification.run.id, notification.thread) == ("t1", notification.run.thread)
        assert notification.event.step == "load"  # type: ignore[attr-defined]


async def test_a_run_that_ended_is_not_stalled(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        for run, end in (("t1", "task_completed"), ("t2", "task_failed"), ("t3", "task_cancelled")):
            await bench.happen("task_started", run)
            await bench.happen(end, run)
        await bench.happen("task_completed", "without a start")
        await bench.happen("task_queued", "queued")
        assert await timers(bench) == 0
        await until(bench.clock, 10_000)
        assert await happened(bench) == []


async def test_a_new_attempt_is_watched_from_its_start(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 1000)
        await bench.happen("task_failed", "t1")
        await until(bench.clock, 2000)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 5000)
        assert await happened(bench) == [(900, "run_stalled", "t1"), (2900, "run_stalled", "t1")]


async def test_output_without_progress(autojump_clock: MockClock) -> None:
    stuck = watch("stalled", silent_for=900.0, no_progress_for=1800.0)
    async with memory() as storage, open_stages(storage, watching(stuck)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 300)
        await bench.happen("step_progress", "t1", step="load", progress=1)
        for minute in range(10, 60, 5):
            await until(bench.clock, minute * 60)
            await bench.happen("output", "t1", output=f"still at it {minute}\n")
        assert await happened(bench) == [(2100, "run_stalled", "t1")]
        [(_, notification)] = await bench.notifications()
        assert notification.title == 'Task "t1" has made no progress for 30 min'
        await bench.happen("step_progress", "t1", step="load", progress=2)
        await until(bench.clock, 3600)
        assert (await happened(bench))[1:] == [(3300, "run_moving", "t1")]


async def test_a_paused_workflow_stands_still_and_begins_anew_when_resumed(autojump_clock: MockClock) -> None:
    ids: dict[str, Any] = {"execution_id": "x1", "workflow_id": "nightly"}
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("workflow_execution_started", **ids)
        await until(bench.clock, 600)
        await bench.happen("workflow_execution_paused", **ids)
        await until(bench.clock, 6000)
        assert await happened(bench) == []
        await bench.happen("workflow_execution_resumed", **ids)
        await until(bench.clock, 6890)
        assert await happened(bench) == []
        await until(bench.clock, 7000)
        assert await happened(bench) == [(6900, "run_stalled", "x1")]


async def test_a_workflow_is_not_stalled_while_a_task_of_it_works(autojump_clock: MockClock) -> None:
    ids: dict[str, Any] = {"execution_id": "x1", "workflow_id": "nightly"}
    workflows = watch("stalled", silent_for=900.0, workflows=("*",))
    async with memory() as storage, open_stages(storage, watching(workflows)) as bench:
        await bench.happen("workflow_execution_started", **ids)
        await bench.happen("task_started", "t1", workflowId="nightly")
        for minute in range(5, 60, 5):
            await until(bench.clock, minute * 60)
            await bench.happen("output", "t1", output="working\n")
        assert await happened(bench) == []
        await until(bench.clock, 3300 + 901)
        assert await happened(bench) == [(4200, "run_stalled", "x1")]
        await until(bench.clock, 5000)
        await bench.happen("output", "t1", output="on\n")
        await until(bench.clock, 5100)
        [_, (moved_at, kind, _)] = await happened(bench)
        assert kind == "run_moving"
        assert 5000 < moved_at <= 5060


@pytest.mark.parametrize(
    "moment",
    [NOW + timedelta(hours=20), NOW - timedelta(hours=20), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
)
async def test_a_start_at_an_impossible_time_counts_from_its_arrival(
    autojump_clock: MockClock, moment: Any
) -> None:
    shown = moment.isoformat() if isinstance(moment, datetime) else moment
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.ingest.commit(PROJECT, [event("task_started", "t1", timestamp=shown)])
        await until(bench.clock, 890)
        assert await notified(bench) == []
        await until(bench.clock, 2700)
        assert [kind for _, kind, _ in await notified(bench)] == ["run_stalled"]


async def test_the_orchestrators_clock_may_be_hours_off(autojump_clock: MockClock) -> None:
    behind = timedelta(hours=20)

    async def happen(bench: StageBench, kind: str, **fields: Any) -> None:
        at = (bench.clock.now() - NOW - behind).total_seconds()
        await bench.ingest.commit(PROJECT, [event(kind, "t1", at=at, **fields)])

    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await happen(bench, "task_started")
        for minute in range(5, 60, 5):
            await until(bench.clock, minute * 60)
            await happen(bench, "output", output="working\n")
        assert await notified(bench) == []
        await until(bench.clock, 3300 + 901)
        assert await notified(bench) == [(4200, "run_stalled", "t1")]


async def test_a_name_that_comes_later_decides_too(autojump_clock: MockClock) -> None:
    train = watch("stalled", silent_for=900.0, tasks=("train-*",))
    async with memory() as storage, open_stages(storage, watching(train)) as bench:
        await bench.happen("step_progress", "t1", step="load", progress=1)
        await bench.happen("task_started", "t1", task="train-model")
        await bench.happen("task_started", "t2", task="test-model")
        await until(bench.clock, 2000)
        assert await happened(bench) == [(900, "run_stalled", "t1")]
