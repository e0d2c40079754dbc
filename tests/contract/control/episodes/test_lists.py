"""The list of episodes: who was told, the next actions, and the causes of ends."""

from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config
from aintandem_notify.control.episodes.lists import MAX_OPEN, list_episodes
from aintandem_notify.control.episodes.schemas import EpisodeListResponse
from aintandem_notify.log import register_secret
from aintandem_notify.stages.pipeline import StagePolicy
from support.outbox import NOW, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, LEAD = destination("slack.team"), destination("slack.lead")
HOUR = timedelta(hours=1)


def failures(*others: Any, **stages: Any) -> Config:
    return config(SLACK, LEAD, rule("failures", "*_failed", "slack.team", **stages), *others)


async def listed(
    bench: StageBench, settings: Config | None, *, with_ended: bool = False, max_open: int = MAX_OPEN
) -> EpisodeListResponse:
    policy = None if settings is None else StagePolicy.of(settings)
    response: EpisodeListResponse = await bench.storage.run(
        lambda store: list_episodes(store, policy, with_ended=with_ended, max_open=max_open)
    )
    assert EpisodeListResponse.from_json(response.to_json().encode()) == response
    return response


async def test_an_episode_says_all_that_is_known_of_it(autojump_clock: MockClock) -> None:
    settings = failures(
        on=("first_failure", "still_failing"),
        remind_every=7200,
        escalate=({"after": 1800, "notify": ["slack.lead"]}, {"after": 9000, "notify": ["slack.team"]}),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await until(bench.clock, 3600)
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_failed", "r2", task="import")
        [episode] = (await listed(bench, settings)).episodes
        assert (episode.rule, episode.type, episode.project, episode.project_id, episode.kind) == (
            "failures",
            "task_failed",
            "Sales",
            "p",
            "task",
        )
        assert (episode.run, episode.run_id, episode.troubles) == ("import", "r2", 2)
        assert (episode.begun_at, episode.last_at) == (NOW, NOW + HOUR)
        # The lead was told by the first step of the escalation.
        assert [(told.destination, told.at - NOW) for told in episode.told] == [
            ("slack.lead", HOUR / 2),
            ("slack.team", timedelta(0)),
        ]
        assert [(wait.action, wait.at - NOW, wait.destinations) for wait in episode.waits] == [
            ("remind", 2 * HOUR, ("slack.team",)),
            ("escalate", 2.5 * HOUR, ("slack.team",)),
            ("expire", 25 * HOUR, ()),
        ]
        assert (episode.acknowledged_at, episode.ended_at, episode.ended_by) == (None, None, None)


async def test_without_the_rules_nothing_is_said_of_the_future(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        [episode] = (await listed(bench, None)).episodes
        assert episode.waits == ()


async def test_what_stages_hold_of_an_episode_and_what_waits_for_it_is_counted(autojump_clock: MockClock) -> None:
    settings = config(
        SLACK,
        LEAD,
        rule("causes", "sandbox_error", "slack.lead", group={"by": ["sandbox"], "wait": 600}),
        rule("effects", "task_failed", "slack.team", held_back_by=("causes",)),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("sandbox_error", sandboxId="box", error="gone")
        await until(bench.clock, 10)
        await bench.fail("import", "export")
        [cause, effect, _] = (await listed(bench, settings)).episodes
        assert [(held.destination, held.stage, held.count, held.until - NOW) for held in cause.held] == [
            ("slack.lead", "group", 1, HOUR / 6)
        ]
        assert (cause.told, cause.holds_back) == ((), 2)
        assert [(held.stage, held.count, held.until - NOW) for held in effect.held] == [
            ("held_back_by", 1, HOUR + timedelta(seconds=10))
        ]
        assert effect.holds_back == 0


async def test_those_that_have_ended_are_listed_if_wanted_with_the_cause_of_the_end(
    autojump_clock: MockClock,
) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import", "export")
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        assert [episode.run for episode in (await listed(bench, settings)).episodes] == ["export"]
        response = await listed(bench, settings, with_ended=True)
        assert [(episode.run, episode.ended_by) for episode in response.episodes] == [
            ("export", None),
            ("import", "success"),
        ]
        assert (response.count, response.episodes[1].waits) == (1, ())


async def test_trouble_that_is_not_confirmed_is_not_listed(autojump_clock: MockClock) -> None:
    settings = failures(on=("first_failure",), confirm=2)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        response = await listed(bench, settings, with_ended=True)
        assert (response.episodes, response.count) == ((), 0)


async def test_of_many_the_oldest_are_listed_and_all_are_counted(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        for second, name in enumerate(("a", "b", "c")):
            await until(bench.clock, second)
            await bench.fail(name)
        response = await listed(bench, failures(), max_open=2)
        assert ([episode.run for episode in response.episodes], response.count) == (["a", "b"], 3)


async def test_a_name_shows_no_secret(autojump_clock: MockClock) -> None:
    register_secret("hunter2-is-no-password")
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("with hunter2-is-no-password")
        [episode] = (await listed(bench, failures())).episodes
        assert "hunter2" not in episode.run
