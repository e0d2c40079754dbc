"""Reconciliation on a real store: the synthesized events, a failing store, and ``seen_until`` of projects."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from aintandem_notify.domain.events import ConnectionConnectedEvent, Family, FeedGapEvent
from aintandem_notify.domain.observation import Gap, Observation, ObservationBatch
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.errors import StoreError
from aintandem_notify.ingest import batch_limits
from aintandem_notify.ingest.writer import MAX_OPEN_RUNS
from aintandem_notify.store import Storage, WatchProgress
from support.ingesting import FallingRouter, FlakyStorage, StumblingRouter, open_bench
from support.outbox import NO_EVENTS, NOW, PROJECT, claim_all, event, inside, memory, new_store, router

pytestmark = pytest.mark.usefixtures("any_store")

GAP = Gap(since=NOW - timedelta(hours=1), until=NOW, watched_since=NOW - timedelta(days=1), catch_up_max=86400)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def observation(name: str, state: str = "failed", **facts: Any) -> Observation:
    usual = {"started_at": ago(20), "ended_at": ago(10)} if state == "failed" else {}
    return Observation(RunRef("p", Family.TASK, name), RunState(state), **(usual | facts))


def batch_of(
    *observations: Observation, transaction_no: int, buffered_since: Mapping[RunRef, datetime] | None = None
) -> ObservationBatch:
    return ObservationBatch(observations, GAP, transaction_no, buffered_since or {})


async def titles(storage: Storage) -> list[str]:
    return [claim.notification.title for claim in await storage.run(claim_all())]


async def test_synthesized_events_are_journaled_routed_and_published_like_others() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        await bench.ingest.commit(PROJECT, [event("task_started", run="t1", at=-100)])
        outcome = await bench.ingest.reconcile(
            PROJECT, batch_of(observation("t1"), observation("t2"), transaction_no=bench.ingest.transaction_no)
        )
        assert (outcome.changed, outcome.too_old, outcome.doubtful) == (2, 0, [])
        notified = ["task_started t1", "task_failed t1", "task_started t2", "task_failed t2"]
        assert await titles(storage) == notified
        assert [one.caught_up for one in bench.published] == [False, True, True, True]
        assert bench.woken[-1] == {"file_log.a"}
        # The same batch again, and then the live event: no event is made twice.
        again = await bench.ingest.reconcile(
            PROJECT, batch_of(observation("t1"), observation("t2"), transaction_no=bench.ingest.transaction_no)
        )
        assert again.changed == 0
        await bench.ingest.commit(PROJECT, [event("task_started", "t2", -19.5), event("task_failed", "t2", -9.9)])
        assert await titles(storage) == notified


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_observations_whose_commit_failed_can_be_reconciled_again(failure: str) -> None:
    store = new_store()
    async with open_bench(FlakyStorage(store, failure)) as bench:
        first = batch_of(observation("t1"), transaction_no=bench.ingest.transaction_no)
        with pytest.raises(StoreError, match="the disk is full"):
            await bench.ingest.reconcile(PROJECT, first)
        # The cache is not certain now, so earlier observations are doubtful.
        result = await bench.ingest.reconcile(PROJECT, first)
        assert result.changed + len(result.doubtful) == (1 if failure == "before" else 0)
        await bench.ingest.reconcile(
            PROJECT, batch_of(observation("t1", confirmed=True), transaction_no=bench.ingest.transaction_no)
        )
        assert await titles(bench.storage) == ["task_started t1", "task_failed t1"]


async def test_an_observation_older_than_a_live_event_is_doubtful() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        await bench.ingest.commit(PROJECT, [event("task_started", "t1", -100), event("task_started", "t2", -100)])
        asked_for = bench.ingest.transaction_no
        await bench.ingest.commit(PROJECT, [event("task_completed", "t1", -50), event("output", "t2", -9)])
        outcome = await bench.ingest.reconcile(
            PROJECT, batch_of(observation("t1"), observation("t2"), transaction_no=asked_for)
        )
        assert outcome.doubtful == [RunRef("p", Family.TASK, "t1")]
        assert outcome.changed == 1, "output moves nothing that REST could be older than"


async def test_many_observations_are_reconciled_in_pieces() -> None:
    many = [observation(f"t{number}") for number in range(2 * batch_limits.MOST_JOURNALED + 1)]
    async with memory() as storage, open_bench(storage, router(events=NO_EVENTS)) as bench:
        outcome = await bench.ingest.reconcile(
            PROJECT, batch_of(*many, transaction_no=bench.ingest.transaction_no)
        )
        assert outcome.changed == len(many)


async def test_an_observation_that_cannot_be_stored_is_reported_without_its_texts() -> None:
    names = ["a", "odd", "b"]
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, StumblingRouter()) as bench:
            for _ in range(2):
                observed = batch_of(*map(observation, names), transaction_no=bench.ingest.transaction_no)
                outcome = await bench.ingest.reconcile(PROJECT, observed)
            odd = ["Task started", "Task failed"]
            notified = ["task_started a", "task_failed a", *odd, "task_started b", "task_failed b"]
            assert await titles(storage) == notified
    assert outcome.changed == 0, "all of it was told the first time"
    assert [line["type"] for line in logs if line["log_level"] == "error"] == ["observation"]


async def test_an_observation_that_cannot_be_stored_at_all_is_dropped_alone() -> None:
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, FallingRouter()) as bench:
            names = ["a", "odd", "b"]
            outcome = await bench.ingest.reconcile(
                PROJECT, batch_of(*map(observation, names), transaction_no=bench.ingest.transaction_no)
            )
            assert await titles(storage) == ["task_started a", "task_failed a", "task_started b", "task_failed b"]
    assert outcome.changed == 2
    assert [line["type"] for line in logs if line["log_level"] == "error"] == ["observation", "observation"]


async def test_how_far_a_project_is_seen() -> None:
    async def watched(storage: Storage) -> WatchProgress | None:
        return (await storage.run(inside(lambda store: store.journal.watch_progress(["p"])))).get("p")

    async with memory() as storage, open_bench(storage) as bench:
        await bench.ingest.mark_seen({"p": NOW})
        assert await watched(storage) is None, "a project that was never connected"
        await bench.ingest.commit(PROJECT, [ConnectionConnectedEvent(timestamp=ago(50), project_id="p")])
        assert await watched(storage) == WatchProgress(ago(50), ago(50))
        await bench.ingest.commit(PROJECT, [event("task_started"), event("task_failed")])
        assert await watched(storage) == WatchProgress(ago(50), ago(50))
        gap = FeedGapEvent(timestamp=NOW, project_id="p", changed=1)
        await bench.ingest.mark_seen({"p": ago(20), "unknown": NOW}, PROJECT, [gap])
        assert await watched(storage) == WatchProgress(ago(20), ago(50))
        assert (await titles(storage))[-1] == "feed_gap"
        await bench.ingest.commit(PROJECT, [ConnectionConnectedEvent(timestamp=NOW, project_id="p")])
        assert await watched(storage) == WatchProgress(ago(20), ago(50))


async def test_the_watch_state_has_the_open_runs() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        assert (await bench.ingest.watch_state("p")).seen_until is None
        await bench.ingest.commit(PROJECT, [ConnectionConnectedEvent(timestamp=NOW, project_id="p")])
        ended = [event("task_started", "t1"), event("task_failed", "t1", 1)]
        await bench.ingest.commit(PROJECT, [*ended, event("task_started", "t2"), event("task_queued", "t3", 5)])
        await bench.ingest.commit(PROJECT, [event("task_started", "t4", project="another")])
        state = await bench.ingest.watch_state("p")
        assert (state.seen_until, state.watched_since) == (NOW, NOW)
        assert [run.ref.id for run in state.open_runs] == ["t3", "t2"], "the run that changed last comes first"
        assert not state.open_runs_truncated


async def test_the_watch_state_shows_that_more_runs_are_open() -> None:
    names = [f"t{number}" for number in range(MAX_OPEN_RUNS + 1)]
    started = [event("task_started", name, number) for number, name in enumerate(names)]
    async with memory() as storage, open_bench(storage) as bench:
        for events, more in ((started[:-1], False), (started[-1:], True)):
            await bench.ingest.commit(PROJECT, events)
            state = await bench.ingest.watch_state("p")
            assert (len(state.open_runs), state.open_runs_truncated) == (MAX_OPEN_RUNS, more)
        assert [run.ref.id for run in state.open_runs] == names[:0:-1]


async def test_a_project_of_another_agent_is_read_again() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        await bench.ingest.commit(PROJECT, [event("task_started", "t1", -100)])
        async with open_bench(storage) as other:
            await other.ingest.commit(PROJECT, [event("task_failed", "t1", -10)])
        await bench.ingest.forget(["p"])
        result = await bench.ingest.reconcile(
            PROJECT, batch_of(observation("t1"), transaction_no=bench.ingest.transaction_no)
        )
        assert (result.changed, await titles(storage)) == (0, ["task_started t1", "task_failed t1"])
