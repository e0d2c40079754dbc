"""The stages of the rules on a real store: the time of each message, and the messages that become one."""

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import QuietConfig
from aintandem_notify.domain.notification import Severity
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.stages.silences import Silence
from support.ingesting import FlakyStorage
from support.outbox import NOW, PROJECT, event, inside, memory, new_store
from support.routing import config, destination, rule
from support.staging import open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
SLACK = destination("slack.team")


def failures(**stages: Any) -> Any:
    return config(SLACK, rule("failures", "task_failed", "slack.team", **stages))


async def test_a_rule_without_stages_tells_at_once(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("t1", "t2")
        assert await bench.titles() == [(0, 'Task "t1" failed'), (0, 'Task "t2" failed')]


async def test_a_group_is_one_message_after_its_wait_and_then_one_each_interval(autojump_clock: MockClock) -> None:
    grouped = failures(group={"by": ["project"], "wait": 30, "every": 300})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        for number in range(100):
            await until(bench.clock, number / 10)
            await bench.fail(f"t{number}")
        assert await bench.titles() == []
        await until(bench.clock, 31)
        assert await bench.titles() == [(30, "100 tasks failed in Sales")]
        await bench.fail("late")
        await until(bench.clock, 200)
        await bench.fail("later")
        await until(bench.clock, 331)
        assert (await bench.titles())[1:] == [(330, "2 tasks failed in Sales")]
        await until(bench.clock, 1000)
        await bench.fail("alone")
        await until(bench.clock, 1031)
        assert (await bench.titles())[2:] == [(1030, 'Task "alone" failed')]


async def test_a_throttle_lets_some_pass_and_tells_the_others_as_one(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(throttle={"limit": 2, "per": 60})) as bench:
        await bench.fail("t1", "t2", "t3", "t4")
        await until(bench.clock, 61)
        assert await bench.titles() == [
            (0, 'Task "t1" failed'),
            (0, 'Task "t2" failed'),
            (60, "More: 2 tasks failed in Sales"),
        ]
        await bench.fail("t5", "t6")  # the summary was the first of this window
        assert (await bench.titles())[3:] == [(61, 'Task "t5" failed')]


async def test_quiet_hours_end_in_a_digest(autojump_clock: MockClock) -> None:
    night = QuietConfig(**{"from": "22:00", "to": "01:00", "tz": "UTC"})
    quiet = with_quiet(failures(quiet="night"), night=night)
    async with memory() as storage, open_stages(storage, quiet) as bench:  # it is midnight
        await bench.fail("t1", "t2")
        await bench.happen("task_started", "t2")
        await bench.happen("task_completed", "t2")
        await until(bench.clock, 3601)
        [(at, digest)] = await bench.notifications()
        assert (at, digest.title) == (3600, "During quiet hours night: 2 tasks failed in Sales")
        assert digest.body == '1 of 2 failed runs has not succeeded since.\n• Task "t1" failed\n• Task "t2" failed'
        assert digest.severity is Severity.ERROR
        await bench.fail("t3")
        assert (await bench.titles())[1:] == [(3601, 'Task "t3" failed')]


async def test_a_failure_settles_until_a_new_attempt_could_have_begun(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(settle=120)) as bench:
        await bench.fail("t1", "t2")
        await until(bench.clock, 60)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 121)
        assert await bench.titles() == [(120, 'Task "t2" failed')]


async def test_one_for_each_value_and_one_each_cooldown(autojump_clock: MockClock) -> None:
    per_error = failures(once_per="{{ event.error }}", cooldown=600)
    async with memory() as storage, open_stages(storage, per_error) as bench:
        await bench.fail("t1", "t2", error="out of memory")
        await bench.fail("t3", error="no space")
        await until(bench.clock, 601)
        await bench.fail("t4", error="out of memory")
        assert [title for _, title in await bench.titles()] == [
            f'Task "{name}" failed' for name in ("t1", "t3", "t4")
        ]


async def test_held_notifications_are_sent_at_once_if_their_rule_is_gone(autojump_clock: MockClock) -> None:
    night = QuietConfig(**{"from": "22:00", "to": "06:00", "tz": "UTC"})
    rules = [
        rule("grouped", "task_failed", "slack.team", group={"by": ["project"], "wait": 600}),
        rule("quiet", "task_completed", "slack.team", quiet="night"),
        rule("settling", "task_failed", "file_log.a", settle=600),
    ]
    file_log = destination("file_log.a")
    async with memory() as storage:
        async with open_stages(storage, with_quiet(config(SLACK, file_log, *rules), night=night)) as bench:
            await bench.fail("t1", "t2")
            await bench.happen("task_completed", "t3")
            await until(bench.clock, 10)
            assert await bench.titles() == await bench.titles("file_log.a") == []
        other = config(SLACK, file_log, rule("other", "task_cancelled", "slack.team file_log.a"))
        async with open_stages(storage, other) as bench:
            await until(bench.clock, 1)
            assert sorted(title for _, title in await bench.titles()) == [
                "2 tasks failed in Sales",
                'Task "t3" completed',
            ]
            assert [title for _, title in await bench.titles("file_log.a")] == [
                'Task "t1" failed',
                'Task "t2" failed',
            ]


async def test_a_later_rule_is_asked_if_a_failure_does_not_count(autojump_clock: MockClock) -> None:
    rules = [
        rule("pages", "task_failed", "slack.team", settle=60),
        rule("all", "task_failed", "slack.team", title="again: {{ run.name }}"),
    ]
    async with memory() as storage, open_stages(storage, config(SLACK, *rules)) as bench:
        await bench.fail("t1", "t2")
        await until(bench.clock, 30)
        await bench.happen("task_started", "t1")
        await until(bench.clock, 61)
        assert await bench.titles() == [(60, "again: t1"), (60, 'Task "t2" failed')]


async def test_a_failure_settles_until_its_project_is_caught_up(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures(settle=60)) as bench:
        await bench.fail("t1", "t2")
        bench.caught_up = False
        await until(bench.clock, 90)
        assert await bench.titles() == []
        await bench.ingest.commit(PROJECT, [event("task_started", "t1", at=20)])
        bench.caught_up = True
        await until(bench.clock, 96)
        assert [title for _, title in await bench.titles()] == ['Task "t2" failed']


async def test_a_failure_settles_on_after_a_long_pause_of_the_agent(autojump_clock: MockClock) -> None:
    later = NOW + timedelta(hours=2)
    async with memory() as storage:
        async with open_stages(storage, failures(settle=60)) as bench:
            await bench.fail("t1", "t2")
        async with open_stages(storage, failures(settle=60), later, caught_up=False) as bench:
            await until(bench.clock, 2 * 3600 + 30)
            await bench.ingest.commit(PROJECT, [event("task_started", "t1", at=20)])
            assert await bench.titles() == []
            await until(bench.clock, 2 * 3600 + 599)
            assert await bench.titles() == []
            await until(bench.clock, 2 * 3600 + 606)
            assert [title for _, title in await bench.titles()] == ['Task "t2" failed']


async def test_the_end_of_a_silence_is_one_message_about_all_that_it_held(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        silence = Silence("s1", {"project": "Sal*"}, NOW, NOW + timedelta(hours=1))
        await storage.run(inside(lambda store: store.silences.add(silence)))
        bench.ingest.look_again()
        await until(bench.clock, 1)
        await bench.fail("t1", "t2")
        await until(bench.clock, 3601)
        assert await bench.titles() == [(3600, "While silenced: 2 tasks failed in Sales")]


async def test_silences_are_asked_again_when_a_group_is_told(autojump_clock: MockClock) -> None:
    grouped = failures(group={"by": ["project"], "wait": 30})
    async with memory() as storage, open_stages(storage, grouped) as bench:
        await bench.fail("t1", "t2", "t3")
        silence = Silence("s1", {"task": "t[12]"}, NOW, NOW + timedelta(hours=1))
        await storage.run(inside(lambda store: store.silences.add(silence)))
        bench.ingest.look_again()
        await until(bench.clock, 31)
        assert await bench.titles() == [(30, 'Task "t3" failed')]


async def test_a_stage_that_fails_keeps_nothing_from_people(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it holds, the event is told without its texts; when it releases, each event is told by itself."""
    grouped = failures(group={"by": ["project"], "wait": 30})

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    async with memory() as storage, open_stages(storage, grouped) as bench:
        await bench.fail("t1", "t2")
        monkeypatch.setattr(StagePolicy, "reopen", fail)
        await until(bench.clock, 31)
        assert await bench.titles() == [(30, 'Task "t1" failed'), (30, 'Task "t2" failed')]
        monkeypatch.setattr(StagePolicy, "unit", fail)
        await bench.fail("t3")
        assert (await bench.titles())[2:] == [(31, "Task failed")]


async def test_a_template_that_raises_tells_at_once(autojump_clock: MockClock) -> None:
    rules = [
        rule("once", "task_failed", "slack.team", once_per="{{ run.name + 1 }}"),
        rule("grouped", "task_failed", "file_log.a", group={"by": ["{{ run.name + 1 }}"]}),
    ]
    settings = config(SLACK, destination("file_log.a"), *rules)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1", "t2")
        both = [(0, 'Task "t1" failed'), (0, 'Task "t2" failed')]
        assert await bench.titles() == await bench.titles("file_log.a") == both


async def test_a_full_disk_loses_nothing_that_is_held(autojump_clock: MockClock) -> None:
    with closing(new_store()) as store:
        storage = FlakyStorage(store)
        async with open_stages(storage, failures(group={"by": ["project"], "wait": 30})) as bench:
            await bench.fail("t1", "t2")
            storage.failures = ["before", "before", "after"]
            await until(bench.clock, 60)
            assert storage.failures == []
            assert await bench.titles() == [(40, "2 tasks failed in Sales")]


async def test_odd_texts_make_groups_of_their_own_and_show_no_secret(autojump_clock: MockClock) -> None:
    token = "xoxb-1234567890-abcdefghij"
    texts = ["a\0b", "\x1b[31mred", "\u202ertl", "x" * 100_000, "{{ 7*7 }}", "<!channel>", f"login with {token}"]
    by_text = failures(group={"by": ["task", "error"], "wait": 30})
    async with memory() as storage, open_stages(storage, by_text) as bench:
        for number, text in enumerate(texts):
            await bench.fail(f"a{number}", f"b{number}", error=text)
            for run in (f"c{number}", f"d{number}"):
                await bench.happen("task_failed", run, task=text, error=text)
        await until(bench.clock, 31)
        digests = [told for _, told in await bench.notifications() if told.event.type == "digest"]
        assert [told.title for told in digests] == ["2 tasks failed in Sales"] * len(texts)
        assert not any(token in told.model_dump_json() or "\x1b" in told.body for told in digests)
