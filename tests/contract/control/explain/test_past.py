"""The fate of events: found by every id, on a real store, with the stages of the rules in virtual time."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from trio.testing import MockClock

from aintandem_notify.config import QuietConfig
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.control.explain.past import MAX_EVENTS, EventSearch, explain_stored, search_on
from aintandem_notify.control.explain.schemas import EventExplanation, Fate
from aintandem_notify.log import register_secret
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import DeliveryState, Settlement, Storage, Store
from aintandem_notify.store.stages import traces
from support.outbox import NOW, PROJECT, inside, memory
from support.routing import config, destination, rule
from support.staging import StageBench, open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
SLACK, MAIL = destination("slack.team"), destination("mail.me")
NIGHT = {"night": QuietConfig.model_validate({"from": "00:00", "to": "07:00", "tz": "UTC"})}


def failures(*others: Any, **stages: Any) -> Any:
    return config(SLACK, MAIL, *others, rule("failures", "task_failed", "slack.team", **stages))


async def find(storage: Storage, reference: str) -> EventSearch:
    search = EventSearch(reference)
    while not search.is_complete:
        search = await storage.run(partial(search_on, search=search))
    return search


async def explain(storage: Storage, reference: str, settings: Any) -> list[EventExplanation]:
    explainer = Explainer(settings)
    search = await find(storage, reference)
    return [
        await storage.run(partial(explain_stored, stored=stored, explainer=explainer, known=[PROJECT]))
        for stored in search.events
    ]


async def explain_failure(bench: StageBench, settings: Any, run: str = "t1") -> EventExplanation:
    """The explanation of the newest event of the run."""
    return (await explain(bench.storage, run, settings))[0]


async def settle_all(bench: StageBench, state: DeliveryState, reason: str | None = None) -> None:
    """Records this result for all that slack.team has in its queue."""
    now = bench.clock.now()

    def settle(store: Store) -> None:
        claims = store.outbox.claim("slack.team", limit=100, now=now, horizon=now)
        store.outbox.settle(
            [Settlement(claim=claim, state=state, at=now, due_at=now, reason=reason) for claim in claims]
        )

    await bench.storage.run(inside(settle))


async def test_a_delivery_is_told_with_its_rule_and_number(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1")
        [queued] = (await explain_failure(bench, settings)).fates
        assert (queued.fate, queued.rule, queued.destination, queued.stage) == (
            Fate.QUEUED,
            "failures",
            "slack.team",
            None,
        )
        await settle_all(bench, DeliveryState.DEAD, "the receiver refused it")
        [dead] = (await explain_failure(bench, settings)).fates
        assert (dead.fate, dead.reason, dead.delivery) == (Fate.DEAD, "the receiver refused it", queued.delivery)


async def test_every_id_of_an_event_finds_it(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1", "t2")
        [_, failed] = [found.event for found in reversed((await find(storage, "t2")).events)]
        explanation = await explain_failure(bench, settings, "t2")
        [fate] = explanation.fates
        assert fate.notification is not None
        for reference in (fate.notification, fate.notification[:30], str(fate.delivery), failed.key):
            [same] = await explain(storage, reference, settings)
            assert same == explanation


async def test_a_run_shows_its_newest_events_and_says_that_there_are_more(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        for _ in range(MAX_EVENTS):
            await bench.fail("t1")
            await until(bench.clock, (bench.clock.now() - NOW).total_seconds() + 1)
        search = await find(storage, "t1")
        assert ([found.event.type for found in search.events], search.more) == (
            ["task_failed", "task_started", "task_failed", "task_started", "task_failed"],
            True,
        )


async def test_the_search_goes_back_through_a_long_journal(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "SCANNED_ROWS", 3)
    monkeypatch.setattr("aintandem_notify.control.explain.past.SCANNED_ROWS", 3)
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail(*(f"t{number}" for number in range(10)))
        first = await find(storage, "t0")
        assert [found.event.type for found in first.events] == [
            "task_failed",
            "task_started",
        ]


async def test_what_a_stage_holds_has_its_reason_and_its_end(autojump_clock: MockClock) -> None:
    settings = with_quiet(failures(settle=120, quiet="night"), **NIGHT)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1")
        [settling] = (await explain_failure(bench, settings)).fates
        assert (settling.fate, settling.stage, settling.until) == (
            Fate.HELD,
            "settle",
            NOW + timedelta(seconds=120),
        )
        await until(bench.clock, 130)
        [quiet] = (await explain_failure(bench, settings)).fates
        assert (quiet.fate, quiet.stage, quiet.reason, quiet.until, quiet.earlier_stages) == (
            Fate.HELD,
            "quiet",
            "quiet hours night",
            NOW + timedelta(hours=7),
            ("settle",),
        )
        await until(bench.clock, 7 * 3600 + 1)
        [told] = (await explain_failure(bench, settings)).fates
        assert (told.fate, told.stage, told.since) == (Fate.QUEUED, "quiet", NOW)


async def test_what_a_group_tells_names_the_message_and_the_message_its_events(autojump_clock: MockClock) -> None:
    settings = failures(group={"by": ["project"], "wait": 30})
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1", "t2")
        await until(bench.clock, 31)
        explanation = await explain_failure(bench, settings)
        [fate] = explanation.fates
        assert fate.summary is not None
        assert (fate.fate, fate.reason, fate.summary.title, fate.summary.fate) == (
            Fate.TOGETHER,
            "it waits for others of Sales",
            "2 tasks failed in Sales",
            Fate.QUEUED,
        )
        [digest] = await explain(storage, fate.summary.notification, settings)
        assert (digest.type, digest.tells_count) == ("digest", 2)
        assert [(told.run, told.rule, told.project) for told in digest.tells] == [
            ("t1", "failures", "Sales"),
            ("t2", "failures", "Sales"),
        ]
        assert digest.tells[0].key == explanation.key


async def test_what_is_dropped_says_why_and_until_when(autojump_clock: MockClock) -> None:
    settings = failures(once_per="{{ event.task }}", cooldown=60)
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("task_failed", "t1", task="train")
        await bench.happen("task_failed", "t2", task="train")
        [dropped] = (await explain_failure(bench, settings, "t2")).fates
        assert (dropped.fate, dropped.stage, dropped.reason, dropped.until) == (
            Fate.DROPPED,
            "once_per",
            "once_per: the same value was told",
            NOW + timedelta(seconds=60),
        )


async def test_a_failure_that_was_retried_in_time_was_dropped(autojump_clock: MockClock) -> None:
    settings = failures(settle=60)
    async with memory() as storage, open_stages(storage, settings) as bench:
        failed = await bench.happen("task_failed")
        await until(bench.clock, 10)
        await bench.happen("task_started")
        await until(bench.clock, 61)
        [explanation] = await explain(storage, failed.key, settings)
        [dropped] = explanation.fates
        assert (dropped.fate, dropped.reason) == (Fate.DROPPED, "attempt 2 began within the time to settle")


async def test_a_silence_is_named_with_its_owner_also_after_its_end(autojump_clock: MockClock) -> None:
    settings = failures()
    silence = Silence("3f9a", {"task": "*"}, NOW, NOW + timedelta(seconds=100), "ana", "a migration")
    async with memory() as storage, open_stages(storage, settings) as bench:
        await storage.run(inside(lambda store: store.silences.add(silence)))
        bench.ingest.look_again()
        await until(bench.clock, 1)
        await bench.fail("t1")
        [held] = (await explain_failure(bench, settings)).fates
        assert (held.fate, held.reason, held.until) == (
            Fate.HELD,
            "silence 3f9a of ana (a migration)",
            silence.expires_at,
        )
        await until(bench.clock, 101)
        [released] = (await explain_failure(bench, settings)).fates
        assert (released.fate, released.stage, released.reason) == (Fate.QUEUED, "silence", held.reason)


async def test_a_fallback_and_whom_it_stands_for_are_both_shown(autojump_clock: MockClock) -> None:
    settings = failures()
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.fail("t1")
        [queued] = (await explain_failure(bench, settings)).fates
        await storage.run(
            inside(
                lambda store: store.backlog.move_to_fallback(
                    {queued.delivery or 0: "it waited too long"}, "mail.me", bench.clock.now()
                )
            )
        )
        dead, instead = (await explain_failure(bench, settings)).fates
        assert (dead.fate, dead.taken_over_by) == (Fate.DEAD, "mail.me")
        assert dead.reason == "it waited too long; mail.me took over"
        assert (instead.destination, instead.fate, instead.instead_of) == ("mail.me", Fate.QUEUED, "slack.team")


async def test_other_rules_are_those_of_today_and_it_says_since_when(autojump_clock: MockClock) -> None:
    before, after = failures(), failures(rule("slow", "task_failed", "mail.me", when="run.attempt > 1"))
    async with memory() as storage, open_stages(storage, before) as bench:
        await until(bench.clock, 1)
        await bench.fail("t1")
        same = await explain_failure(bench, before)
        assert (same.rules_changed_at, same.notes) == (None, ())
        await until(bench.clock, 50)
        bench.use(after)
        await until(bench.clock, 51)
        changed = await explain_failure(bench, after)
        assert changed.rules_changed_at == NOW + timedelta(seconds=50)
        reasons = {entry.rule: entry.reason for entry in changed.rules}
        assert reasons["slow"] == "its when is false (run.attempt > 1): run.attempt is 1"
        assert reasons["failures"] == "it matches"
        other_file = await explain_failure(bench, before)
        assert other_file.notes == ("the rules in the config file are not those with which the agent ran last",)


async def test_a_rule_that_has_the_event_no_more_says_so(autojump_clock: MockClock) -> None:
    before = failures()
    nobody = failures(rule("no noise", "task/*", "nobody"))
    async with memory() as storage, open_stages(storage, before) as bench:
        await bench.fail("t1")
        reasons = {entry.rule: entry.reason for entry in (await explain_failure(bench, nobody)).rules}
        assert reasons["no noise"] == "it matches, and tells nobody"
        assert reasons["failures"] == "it took the event then; now the rule no noise tells nobody"


async def test_without_a_notification_the_conditions_see_the_run_of_now(autojump_clock: MockClock) -> None:
    settings = config(SLACK, rule("slow", "task_started", "slack.team", when="run.attempt > 5"))
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("task_started")
        explanation = await explain_failure(bench, settings)
        assert (explanation.fates, explanation.project) == ((), "Sales")
        assert explanation.notes == ("the conditions saw the run as it is now, not as it was then",)


@pytest.mark.parametrize(
    ("reference", "status", "sentence"),
    [
        (
            "nothing",
            404,
            "the store has no event of nothing; it keeps them as long as [store] keep says. Else write",
        ),
        ("ntf_0123456789", 404, "the store has no notification ntf_0123456789; it keeps them as long as"),
        ("ntf_", 404, "the store has no event of ntf_; it keeps"),
        ("f" * 32, 404, f"the store has no event of {'f' * 32}; it keeps"),
        ("999", 404, "the store has no event of 999; it keeps"),
        ("9" * 40, 404, f"the store has no event of {'9' * 40}; it"),
        (" ", 400, "name something to explain: write the id"),
        ("x" * 3000, 400, "name something to explain"),
    ],
)
async def test_an_unknown_id_is_refused_with_the_way_to_mend_it(
    autojump_clock: MockClock, reference: str, status: int, sentence: str
) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("t1")
        with pytest.raises(RequestRefused) as refused:
            await find(storage, reference)
    assert refused.value.status == status
    assert str(refused.value).startswith(sentence)


async def test_an_ambiguous_beginning_names_the_notifications(autojump_clock: MockClock) -> None:
    async with memory() as storage, open_stages(storage, failures()) as bench:
        await bench.fail("t1", "t2")
        with pytest.raises(RequestRefused, match="ntf_0 is ambiguous: it may be ntf_0") as refused:
            await find(storage, "ntf_0")
    assert refused.value.status == 409


async def test_no_secret_is_explained(autojump_clock: MockClock) -> None:
    secret = "hunter2-is-no-password"
    settings = failures(rule("never", "task_failed", "mail.me", when="event.error == 'x'"), group={"by": ["task"]})
    async with memory() as storage, open_stages(storage, settings) as bench:
        await bench.happen("task_failed", "t1", task=f"train {secret}", error=f"token {secret}")
        register_secret(secret)
        explanation = await explain_failure(bench, settings)
    assert secret not in explanation.to_json()
    assert "train" in explanation.title
