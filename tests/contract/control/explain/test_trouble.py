"""The episodes of an event, past or future, and the effect of `on` and `held_back_by` on one that happens now."""

from functools import partial
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import Config
from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.control.explain.made_up import MadeUpEvent, explain_made_up, stage_state
from aintandem_notify.control.explain.past import EventSearch, explain_stored, search_on
from aintandem_notify.control.explain.schemas import EventExplanation, Fate
from aintandem_notify.store import Storage
from support.outbox import PROJECT, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, LEAD = destination("slack.team"), destination("slack.lead")


def failures(*others: Any, **stages: Any) -> Config:
    return config(SLACK, LEAD, rule("failures", "task_failed", "slack.team", **stages), *others)


async def explain(storage: Storage, reference: str, settings: Config) -> list[EventExplanation]:
    search = EventSearch(reference)
    while not search.is_complete:
        search = await storage.run(partial(search_on, search=search))
    explainer = Explainer(settings)
    return [
        await storage.run(partial(explain_stored, stored=stored, explainer=explainer, known=[PROJECT]))
        for stored in search.events
    ]


async def explain_now(
    bench: StageBench, settings: Config, kind: str = "task_failed", **fields: Any
) -> EventExplanation:
    """The explanation of an event that would happen now; it has the task ``import`` unless said otherwise."""
    now = bench.clock.now()
    made_up = MadeUpEvent({"type": kind, "task": "import"} | fields, project="p", at=now)
    explained: EventExplanation = await bench.storage.run(
        lambda store: explain_made_up(made_up, Explainer(settings), [PROJECT], stage_state(store, now), now)
    )
    return explained


def steps(explained: EventExplanation, rule_name: str) -> list[tuple[str, str, str]]:
    """The steps of the stages: name, result and reason."""
    [fate] = [fate for fate in explained.fates if fate.rule == rule_name]
    return [(step.stage, step.result, step.reason) for step in fate.steps]


async def one_id(bench: StageBench) -> str:
    [episode] = await bench.storage.run(inside(lambda store: store.episodes.open()))
    return str(episode.id)


async def test_trouble_belongs_to_its_episode_and_a_success_ends_it(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        name = await one_id(bench)
        [failed, started] = await explain(storage, "import", settings)
        assert [(one.id, one.role, one.ended_by, one.troubles) for one in failed.episodes] == [
            (name, "trouble", None, 1)
        ]
        assert [told.destination for told in failed.episodes[0].told] == ["slack.team"]
        assert started.episodes == ()
        await until(bench.clock, 60)
        await bench.happen("task_started", "r2", task="import")
        await bench.happen("task_completed", "r2", task="import")
        [ended, _] = await explain(storage, "r2", settings)
        assert [(one.id, one.role, one.ended_by) for one in ended.episodes] == [(name, "end", "success")]
        assert [rule.reason for rule in ended.rules if rule.rule == "failures"] == [
            "it tells of the end of its trouble"
        ]
        [failed, _] = await explain(storage, "import", settings)
        assert [(one.role, one.ended_by) for one in failed.episodes] == [("trouble", "success")]


async def test_trouble_after_the_end_is_of_another_episode(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        for second, run in enumerate(("r1", "r2")):
            await until(bench.clock, second * 100)
            await bench.happen("task_failed", run, task="import")
            await until(bench.clock, second * 100 + 50)
            await bench.happen("task_completed", f"{run}-again", task="import")
        first, second_ = [(await explain(storage, run, settings))[0].episodes for run in ("r1", "r2")]
        assert (len(first), len(second_)) == (1, 1)
        assert first[0].id != second_[0].id


async def test_trouble_that_is_no_change_says_so_and_a_rule_behind_takes_it(autojump_clock: MockClock) -> None:
    behind = rule("all", "task_failed", "slack.team")
    settings = failures(behind, on=("first_failure", "recovered"))
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("import")
        await until(bench.clock, 60)
        name = await one_id(bench)
        now = await explain_now(bench, settings)
        assert steps(now, "failures") == [("on", "drop", f"no change: the trouble goes on ({name})")]
        assert [(fate.rule, fate.fate) for fate in now.fates] == [("failures", Fate.DROPPED), ("all", Fate.NOW)]
        assert [(one.id, one.role) for one in now.episodes] == [(name, "trouble")]
        words = {verdict.rule: (verdict.verdict, verdict.reason) for verdict in now.rules}
        assert words["all"] == ("match", "failures does not take the event")
        await bench.happen("task_failed", "r2", task="import")
        [again] = await explain(storage, "r2", settings)
        assert {(fate.rule, fate.fate, fate.stage) for fate in again.fates} == {
            ("failures", Fate.DROPPED, "on"),
            ("all", Fate.QUEUED, None),
        }
        words = {verdict.rule: (verdict.verdict, verdict.reason) for verdict in again.rules}
        assert words["all"] == ("match", "failures does not take the event")
        assert {(one.rule, one.role) for one in again.episodes} == {("failures", "trouble"), ("all", "trouble")}


async def test_on_counts_the_failures_in_a_row(autojump_clock: MockClock) -> None:
    settings = failures(on=("first_failure",), confirm=3)
    async with memory() as storage, open_stages(storage, settings) as bench:
        assert steps(await explain_now(bench, settings), "failures") == [
            ("on", "drop", "no change: 1 of 3 failures in a row")
        ]
        for run in ("r1", "r2"):
            await bench.happen("task_failed", run, task="import")
        now = await explain_now(bench, settings)
        assert steps(now, "failures") == [("on", "pass", "the first failure, number 3 in a row")]
        assert [(one.confirmed, one.troubles) for one in now.episodes] == [(False, 2)]
        assert steps(await explain_now(bench, settings, task="export"), "failures") == [
            ("on", "drop", "no change: 1 of 3 failures in a row")
        ]


async def test_on_takes_no_failure_before_the_newest_success_and_nothing_but_trouble(
    autojump_clock: MockClock,
) -> None:
    settings = failures(rule("any", "task_*", "slack.lead", on=("recovered",)), on=("first_failure",))
    async with memory() as storage, open_stages(storage, settings) as bench:
        await until(bench.clock, 100)
        await bench.happen("task_completed", "r1", task="import")
        old = await explain_now(bench, settings, timestamp="2026-01-01T00:00:10Z")
        assert steps(old, "failures") == [("on", "drop", "no change: a run of the subject has succeeded since")]
        started = await explain_now(bench, settings, "task_started")
        assert [step[:2] for step in steps(started, "any")] == [("on", "drop")]
        assert steps(await explain_now(bench, settings), "any") == [
            ("on", "drop", "no change: only first failures and recoveries are told")
        ]


async def test_a_success_would_end_an_episode_unless_more_in_a_row_are_needed(autojump_clock: MockClock) -> None:
    settings = failures(
        rule("twice", "task_failed", "slack.lead", on=("first_failure",), confirm=2),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        for run in ("r1", "r2"):
            await bench.happen("task_failed", run, task="import")
        await until(bench.clock, 60)
        now = await explain_now(bench, settings, "task_completed")
        assert [(one.rule, one.role) for one in now.episodes] == [("failures", "end")]
        assert [told.destination for told in now.episodes[0].told] == ["slack.team"]


async def test_an_effect_waits_for_its_cause_and_no_longer_than_the_rule_says(autojump_clock: MockClock) -> None:
    settings = config(
        SLACK,
        LEAD,
        rule("hosts", "sandbox_error", "slack.lead"),
        rule("effects", "task_failed", "slack.team", settle=60, held_back_by=("hosts",), hold_at_most=600),
    )
    async with memory() as storage, open_stages(storage, settings) as bench:
        nothing = ("held_back_by", "pass", "no trouble of hosts is open nearby")
        assert steps(await explain_now(bench, settings), "effects")[1:] == [nothing]
        await bench.happen("sandbox_error", sandboxId="box", error="gone")
        name = await one_id(bench)
        now = await explain_now(bench, settings)
        assert steps(now, "effects") == [
            ("settle", "hold", "a new attempt or run may begin"),
            ("held_back_by", "hold", f"trouble of hosts ({name})"),
        ]
        [fate] = now.fates
        assert fate.at is not None
        assert (fate.at - bench.clock.now()).total_seconds() == 600
        await bench.happen("task_failed", "r1", task="import")
        await until(bench.clock, 61)
        [held] = (await explain(storage, "r1", settings))[0].fates
        assert (held.fate, held.stage, held.reason, held.earlier_stages) == (
            Fate.HELD,
            "held_back_by",
            f"trouble of hosts ({name})",
            ("settle",),
        )


async def test_a_subject_of_a_template_is_found(autojump_clock: MockClock) -> None:
    settings = failures(subject="{{ run.name.split('-')[0] }}", on=("first_failure",))
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("task_failed", "r1", task="import-1")
        name = await one_id(bench)
        now = await explain_now(bench, settings, task="import-2")
        assert steps(now, "failures") == [("on", "drop", f"no change: the trouble goes on ({name})")]
        ended = await explain_now(bench, settings, "task_completed", task="import-3")
        assert [(one.id, one.role) for one in ended.episodes] == [(name, "end")]
        [failed] = await explain(storage, "r1", settings)
        assert [(one.id, one.role) for one in failed.episodes] == [(name, "trouble")]
