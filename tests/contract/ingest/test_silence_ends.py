"""The word before a silence ends, in every database and in virtual time."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.log import register_secret
from aintandem_notify.rules import Router
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import Storage
from support.outbox import NOW, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until

pytestmark = pytest.mark.usefixtures("any_store")
SETTINGS = config(
    destination("slack.team"),
    destination("mail.me"),
    destination("webhook.ops"),
    rule("failures", "task_failed", "slack.team mail.me"),
    rule("ops", "sandbox_error", "webhook.ops"),
)


async def add(storage: Storage, seconds: float, **more: Any) -> Silence:
    silence = Silence(
        "3f9a", more.pop("matchers", {"task": "*"}), NOW, NOW + timedelta(seconds=seconds), "ana", "a migration"
    )
    await storage.run(inside(lambda store: store.silences.add(silence)))
    return silence


async def words(bench: StageBench, destination: str = "slack.team") -> list[tuple[int, str]]:
    told = await bench.notifications(destination)
    return [(at, note.title) for at, note in told if note.event.type == "silence_ending"]


async def test_those_from_whom_it_holds_something_hear_a_word_and_then_all_that_it_held(
    autojump_clock: MockClock,
) -> None:
    async with memory() as storage:
        await add(storage, 1000)
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 10)
            await bench.fail("t1", "t2")
            await until(bench.clock, 899)
            assert await words(bench) == []
            await until(bench.clock, 901)
            await until(bench.clock, 1001)
            expected = [
                (900, "A silence ends in 1 min 40 s and holds 4 notifications"),
                (1000, "While silenced: 2 tasks failed in Sales"),
            ]
            assert await bench.titles("slack.team", with_words=True) == expected
            assert await bench.titles("mail.me", with_words=True) == expected
            assert await bench.titles("webhook.ops", with_words=True) == []
            [(_, word), _] = await bench.notifications("slack.team")
            assert word.rule == "silence"
            assert word.body.startswith("a migration\nIt silences task *.")


async def test_a_silence_that_holds_nothing_ends_without_a_word(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await add(storage, 1000)
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 2000)
            assert await bench.titles(with_words=True) == []


async def test_one_that_holds_its_first_shortly_before_its_end_still_says_so(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await add(storage, 1000)
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 950)
            await bench.fail("t1")
            await until(bench.clock, 999)
            [(at, title)] = await words(bench)
            assert 950 <= at <= 965
            assert title.endswith("and holds 2 notifications")


async def test_a_restart_and_more_held_notifications_make_no_second_word(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await add(storage, 1000)
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 10)
            await bench.fail("t1")
        async with open_stages(storage, SETTINGS, NOW + timedelta(seconds=905)) as bench:
            await until(bench.clock, 910)
            await bench.fail("t2")
            await until(bench.clock, 930)
        async with open_stages(storage, SETTINGS, NOW + timedelta(seconds=950)) as bench:
            await until(bench.clock, 1001)
            assert len(await words(bench)) == 1


async def test_an_agent_that_was_down_says_nothing_after_the_end(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await add(storage, 1000)
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 10)
            await bench.fail("t1")
        async with open_stages(storage, SETTINGS, NOW + timedelta(seconds=2000)) as bench:
            await until(bench.clock, 2001)
            assert [title for _, title in await bench.titles(with_words=True)] == ['Task "t1" failed']


async def test_only_one_of_several_agents_says_it(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        silence = await add(storage, 1000)
        marks = [
            await storage.run(inside(lambda store: store.silences.mark_announced(silence.id, NOW))) for _ in "ab"
        ]
        assert marks == [True, False]


async def test_a_silence_of_every_type_does_not_hold_its_own_word(autojump_clock: MockClock) -> None:
    async with memory() as storage:
        await add(storage, 1000, matchers={"type": "*"})
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 10)
            await bench.fail("t1")
            await until(bench.clock, 901)
            assert [at for at, _ in await words(bench)] == [900]


async def test_a_word_that_cannot_be_told_keeps_nothing_from_anybody(autojump_clock: MockClock) -> None:
    class FailingRouter(Router):
        def route(self, *_about: object) -> Any:
            raise ZeroDivisionError

    async with memory() as storage:
        await add(storage, 1000)
        with capture_logs() as lines:
            async with open_stages(storage, SETTINGS) as bench:
                await until(bench.clock, 10)
                await bench.fail("t1")
                bench.ingest.use(FailingRouter(SETTINGS), StagePolicy.of(SETTINGS))
                await until(bench.clock, 1001)
                assert [at for at, _ in await bench.titles(with_words=True)] == [1000]
        assert [line["event"] for line in lines if line["log_level"] == "error"] == [
            "the end of a silence cannot be announced"
        ]


async def test_no_secret_is_in_the_word(autojump_clock: MockClock) -> None:
    register_secret("hunter2-is-no-password")
    secret = "key hunter2-is-no-password"
    silence = Silence("3f9a", {"task": "*"}, NOW, NOW + timedelta(seconds=1000), secret, secret)
    async with memory() as storage:
        await storage.run(inside(lambda store: store.silences.add(silence)))
        async with open_stages(storage, SETTINGS) as bench:
            await until(bench.clock, 10)
            await bench.fail("t1")
            await until(bench.clock, 901)
            [(_, note)] = await bench.notifications()
            assert "hunter2" not in note.model_dump_json()
            assert note.body.startswith("key ")


@pytest.mark.parametrize(
    ("seconds", "lead"), [(60, 30), (600, 60), (1000, 100), (9000, 900), (86400, 900), (90, 45)]
)
def test_the_word_comes_a_tenth_before_the_end(seconds: float, lead: float) -> None:
    silence = Silence("a", {}, NOW, NOW + timedelta(seconds=seconds))
    assert (silence.expires_at - silence.announced_from).total_seconds() == lead
