"""While its cause is open, an effect waits; then it is told, if it is not over."""

from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config
from support.outbox import memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, DESK = destination("slack.team"), destination("desk.me")


def caused(**more: Any) -> Config:
    causes = rule("sandboxes", "sandbox_error", "slack.team")
    effects = rule("tasks", "task_failed", "desk.me", held_back_by=("sandboxes",), **more)
    return config(SLACK, DESK, causes, effects)


async def break_sandbox(bench: StageBench, name: str = "s1") -> None:
    await bench.happen("sandbox_error", sandboxId=name)


async def test_effects_wait_for_the_end_of_the_cause_and_only_those_still_open_are_told(
    autojump_clock: MockClock,
) -> None:
    async with memory() as storage, open_stages(storage, caused()) as bench:
        await break_sandbox(bench)
        await bench.fail("a", "b", "c")
        await until(bench.clock, 60)
        assert await bench.titles("desk.me") == []
        await bench.happen("task_started", "a", task="a")
        await bench.happen("task_completed", "a", task="a")
        await bench.happen("sandbox_started", sandboxId="s1")
        await until(bench.clock, 70)
        [(at, title)] = await bench.titles("desk.me")
        assert (at, title) == (60, "Held back until now: 2 tasks failed in Sales")


async def test_effects_wait_no_longer_than_the_rule_says(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, caused(hold_at_most="10m")) as bench:
        await break_sandbox(bench)
        await until(bench.clock, 30)
        await bench.fail("a")
        await until(bench.clock, 1000)
        assert await bench.titles("desk.me") == [(630, 'Task "a" failed')]


async def test_an_effect_without_an_open_cause_is_told_at_once(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, caused()) as bench:
        await bench.fail("a")
        await break_sandbox(bench)
        await bench.happen("sandbox_started", sandboxId="s1")
        await bench.fail("b")
        assert len(await bench.titles("desk.me")) == 2


async def test_an_effect_that_comes_before_its_cause_is_asked_again_when_a_stage_lets_go(
    autojump_clock: MockClock,
) -> None:
    grouped = caused(group={"by": ["project"], "wait": 30, "every": 300})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        await bench.fail("a")
        await until(bench.clock, 10)
        await break_sandbox(bench)
        await until(bench.clock, 100)
        assert await bench.titles("desk.me") == []
        await bench.happen("sandbox_started", sandboxId="s1")
        await until(bench.clock, 101)
        assert await bench.titles("desk.me") == [(100, 'Task "a" failed')]


async def test_an_effect_that_waits_is_told_if_the_rule_of_its_cause_is_gone(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, caused()) as bench:
        await break_sandbox(bench)
        await bench.fail("a")
        bench.use(config(SLACK, DESK, rule("tasks", "task_failed", "desk.me")))
        await until(bench.clock, 1)
        assert await bench.titles("desk.me") == [(0, 'Task "a" failed')]


@pytest.mark.parametrize(("workflow", "waits"), [("w1", True), ("w2", False)])
async def test_a_cause_in_a_workflow_holds_back_only_that_workflow(
    workflow: str, waits: bool, autojump_clock: MockClock
) -> None:
    causes = rule("workflows", "workflow_execution_paused", "slack.team")
    effects = rule("failures", "workflow_execution_failed", "desk.me", held_back_by=("workflows",))
    async with memory() as storage, open_stages(storage, config(SLACK, DESK, causes, effects)) as bench:
        await bench.happen("workflow_execution_paused", executionId="e1", workflowId="w1")
        await bench.happen("workflow_execution_failed", executionId="e2", workflowId=workflow)
        assert (await bench.titles("desk.me") == []) is waits
