"""Episodes that people end, acknowledge and snooze: who is told, and who waits no longer."""

from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config, QuietConfig
from aintandem_notify.control.episodes.changes import Snooze, acknowledge, end, matchers_of, snooze
from aintandem_notify.control.episodes.schemas import EndedEpisodeResponse
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.domain.events.watch_events import RunMissingEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.rules import Router
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import PRUNE_STEPS, DeliveryState, PruneLimits, Settlement, Store
from support.outbox import NOW, PROJECT, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, LEAD = destination("slack.team"), destination("slack.lead")


def failures(*others: Any, **stages: Any) -> Config:
    return config(
        SLACK, LEAD, rule("failures", "*_failed workflow_execution_paused", "slack.team", **stages), *others
    )


async def open_episodes(bench: StageBench) -> list[Episode]:
    found: list[Episode] = await bench.storage.run(inside(lambda store: store.episodes.open()))
    return found


async def end_all(bench: StageBench, settings: Config, *references: str) -> tuple[EndedEpisodeResponse, ...]:
    """Ends these, or all that are open."""
    ids = references or tuple(episode.id for episode in await open_episodes(bench))
    now, policy, router = bench.clock.now(), StagePolicy.of(settings), Router(settings)
    result = await bench.storage.run(lambda store: end(store, ids, policy, router, now))
    bench.ingest.look_again()
    return result.response.episodes


async def test_whoever_was_told_is_told_of_the_end_in_the_thread(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import", "export")
        await until(bench.clock, 7200)
        [first, _] = await open_episodes(bench)
        [ended] = await end_all(bench, settings, first.id[:9])
        assert (ended.id, ended.recipients, ended.untold, ended.ended_by) == (
            first.id,
            ("slack.team",),
            None,
            "hand",
        )
        told = dict.fromkeys(notification.thread for _, notification in await bench.notifications())
        *_, (at, word) = await bench.notifications()
        assert (at, word.title) == (7200, f'Ended by hand after 2 h: Task "{first.run_name}" failed')
        assert word.thread == first.thread
        assert len(told) == 2
        assert [episode.id for episode in await open_episodes(bench)] != [first.id]


async def test_a_success_after_the_end_by_hand_is_no_second_end(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await end_all(bench, settings)
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        assert len(await bench.titles()) == 2


async def test_the_next_failure_after_the_end_is_a_first_one(autojump_clock: MockClock) -> None:
    settings = failures(on=("first_failure", "recovered"))
    async with memory() as storage, open_stages(storage, settings) as bench:
        for _ in range(2):
            await bench.fail("import")
        await end_all(bench, settings)
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_failed", "r2", task="import")
        assert [title for _, title in await bench.titles()] == [
            'Task "import" failed',
            'Ended by hand after 0 ms: Task "import" failed',
            'Task "import" failed',
        ]


async def test_quiet_hours_hold_the_word_and_never_drop_it(autojump_clock: MockClock) -> None:
    night = QuietConfig.model_validate({"from": "00:10", "to": "07:00", "tz": "UTC", "then": "drop"})
    settings = with_quiet(failures(quiet="night"), night=night)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await until(bench.clock, 1200)
        [ended] = await end_all(bench, settings)
        assert ended.recipients == ("slack.team",)
        assert len(await bench.titles()) == 1
        await until(bench.clock, 7 * 3600 + 60)
        assert (await bench.titles())[1:] == [(7 * 3600, 'Ended by hand after 20 min: Task "import" failed')]


async def test_a_silence_does_not_hold_the_word(autojump_clock: MockClock) -> None:
    settings = failures()
    silence = Silence("s1", {"destination": "slack.*"}, NOW, NOW + timedelta(days=1))
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await storage.run(inside(lambda store: store.silences.add(silence)))
        await end_all(bench, settings)
        assert len(await bench.titles()) == 2


async def test_what_waits_for_the_end_goes_at_once(autojump_clock: MockClock) -> None:
    settings = config(
        SLACK,
        LEAD,
        rule("causes", "sandbox_error", "slack.lead"),
        rule("effects", "task_failed", "slack.team", held_back_by=("causes",)),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("sandbox_error", sandboxId="box", error="gone")
        await until(bench.clock, 10)
        await bench.fail("import")
        assert await bench.titles() == []
        await until(bench.clock, 60)
        [cause, _] = await open_episodes(bench)
        await end_all(bench, settings, cause.id)
        await until(bench.clock, 61)
        assert await bench.titles() == [(60, 'Task "import" failed')]
        assert len(await bench.titles("slack.lead")) == 2


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ({"tell_end": False}, "the rule has tell_end = false"),
        ({"group": {"by": ["project"], "wait": 600}}, "nobody was told of the trouble"),
    ],
    ids=["tell_end", "not told yet"],
)
async def test_the_end_counts_also_if_nobody_is_told(
    autojump_clock: MockClock, stages: dict[str, Any], reason: str
) -> None:
    settings = failures(**stages)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        before = await bench.titles()
        [ended] = await end_all(bench, settings)
        assert (ended.recipients, ended.untold, ended.ended_by) == ((), reason, "hand")
        assert (await bench.titles(), await open_episodes(bench)) == (before, [])


async def test_the_end_counts_also_if_its_event_is_gone(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await storage.run(inside(lambda store: _deliver(store, "slack.team")))
        limits = PruneLimits(NOW + timedelta(hours=9), timedelta(hours=8))
        await storage.run(inside(lambda store: _forget_events(store, limits)))
        [ended] = await end_all(bench, settings)
        assert (ended.untold, ended.ended_by) == ("the event of the trouble is no longer stored", "hand")
        assert (await bench.titles(), await open_episodes(bench)) == ([], [])


def _forget_events(store: Store, limits: PruneLimits) -> None:
    for step in ("deliveries", "events"):
        PRUNE_STEPS[step](store.retention, limits, None)


def _deliver(store: Store, destination: str) -> None:
    claims = store.outbox.claim(destination, limit=10, now=NOW, horizon=NOW)
    store.outbox.settle(
        [Settlement(claim=claim, state=DeliveryState.DELIVERED, at=NOW, due_at=NOW) for claim in claims]
    )


async def test_destinations_that_are_gone_are_told_nothing(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("import")
        [ended] = await end_all(bench, config(LEAD, rule("other", "task_failed", "slack.lead")))
        assert ended.untold == "the config has none of those who were told of the trouble any more"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("ep_12", "ep_12 is no id of an episode: write at least 3 characters of it, as `episodes list` shows it"),
        ("", "nothing is no id of an episode: write at least 3 characters"),
        ("ntf_123", "ntf_123 is no id of an episode"),
        ("ep_000000", "there is no episode ep_000000; open are: ep_"),
    ],
)
async def test_an_unknown_id_changes_nothing(autojump_clock: MockClock, reference: str, sentence: str) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        [known] = await open_episodes(bench)
        for references in ([reference], [known.id, reference]):
            with pytest.raises(RequestRefused) as refusal:
                await end_all(bench, settings, *references)
            assert str(refusal.value).startswith(sentence)
        assert await open_episodes(bench) == [known]


async def test_an_ambiguous_id_names_those_that_it_may_be(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail(*(f"t{number}" for number in range(200)))
        ids = sorted(episode.id for episode in await open_episodes(bench))
        prefix = next(a[:6] for a, b in pairwise(ids) if a[:6] == b[:6])
        with pytest.raises(RequestRefused, match=f"^{prefix} is ambiguous: it may be ep_.*, ep_") as refusal:
            await end_all(bench, settings, prefix)
        assert refusal.value.status == 409
        assert len(await open_episodes(bench)) == 200


async def test_what_has_ended_is_not_ended_again(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        [known] = await open_episodes(bench)
        await end_all(bench, settings)
        with pytest.raises(RequestRefused, match=f"^the episode {known.id} has ended already, by hand$"):
            await end_all(bench, settings, known.id)
        assert len(await bench.titles()) == 2


async def test_an_acknowledged_episode_reminds_nobody_and_escalates_no_further(autojump_clock: MockClock) -> None:
    settings = failures(
        on=("first_failure", "still_failing", "recovered"),
        remind_every=3600,
        escalate=({"after": 1800, "notify": ["slack.lead"]},),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        [known] = await open_episodes(bench)
        policy = StagePolicy.of(settings)
        for by, changed in (("ana", True), ("bob", False)):
            await until(bench.clock, 60 if changed else 120)
            done = partial(acknowledge, references=[known.id], by=by, policy=policy, now=bench.clock.now())
            response = await storage.run(done)
            bench.ingest.look_again()
            [noted] = response.episodes
            assert (noted.changed, noted.acknowledged_by) == (changed, "ana")
            assert noted.acknowledged_at == NOW + timedelta(seconds=60)
            assert [action.action for action in noted.waits] == ["expire"]
        await until(bench.clock, 5 * 3600)
        assert (await bench.titles("slack.lead"), len(await bench.titles())) == ([], 1)
        await bench.happen("task_completed", "import")
        assert len(await bench.titles()) == 2


async def test_a_snooze_silences_the_subject_and_nothing_else(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("train [eu]*")
        [known] = await open_episodes(bench)
        wanted = Snooze(known.id, NOW + timedelta(hours=2), "ana", "a migration")
        silence = await storage.run(lambda store: snooze(store, wanted, NOW))
        bench.ingest.look_again()
        assert (silence.matchers, silence.owner, silence.reason) == (
            {"project": "p", "task": "train [[]eu][*]"},
            "ana",
            "a migration",
        )
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="train [eu]*")
        await bench.happen("task_failed", "r2", task="train [eu]*")
        await bench.fail("train [eu]*2", "train e")
        await bench.happen("task_started", "r3", task="train [eu]*", project=Project(id="q", name="HR"))
        await bench.happen("task_failed", "r3", task="train [eu]*", project=Project(id="q", name="HR"))
        assert len(await bench.titles()) == 4
        await bench.happen("task_completed", "r2", task="train [eu]*")
        assert (await bench.titles())[-1][1].startswith("Fixed after")
        with pytest.raises(RequestRefused, match=r"has ended already, by success$"):
            await storage.run(lambda store: snooze(store, wanted, NOW))


async def test_runs_that_a_watch_misses_are_ended_and_snoozed(autojump_clock: MockClock) -> None:
    settings = config(SLACK, rule("watched", "run_missing", "slack.team"))
    async with memory() as storage, open_stages(storage, settings) as bench:
        missing = RunMissingEvent(timestamp=NOW, project_id="p", watch="w", kind="task", pattern="night*")
        await bench.ingest.commit(PROJECT, [missing])
        await until(bench.clock, 60)
        [episode] = await open_episodes(bench)
        assert matchers_of(episode) == {"project": "p", "task": "night[*]"}
        [(_, first)] = await bench.notifications()
        silence = Silence("s", matchers_of(episode), NOW, NOW + timedelta(hours=1))
        assert silence.matches(Facts.of(first, "slack.team"))
        await end_all(bench, settings)
        [_, (_, word)] = await bench.titles()
        assert word == f"Ended by hand after 1 min: {first.title}"


@pytest.mark.parametrize(
    ("facts", "matchers"),
    [
        ({"kind": "task", "run_name": "x\ny?"}, {"task": "x?y[?]"}),
        ({"kind": "task", "run_name": " ", "run_id": "t1"}, {"task": "t1"}),
        ({"kind": "workflow", "run_name": "w", "run_id": "e1", "workflow_id": "w*"}, {"workflow": "w[*]"}),
        ({"kind": "workflow", "run_id": "e1"}, {"workflow": "e1"}),
        ({"kind": "sandbox", "run_id": "box"}, {"sandbox": "box"}),
        ({"kind": "watch", "type": "run_missing"}, {"rule": "r", "type": "run_missing"}),
    ],
    ids=str,
)
def test_a_snooze_names_one_subject(facts: dict[str, str], matchers: dict[str, str]) -> None:
    texts = dict.fromkeys(
        ("id", "type", "project_name", "kind", "run_id", "run_name", "workflow_id", "thread", "event_key"), ""
    )
    episode = Episode(
        **(texts | {"rule": "r", "project_id": "p", "notification_id": ""} | facts),  # type: ignore[arg-type]
        number=1,
        run_number=1,
        troubles=1,
        wells=0,
        begun_at=NOW,
        last_at=NOW,
        opened_at=NOW,
    )
    assert matchers_of(episode) == {"project": "p"} | matchers
    silence = Silence("s", matchers_of(episode), NOW, NOW + timedelta(hours=1))
    facts_of_event = Facts(
        "r",
        "slack.team",
        episode.type,
        episode.kind,
        severity=None,  # type: ignore[arg-type]
        project_id="p",
        run_id=episode.run_id,
        run_name=episode.run_name,
        workflow_id=episode.workflow_id,
    )
    assert silence.matches(facts_of_event)
