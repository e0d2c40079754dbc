"""Watches that come, change and go while runs are open, and looks that fail."""

from dataclasses import replace
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.ingest.watching.looking import Looking
from aintandem_notify.store import Store
from support.outbox import inside, memory
from support.staging import open_stages, until
from support.watches import happened, notified, timers, watch, watching

pytestmark = pytest.mark.usefixtures("any_store")
HUNG = watch("stalled", silent_for=900.0)


async def test_a_new_watch_is_about_runs_that_are_open_already(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching()) as bench:
        for number in range(3):
            await bench.happen("task_started", f"t{number}")
        await bench.happen("task_completed", "t2")
        await until(bench.clock, 600)
        assert await timers(bench) == 0
        bench.use(watching(HUNG))
        await until(bench.clock, 2000)
        assert await notified(bench) == [(900, "run_stalled", "t0"), (900, "run_stalled", "t1")]


async def test_more_open_runs_than_one_transaction_compares(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aintandem_notify.ingest.watching.engine.MAX_COMPARED", 3)
    monkeypatch.setattr("aintandem_notify.ingest.watching.engine.MAX_LOOKS", 4)
    async with memory() as storage, open_stages(storage, watching()) as bench:
        for number in range(11):
            await bench.happen("task_started", f"t{number}")
        bench.use(watching(HUNG))
        await until(bench.clock, 1000)
        assert len(await notified(bench)) == 11


async def test_a_watch_that_is_gone_has_no_timers(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 600)
        bench.use(watching())
        await until(bench.clock, 2000)
        assert await timers(bench) == 0
        assert await happened(bench) == []


async def test_a_changed_watch_counts_anew_but_tells_no_trouble_twice(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1")
        await until(bench.clock, 1000)
        await bench.happen("task_started", "t2")
        bench.use(watching(replace_keys(HUNG, silent_for=1800.0)))
        await until(bench.clock, 4000)
        assert await notified(bench) == [(900, "run_stalled", "t1"), (2800, "run_stalled", "t2")]
        await bench.happen("output", "t1", output="x")
        await until(bench.clock, 9000)
        assert (await happened(bench))[2:] == [(4000, "run_moving", "t1"), (5800, "run_stalled", "t1")]


async def test_globs_and_projects_decide(autojump_clock: MockClock) -> None:
    train = watch("stalled", "train", silent_for=900.0, tasks=("train-*", "t9"))
    elsewhere = watch("stalled", "elsewhere", silent_for=900.0, projects=("other-*",))
    async with memory() as storage, open_stages(storage, watching(train, elsewhere)) as bench:
        await bench.happen("task_started", "t1", task="train-model")
        await bench.happen("task_started", "t2", task="test")
        await bench.happen("task_started", "t9", task="test")
        await bench.happen("sandbox_started", sandboxId="train-box")
        await until(bench.clock, 2000)
        assert await happened(bench) == [(900, "run_stalled", "t1"), (900, "run_stalled", "t9")]


async def test_a_look_that_fails_keeps_nothing_else_and_is_repeated(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Looking.look
    is_broken = True

    def fail(self: Looking, timers: Any) -> Any:
        if is_broken:
            raise ZeroDivisionError
        return look(self, timers)

    monkeypatch.setattr(Looking, "look", fail)
    config = watching(HUNG, settle=1000.0)
    async with memory() as storage, open_stages(storage, config) as bench:
        await bench.happen("task_started", "t1")
        await bench.happen("task_started", "t2")
        await bench.happen("task_failed", "t2")
        await until(bench.clock, 1001)
        assert [title for _, title in await bench.titles()] == ['Task "t2" failed']
        is_broken = False
        await until(bench.clock, 1500)
        assert [at for at, kind, _ in await happened(bench) if kind == "run_stalled"] == [900]


async def test_a_timer_of_a_run_that_the_store_lost_is_dropped(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, watching(HUNG)) as bench:
        await bench.happen("task_started", "t1")

        def lose(store: Store) -> None:
            store._connection.exec_driver_sql("DELETE FROM runs")

        await storage.run(inside(lose))
        await until(bench.clock, 2000)
        assert await timers(bench) == 0
        assert await happened(bench) == []


def replace_keys(config: Any, **keys: Any) -> Any:
    """The watch with other keys."""
    return config.model_copy(update=keys)


async def test_nobody_hears_of_a_watch_that_no_rule_takes(autojump_clock: MockClock) -> None:
    config = watching(watch("stalled", silent_for=900.0, workflows=("*",)))
    async with memory() as storage, open_stages(storage, replace(config, instances=config.instances)) as bench:
        await bench.happen("workflow_execution_started", execution_id="x1", workflow_id="w")
        await until(bench.clock, 1000)
        assert await notified(bench) == []
        assert await happened(bench) == [(900, "run_stalled", "x1")]
