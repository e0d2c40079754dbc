"""Whoever was told of trouble is told of its end, once, and in its thread."""

from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config, QuietConfig
from aintandem_notify.domain.notification import Project
from aintandem_notify.stages.silences import Silence
from support.outbox import NOW, PROJECT, event, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, DESK = destination("slack.team"), destination("desk.me")


def failures(*others: Any, **stages: Any) -> Config:
    return config(SLACK, DESK, rule("failures", "*_failed", "slack.team", **stages), *others)


async def succeed(bench: StageBench, *runs: str, task: str | None = None, project: Any = None) -> None:
    where = {} if project is None else {"project": project}
    for run in runs:
        await bench.happen("task_started", run, task=task or run, **where)
        await bench.happen("task_completed", run, task=task or run, **where)


async def fail(bench: StageBench, run: str, task: str) -> None:
    await bench.happen("task_started", run, task=task)
    await bench.happen("task_failed", run, task=task)


async def test_the_end_goes_to_the_thread_of_the_failure_with_the_time_between(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        await until(bench.clock, 7200)
        await succeed(bench, "import")
        await succeed(bench, "import")
        (_, failed), (at, fixed) = await bench.notifications()
        assert (at, fixed.title) == (7200, 'Fixed after 2 h: Task "import" completed')
        assert fixed.thread == failed.thread
        assert fixed.fixed_after == 7200
        assert ("Fixed after", "2 h") in fixed.fields
        assert fixed.mentions == ()


async def test_several_failures_of_one_subject_have_one_end(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        for run in ("r1", "r2", "r3"):
            await fail(bench, run, "import")
        await succeed(bench, "r4", task="import")
        assert [title for _, title in await bench.titles()][3:] == ['Fixed after 0 ms: Task "import" completed']


async def test_a_success_of_another_name_or_project_ends_nothing(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await fail(bench, "r1", "import")
        await succeed(bench, "r2", task="export")
        await succeed(bench, "r3", task="import", project=Project(id="other", name="Other"))
        assert len(await bench.titles()) == 1


async def test_a_later_attempt_ends_the_trouble_of_its_run_whatever_its_name_is(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.happen("task_failed", "r1")
        await succeed(bench, "r1", task="named at last")
        assert len(await bench.titles()) == 2


async def test_an_end_and_the_own_message_of_a_rule_are_one(autojump_clock: MockClock) -> None:
    ends = rule("ends", "task_completed", "slack.team desk.me", title="Well done")
    async with memory() as storage, open_stages(storage, failures(ends)) as bench:
        await bench.fail("import")
        await until(bench.clock, 60)
        await succeed(bench, "import")
        (_, failed), (_, fixed) = await bench.notifications()
        assert (fixed.title, fixed.fixed_after, fixed.thread) == ("Well done", 60, failed.thread)
        ((_, other),) = await bench.notifications("desk.me")
        assert (other.title, other.fixed_after) == ("Well done", None)
        assert other.id != fixed.id


async def test_a_rule_that_does_not_tell_ends_tells_none(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(tell_end=False)) as bench:
        await bench.fail("import")
        await succeed(bench, "import")
        assert len(await bench.titles()) == 1


async def test_neither_a_reload_nor_a_silence_keeps_an_end_from_anybody(
    autojump_clock: MockClock,
) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        bench.use(config(SLACK, rule("other", "sandbox_error", "slack.team")))
        silence = Silence("s1", {"destination": "slack.*"}, NOW, bench.clock.now().replace(year=2030))
        await storage.run(inside(lambda store: store.silences.add(silence)))
        bench.ingest.look_again()
        await until(bench.clock, 60)
        await succeed(bench, "import")
        assert len(await bench.titles()) == 2


async def test_a_destination_that_is_gone_is_told_of_no_end(
    autojump_clock: MockClock,
) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        bench.use(config(DESK, rule("other", "sandbox_error", "desk.me")))
        await succeed(bench, "import")
        assert len(await bench.titles()) == 1


async def test_what_was_over_before_anybody_was_told_has_no_end(autojump_clock: MockClock) -> None:
    grouped = failures(group={"by": ["project"], "wait": 30, "every": 300})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        await bench.fail("a", "b")
        await until(bench.clock, 10)
        await succeed(bench, "a")
        await until(bench.clock, 100)
        await succeed(bench, "b")
        await until(bench.clock, 1000)
        (at, digest), (ended_at, fixed) = await bench.notifications()
        assert (at, digest.event.wire()["openRuns"]) == (30, 1)
        assert (ended_at, fixed.title) == (330, 'Fixed after 1 min 40 s: Task "b" completed')


async def test_quiet_hours_hold_an_end_and_never_drop_it(autojump_clock: MockClock) -> None:
    night = QuietConfig.model_validate({"from": "12:30", "to": "13:00", "tz": "UTC", "then": "drop"})
    quiet = with_quiet(failures(quiet="night"), night=night)
    async with memory() as storage, open_stages(storage, quiet, NOW.replace(hour=12, minute=0)) as bench:
        await bench.fail("import")
        start = bench.clock.now()
        await until(bench.clock, (start.replace(minute=40) - NOW).total_seconds())
        await succeed(bench, "import")
        await until(bench.clock, (start.replace(hour=13, minute=1) - NOW).total_seconds())
        titles = [title for _, title in await bench.titles()]
        assert titles == ['Task "import" failed', 'Fixed after 40 min: Task "import" completed']


async def test_a_delivery_that_was_given_up_does_not_count_as_told(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        await storage.run(inside(lambda store: store.delivery_queries.drop([1], now=NOW, in_flight=())))
        await succeed(bench, "import")
        assert await bench.titles() == []


async def test_a_rule_with_on_tells_the_first_failure_and_the_recovery(autojump_clock: MockClock) -> None:
    flips = failures(on=("first_failure", "recovered"))
    async with memory() as storage, open_stages(storage, flips) as bench:
        for run in ("r1", "r2", "r3"):
            await fail(bench, run, "import")
        await succeed(bench, "r4", "r5", task="import")
        await fail(bench, "r6", "import")
        assert [title for _, title in await bench.titles()] == [
            'Task "import" failed',
            'Fixed after 0 ms: Task "import" completed',
            'Task "import" failed',
        ]


async def test_failures_that_are_no_change_go_to_the_rules_behind(autojump_clock: MockClock) -> None:
    flips = failures(rule("all", "task_failed", "slack.team desk.me", title="all"), on=("first_failure",))
    async with memory() as storage, open_stages(storage, flips) as bench:
        await fail(bench, "r1", "import")
        await fail(bench, "r2", "import")
        assert [title for _, title in await bench.titles()] == ['Task "import" failed', "all"]
        assert [title for _, title in await bench.titles("desk.me")] == ["all", "all"]


async def test_a_change_may_need_several_ends_in_a_row(autojump_clock: MockClock) -> None:
    flips = failures(on=("first_failure", "recovered"), confirm=2)
    async with memory() as storage, open_stages(storage, flips) as bench:
        await fail(bench, "r1", "import")
        await succeed(bench, "r2", task="import")
        await fail(bench, "r3", "import")
        assert await bench.titles() == []
        await fail(bench, "r4", "import")
        await succeed(bench, "r5", task="import")
        await fail(bench, "r6", "import")
        await succeed(bench, "r7", task="import")
        assert len(await bench.titles()) == 1
        await succeed(bench, "r8", task="import")
        assert len(await bench.titles()) == 2


async def test_only_recoveries_are_told_to_all_of_the_rule(autojump_clock: MockClock) -> None:
    recoveries = failures(on=("recovered",))
    async with memory() as storage, open_stages(storage, recoveries) as bench:
        await fail(bench, "r1", "import")
        await succeed(bench, "r2", task="import")
        assert [title for _, title in await bench.titles()] == ['Fixed after 0 ms: Task "import" completed']


async def test_a_failure_settles_by_its_subject(autojump_clock: MockClock) -> None:
    settled = failures(settle=120, on=("first_failure",))
    async with memory() as storage, open_stages(storage, settled) as bench:
        await fail(bench, "r1", "import")
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="import")
        await until(bench.clock, 200)
        await bench.happen("task_failed", "r2", task="import")
        await until(bench.clock, 400)
        assert await bench.titles() == [(320, 'Task "import" failed')]


async def test_a_subject_may_be_named_by_a_template(autojump_clock: MockClock) -> None:
    subject = "{{ run.name.split('-')[0] }}"
    settled = failures(settle=120, on=("first_failure", "recovered"), subject=subject)
    async with memory() as storage, open_stages(storage, settled) as bench:
        await fail(bench, "r1", "import-monday")
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="import-tuesday")
        await until(bench.clock, 200)
        await bench.happen("task_failed", "r2", task="import-tuesday")
        await until(bench.clock, 400)
        await succeed(bench, "r3", task="import-wednesday")
        assert await bench.titles() == [
            (320, 'Task "import-tuesday" failed'),
            (400, 'Fixed after 3 min 20 s: Task "import-wednesday" completed'),
        ]


async def test_a_subject_that_raises_falls_back_to_the_name(autojump_clock: MockClock) -> None:
    flips = failures(on=("first_failure", "recovered"), subject="{{ 1 / 0 }}")
    async with memory() as storage, open_stages(storage, flips) as bench:
        await fail(bench, "r1", "import")
        await fail(bench, "r2", "import")
        await succeed(bench, "r3", task="import")
        assert len(await bench.titles()) == 2


async def test_a_failure_that_is_older_than_the_newest_success_is_no_change(autojump_clock: MockClock) -> None:
    flips = failures(rule("all", "task_failed", "desk.me"), on=("first_failure",))
    async with memory() as storage, open_stages(storage, flips) as bench:
        late = await bench.happen("task_started", "r1", task="import")
        await until(bench.clock, 60)
        await succeed(bench, "r2", task="import")
        await bench.happen("task_failed", "r1", task="import", timestamp=late.timestamp.isoformat())
        assert (await bench.titles(), len(await bench.titles("desk.me"))) == ([], 1)


async def test_a_paused_workflow_that_goes_on_is_over_and_one_that_fails_is_other_trouble(
    autojump_clock: MockClock,
) -> None:
    trouble = config(SLACK, rule("trouble", "workflow_execution_paused", "slack.team"))
    async with memory() as storage, open_stages(storage, trouble) as bench:
        for run, ending in (("w1", "resumed"), ("w2", "failed"), ("w3", "completed")):
            for what in ("started", "paused", ending):
                await bench.happen(f"workflow_execution_{what}", executionId=run, workflowId=f"of {run}")
        assert [title.partition(":")[0] for _, title in await bench.titles()] == [
            'Workflow "of w1" is paused',
            "Over after 0 ms",
            'Workflow "of w2" is paused',
            'Workflow "of w3" is paused',
            "Over after 0 ms",
        ]


async def test_a_sandbox_that_runs_again_is_over(autojump_clock: MockClock) -> None:
    async with (
        memory() as storage,
        open_stages(storage, config(SLACK, rule("s", "sandbox_error", "slack.team"))) as bench,
    ):
        await bench.happen("sandbox_error", sandboxId="s1")
        await until(bench.clock, 30)
        await bench.happen("sandbox_started", sandboxId="s1")
        assert [title for _, title in await bench.titles()] == [
            'Sandbox "s1" has an error',
            'Fixed after 30 s: Sandbox "s1" started',
        ]


async def test_trouble_and_its_end_in_one_transaction_are_both_told(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        happened = [
            event(kind, run=run, at=second, task="import")
            for second, (kind, run) in enumerate(
                [("task_failed", "r1"), ("task_failed", "r2"), ("task_completed", "r3"), ("task_failed", "r4")]
            )
        ]
        await bench.ingest.commit(PROJECT, happened)
        assert [title for _, title in await bench.titles()] == [
            'Task "import" failed',
            'Task "import" failed',
            'Fixed after 2 s: Task "import" completed',
            'Task "import" failed',
        ]


async def test_a_failure_that_has_settled_into_a_group_belongs_to_an_episode(autojump_clock: MockClock) -> None:
    settled = failures(settle=60, group={"by": ["project"], "wait": 30, "every": 300}, on=("first_failure",))
    async with memory() as storage, open_stages(storage, settled) as bench:
        await fail(bench, "r1", "import")
        await until(bench.clock, 200)
        await fail(bench, "r2", "import")
        await until(bench.clock, 1000)
        assert await bench.titles() == [(90, 'Task "import" failed')]
        await succeed(bench, "r3", task="import")
        await until(bench.clock, 2000)
        assert len(await bench.titles()) == 2
