"""Stages that meet: each notification is told once, at its own hours, and in the order of the due times."""

from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import QuietConfig
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import Storage
from support.outbox import NOW, PROJECT, event, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, LOG = destination("slack.team"), destination("file_log.a")


def failures(**stages: Any) -> Any:
    return config(SLACK, rule("failures", "task_failed", "slack.team", **stages))


def hours(start: str, end: str, **more: Any) -> QuietConfig:
    return QuietConfig(**{"from": start, "to": end, "tz": "UTC"} | more)


async def silence(storage: Storage, bench: StageBench, seconds: float, **matchers: str) -> None:
    """A silence that begins now."""
    now = bench.clock.now()
    entry = Silence("s1", matchers, now, now + timedelta(seconds=seconds))
    await storage.run(inside(lambda store: store.silences.add(entry)))
    bench.ingest.look_again()


async def test_who_has_passed_once_per_is_told_after_a_silence_that_came_later(autojump_clock: MockClock) -> None:
    once = failures(once_per="{{ run.name }}", group={"by": ["project"], "wait": 30})
    async with memory() as storage, open_stages(storage, once) as bench:
        await bench.fail("t1")
        await silence(storage, bench, 600, task="t1")
        await until(bench.clock, 601)
        assert await bench.titles() == [(600, 'Task "t1" failed')]


async def test_a_silence_over_several_rules_ends_within_the_quiet_hours_of_one(autojump_clock: MockClock) -> None:
    rules = [
        rule("quiet", "task_failed", "slack.team", quiet="night"),
        rule("loud", "task_completed", "slack.team"),
    ]
    async with (
        memory() as storage,
        open_stages(storage, with_quiet(config(SLACK, *rules), night=hours("22:00", "01:00"))) as bench,
    ):
        await silence(storage, bench, 600, project="*")
        await bench.fail("t1", "t2")
        await bench.happen("task_completed", "t3")
        await until(bench.clock, 3601)
        assert await bench.titles() == [
            (600, 'Task "t3" completed'),
            (3600, "During quiet hours night: 2 tasks failed in Sales"),
        ]


async def test_a_silence_within_quiet_hours_takes_nothing_out_of_them(autojump_clock: MockClock) -> None:
    night = hours("22:00", "01:00", then="each")
    async with (
        memory() as storage,
        open_stages(storage, with_quiet(failures(quiet="night"), night=night)) as bench,
    ):
        await bench.fail("t1", "t2")
        await silence(storage, bench, 600, project="*")
        await until(bench.clock, 3601)
        assert await bench.titles() == [(3600, 'Task "t1" failed'), (3600, 'Task "t2" failed')]


async def test_a_silence_that_the_agent_does_not_know_to_be_over_holds_nothing(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await silence(storage, bench, 600, task="t1")
        await until(bench.clock, 10)
        await storage.run(inside(lambda store: store.silences.end(["s1"], bench.clock.now())))
        await bench.fail("t1")
        assert await bench.titles() == [(10, 'Task "t1" failed')]


async def test_a_later_rule_that_has_told_another_destination_tells_this_one_too(
    autojump_clock: MockClock,
) -> None:
    rules = [
        rule("pages", "task_failed", "slack.team", settle=60),
        rule("all", "task_failed", "slack.team file_log.a"),
    ]
    async with memory() as storage, open_stages(storage, config(SLACK, LOG, *rules)) as bench:
        await bench.fail("t1", "t2")
        await bench.happen("task_started", "t1")
        await until(bench.clock, 61)
        assert [title for _, title in await bench.titles()] == ['Task "t1" failed', 'Task "t2" failed']
        assert [title for _, title in await bench.titles("file_log.a")] == ['Task "t1" failed', 'Task "t2" failed']


async def test_who_was_dropped_in_quiet_hours_does_not_stand_for_its_value(autojump_clock: MockClock) -> None:
    """Nobody was told, whether it was dropped at once or by the way of a group."""
    night = hours("22:00", "01:00", then="drop")
    for stages in ({"throttle": {"limit": 1, "per": 7200}}, {"group": {"by": ["project"], "wait": 30}}):
        once = with_quiet(failures(cooldown=86400, quiet="night", **stages), night=night)
        async with memory() as storage, open_stages(storage, once) as bench:
            await bench.fail("t1")
            await until(bench.clock, 3601)
            await bench.fail("t2")
            await until(bench.clock, 3700)
            assert [title for _, title in await bench.titles()] == ['Task "t2" failed']


async def test_hours_that_drop_hold_whatever_was_held_before_them(autojump_clock: MockClock) -> None:
    drop = hours("00:05", "01:00", then="drop")
    grouped = with_quiet(failures(group={"by": ["project"], "wait": 600}, quiet="night"), night=drop)
    async with memory() as storage, open_stages(storage, grouped) as bench:
        await bench.fail("t1", "t2")
        await until(bench.clock, 3601)
        assert await bench.titles() == [(3600, "During quiet hours night: 2 tasks failed in Sales")]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_failure_is_told_at_once_if_its_rule_is_gone(autojump_clock: MockClock, begun: bool) -> None:
    async with memory() as storage, open_stages(storage, failures(settle=600)) as bench:
        await bench.fail("t1")
        if begun:
            await bench.happen("task_started", "t1")
        bench.caught_up = False
        bench.use(config(SLACK, rule("other", "task_cancelled", "slack.team")))
        await until(bench.clock, 1)
        assert await bench.titles() == [(0, 'Task "t1" failed')]


async def test_after_a_pause_of_the_agent_all_comes_in_the_order_of_its_times(autojump_clock: MockClock) -> None:
    """The group was due between two failures that settled, so the second waits for the next message."""
    grouped = failures(settle=60, group={"by": ["project"], "wait": 30, "every": 86400})
    async with memory() as storage:
        async with open_stages(storage, grouped) as bench:
            await bench.fail("t1")
            await until(bench.clock, 50)
            await bench.fail("t2")
        async with open_stages(storage, grouped, NOW + timedelta(hours=1)) as bench:
            await until(bench.clock, 3601)
            assert await bench.titles() == [(3600, 'Task "t1" failed')]
            await until(bench.clock, 86491)
            assert (await bench.titles())[1:] == [(86490, 'Task "t2" failed')]


async def test_a_changed_settle_decides_about_what_it_holds_already(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(settle=60)) as bench:
        await bench.fail("t1")
        bench.use(failures(settle=10))
        await until(bench.clock, 30)
        await bench.ingest.commit(PROJECT, [event("task_started", "t1", at=30)])
        await until(bench.clock, 61)
        assert await bench.titles() == [(60, 'Task "t1" failed')]


async def test_failures_that_waited_for_the_link_are_throttled_from_the_time_at_which_they_count(
    autojump_clock: MockClock,
) -> None:
    limited = failures(settle=60, throttle={"limit": 1, "per": 120})
    async with memory() as storage, open_stages(storage, limited, caught_up=False) as bench:
        await bench.fail("t1", "t2")
        await until(bench.clock, 3)
        await bench.fail("t3", "t4")
        await until(bench.clock, 302)
        bench.caught_up = True
        await until(bench.clock, 500)
        assert await bench.titles() == [(305, 'Task "t1" failed'), (425, "More: 3 tasks failed in Sales")]
