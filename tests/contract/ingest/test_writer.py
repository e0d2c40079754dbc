"""Ingest on a real store: group commit, the stored rows, and a failing store."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.domain.events import AgentStartedEvent, Event
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.runs import Run, RunRef, RunState, run_ref
from aintandem_notify.errors import StoreError
from aintandem_notify.ingest import batch_limits, writer
from aintandem_notify.store import Storage, open_storage
from support.ingesting import FallingRouter, FlakyStorage, StumblingRouter, open_bench
from support.outbox import NO_EVENTS, NOW, PROJECT, claim_all, event, inside, memory, new_store, router

pytestmark = pytest.mark.usefixtures("any_store")


async def runs(storage: Storage, *events: Event) -> dict[RunRef, Run]:
    refs = [ref for one in events if (ref := run_ref(one))]
    return await storage.run(inside(lambda store: store.journal.latest_runs(refs)))


async def test_committed_events_are_on_disk(tmp_path: Path) -> None:
    started, failed = event("task_started", task="Analyse"), event("task_failed", at=3)
    async with open_storage(tmp_path / "s.db") as storage, open_bench(storage) as bench:
        await bench.ingest.commit(PROJECT, [started, failed])
    async with open_storage(tmp_path / "s.db", inline=True) as storage:
        claims = await storage.run(claim_all())
        assert [claim.notification.event for claim in claims] == [started, failed]
        assert [claim.notification.event.wire() for claim in claims] == [started.wire(), failed.wire()]
        (run,) = (await runs(storage, started)).values()
        assert (run.state, run.name, run.duration) == (RunState.FAILED, "Analyse", 3)
        assert run == claims[1].notification.run
        assert await storage.run(inside(lambda store: store.journal.watch_progress(["p"]))) == {}


async def test_runs_go_on_after_a_restart(tmp_path: Path) -> None:
    for at, kind in enumerate(("task_started", "task_failed", "task_failed", "task_started")):
        async with open_storage(tmp_path / "s.db", inline=True) as storage, open_bench(storage) as bench:
            await bench.ingest.commit(PROJECT, [event(kind, at=2 * at)])
            await bench.ingest.commit(PROJECT, [event(kind, at=2 * at + 1)])
    async with open_storage(tmp_path / "s.db", inline=True) as storage:
        (run,) = (await runs(storage, event("task_started"))).values()
        assert (run.attempt, run.state) == (2, RunState.RUNNING)


async def test_the_same_event_again_changes_nothing() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        for _ in range(3):
            await bench.ingest.commit(PROJECT, [event("task_started")])
        assert len(await storage.run(claim_all())) == 1
        assert bench.published == [event("task_started")]
        assert bench.woken == [{"file_log.a"}]


async def test_live_hooks_get_every_new_event_after_the_commit() -> None:
    rules = router(events=NO_EVENTS)
    events = [event("task_started"), event("output", output="a"), event("task_failed")]
    async with memory() as storage, open_bench(storage, rules) as bench:
        await bench.ingest.commit(PROJECT, events)
        assert bench.published == events
    async with memory() as storage, open_bench(storage, rules, listening=False) as bench:
        await bench.ingest.commit(PROJECT, events)
        assert bench.published == []


async def test_projects_that_wait_share_one_transaction() -> None:
    with_store = new_store()
    storage = FlakyStorage(with_store)
    async with open_bench(storage) as bench, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        for name in ("a", "b", "c", "d"):
            project = Project(id=name, name=name)
            nursery.start_soon(bench.ingest.commit, project, [event("task_started", project=name)])
    assert storage.calls == 1
    assert len(claim_all()(with_store)) == 4
    with_store.close()


async def test_a_huge_batch_is_cut_into_several_transactions() -> None:
    with_store = new_store()
    storage = FlakyStorage(with_store)
    count = 2 * batch_limits.MAX_EVENTS + 1
    async with open_bench(storage, router(events=NO_EVENTS)) as bench:
        await bench.ingest.commit(PROJECT, [event("output", at=n, output=f"{n}\n") for n in range(count)])
        assert storage.calls == 3
    (run,) = (await runs(storage, event("output"))).values()
    assert run.output_tail.endswith(f"{count - 1}\n")
    with_store.close()


async def test_journaled_events_are_split_into_smaller_transactions() -> None:
    with_store = new_store()
    storage = FlakyStorage(with_store)
    count = 2 * batch_limits.MAX_JOURNALED + 1
    progress = [event("output", at=n, output=f"{n}\n") for n in range(count)]
    ends = [event("task_completed", run=f"t{n}") for n in range(count)]
    rules = router(events="task_completed")
    async with open_bench(storage, rules) as bench, trio.open_nursery() as nursery:
        both = [one for pair in zip(progress, ends, strict=True) for one in pair]
        await bench.ingest.commit(PROJECT, both)
        assert storage.calls == 3
        for half in (ends[:1], ends[1 : batch_limits.MAX_JOURNALED + 1]):
            nursery.start_soon(bench.ingest.commit, PROJECT, half)
    assert storage.calls == 5
    assert [claim.notification.title for claim in claim_all()(with_store)] == [
        f"task_completed t{n}" for n in range(count)
    ]
    with_store.close()


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_a_failed_commit_raises_and_the_same_events_can_be_submitted_again(failure: str) -> None:
    with_store = new_store()
    async with open_bench(FlakyStorage(with_store, failure)) as bench:
        batch = [event("task_started"), event("task_failed")]
        with pytest.raises(StoreError, match="the disk is full"):
            await bench.ingest.commit(PROJECT, batch)
        assert bench.woken == []
        await bench.ingest.commit(PROJECT, batch)
        assert [claim.notification.event for claim in claim_all()(with_store)] == batch
        # Workers are woken even if the first commit had stored everything and the second one finds nothing new.
        assert bench.woken == [{"file_log.a"}]
        (run,) = (await runs(bench.storage, *batch)).values()
        assert (run.attempt, run.state) == (1, RunState.FAILED)
    with_store.close()


@pytest.mark.parametrize("place", range(5))
async def test_an_event_that_cannot_be_stored_is_reported_without_its_texts(place: int) -> None:
    store = new_store()
    names = ["a", "b", "c", "d"]
    batch = [event("task_failed", run=name) for name in names]
    odd = event("task_failed", run="odd", error="the error")
    batch.insert(place, odd)
    names.insert(place, "odd")
    with capture_logs() as logs:
        async with open_bench(Storage(store, inline=True), StumblingRouter()) as bench:
            for _ in range(2):  # again with every reconnect
                await bench.ingest.commit(PROJECT, batch)
            await bench.ingest.commit(PROJECT, [event("task_failed", run="odd", at=9, error="another")])
            await bench.ingest.commit(PROJECT, [event("task_failed", run="e")])
            claims = claim_all()(store)
    assert [claim.notification.event.run_id for claim in claims] == [*names, "e"]
    plain = claims[place].notification
    assert (plain.event.key, plain.event.type, plain.event.timestamp) == (odd.key, "task_failed", NOW)
    assert (plain.title, plain.severity, plain.thread) == ("Task failed", Severity.ERROR, "p/task/odd/1")
    assert "the error" not in plain.model_dump_json()
    assert [line["type"] for line in logs if line["log_level"] == "error"] == ["task_failed"]
    store.close()


@pytest.mark.parametrize("place", range(5))
async def test_an_event_that_cannot_be_taken_in_at_all_is_left_out_alone(place: int) -> None:
    store = new_store()
    names = ["a", "b", "c", "d"]
    batch = [event("task_failed", run=name) for name in names]
    batch.insert(place, event("task_failed", run="odd"))
    with capture_logs() as logs:
        async with open_bench(Storage(store, inline=True), FallingRouter()) as bench:
            for _ in range(2):
                await bench.ingest.commit(PROJECT, batch)
            await bench.ingest.commit(PROJECT, [event("task_failed", run="e")])
            claims = claim_all()(store)
    assert [claim.notification.event.run_id for claim in claims] == [*names, "e"]
    assert [line["error"] for line in logs if line["log_level"] == "error"] == [
        "ZeroDivisionError",
        "RecursionError",
    ]
    store.close()


async def test_agent_events_are_kept_while_the_store_fails(autojump_clock: MockClock) -> None:
    with_store = new_store()
    async with open_bench(FlakyStorage(with_store, "before", "before")) as bench:
        bench.ingest.announce(AgentStartedEvent(timestamp=NOW, version="1"))
        await trio.sleep(2 * writer.RETRY_S + 1)
        (claim,) = claim_all()(with_store)
        assert claim.notification.event == AgentStartedEvent(timestamp=NOW, version="1")
        assert claim.notification.project is None
    with_store.close()


async def test_submitted_events_are_committed_before_the_end() -> None:
    async with memory() as storage:
        async with open_bench(storage) as bench, trio.open_nursery() as nursery:
            nursery.start_soon(bench.ingest.commit, PROJECT, [event("task_started")])
            bench.ingest.announce(AgentStartedEvent(timestamp=NOW))
            await trio.testing.wait_all_tasks_blocked()
        assert len(await storage.run(claim_all())) == 2


async def test_new_rules_apply_from_the_next_transaction_on() -> None:
    async with memory() as storage, open_bench(storage) as bench:
        await bench.ingest.commit(PROJECT, [event("task_started")])
        bench.ingest.router = router("slack.b")
        await bench.ingest.commit(PROJECT, [event("task_failed")])
        (claim,) = await storage.run(claim_all("slack.b"))
        assert claim.notification.title == "task_failed t1"


async def test_runs_beyond_those_in_memory_are_read_again() -> None:
    async with memory() as storage, open_bench(storage, max_runs=2) as bench:
        names = ["t1", "t2", "t3", "t4"]
        for kind in ("task_started", "task_failed"):
            for name in names:
                await bench.ingest.commit(PROJECT, [event(kind, run=name)])
        rows = await runs(storage, *(event("task_started", run=name) for name in names))
        assert {run.state for run in rows.values()} == {RunState.FAILED}
        assert {run.started_at for run in rows.values()} == {NOW}
