"""Reminders, further people, and the end of trouble that has no other."""

from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config
from aintandem_notify.config.models import EpisodesConfig
from aintandem_notify.config.rule_config import EscalationConfig
from support.outbox import inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, LEAD = destination("slack.team"), destination("slack.lead")
HOUR, DAY = 3600, 86400


def failures(expire: float = DAY, **stages: Any) -> Config:
    found = config(SLACK, LEAD, rule("failures", "task_failed", "slack.team", **stages))
    return Config(**{**vars_of(found), "episodes": EpisodesConfig(expire=f"{round(expire)}s")})


def vars_of(found: Config) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Config.__slots__}


def steps(*afters: float) -> tuple[EscalationConfig, ...]:
    return tuple(EscalationConfig(after=f"{after}s", notify=("slack.lead",)) for after in afters)


async def fail(bench: StageBench, run: str, task: str = "import") -> None:
    await bench.happen("task_started", run, task=task)
    await bench.happen("task_failed", run, task=task)


async def acknowledge(bench: StageBench) -> None:
    def change(store: Any) -> None:
        [episode] = store.episodes.open()
        store.episodes.acknowledge(episode.id, "anna", bench.clock.now())

    await bench.storage.run(inside(change))


async def test_trouble_that_goes_on_is_told_again_at_each_interval(autojump_clock: MockClock) -> None:
    reminding = failures(10 * DAY, on=("first_failure", "recovered", "still_failing"), remind_every=DAY)
    async with memory() as storage, open_stages(storage, reminding) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 2.5 * DAY)
        assert await bench.titles() == [
            (0, 'Task "import" failed'),
            (DAY, 'Still failing after 1 d: Task "import" failed'),
            (2 * DAY, 'Still failing after 2 d: Task "import" failed'),
        ]
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        await until(bench.clock, 5 * DAY)
        assert len(await bench.titles()) == 4


async def test_reminders_that_were_missed_are_one(autojump_clock: MockClock) -> None:
    reminding = failures(10 * DAY, on=("first_failure", "still_failing"), remind_every=HOUR)
    async with memory() as storage:
        async with open_stages(storage, reminding) as bench:
            await fail(bench, "r1")
            start = bench.clock.now()
        await until(bench.clock, 3.5 * HOUR)
        async with open_stages(storage, reminding, start.replace(hour=start.hour + 3, minute=30)) as bench:
            await until(bench.clock, 4.5 * HOUR)
            assert [round(at / HOUR, 1) for at, _ in await bench.titles()] == [0, 3.5, 4]


async def test_further_people_are_told_while_nobody_has_acknowledged_it(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(escalate=steps(1800, 7200))) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 1900)
        assert await bench.titles("slack.lead") == [(1800, 'Not acknowledged for 30 min: Task "import" failed')]
        await acknowledge(bench)
        await until(bench.clock, 9000)
        assert len(await bench.titles("slack.lead")) == 1
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        assert len(await bench.titles("slack.lead")) == 2, "who was told is told of the end"


async def test_the_time_to_escalate_counts_from_the_first_message(autojump_clock: MockClock) -> None:
    grouped = failures(escalate=steps(1800), group={"by": ["project"], "wait": 600, "every": 600})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 4000)
        [(at, _)] = await bench.titles("slack.lead")
        assert at == 600 + 1800 + 600  # the group holds the further message, too


async def test_trouble_without_an_end_expires_and_the_next_failure_is_another_episode(
    autojump_clock: MockClock,
) -> None:
    async with memory() as storage, open_stages(storage, failures(HOUR)) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 2 * HOUR)
        assert await storage.run(inside(lambda store: store.episodes.open())) == []
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        assert len(await bench.titles()) == 1


async def test_a_failure_after_an_expiry_is_no_first_one(autojump_clock: MockClock) -> None:
    flips = failures(HOUR, on=("first_failure", "recovered"))
    async with memory() as storage, open_stages(storage, flips) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 2 * HOUR)
        await fail(bench, "r2")
        assert len(await bench.titles()) == 1
        await bench.happen("task_started", "r3", task="import")
        await bench.happen("task_completed", "r3", task="import")
        assert len(await bench.titles()) == 2


async def test_a_reload_sets_the_times_anew(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await fail(bench, "r1")
        bench.use(failures(escalate=steps(60)))
        await until(bench.clock, 100)
        assert len(await bench.titles("slack.lead")) == 1
        bench.use(failures())
        await until(bench.clock, 2 * DAY)
        assert len(await bench.titles("slack.lead")) == 1


async def test_a_project_that_is_not_caught_up_is_waited_for(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(escalate=steps(60)), caught_up=False) as bench:
        await fail(bench, "r1")
        await until(bench.clock, 300)
        assert await bench.titles("slack.lead") == []
        bench.caught_up = True
        await until(bench.clock, 310)
        assert len(await bench.titles("slack.lead")) == 1
