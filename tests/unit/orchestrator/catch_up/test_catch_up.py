"""Catch-up of one link, and the live events that wait for it, on trio's clock and with a real ingest."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.events import ConnectionConnectedEvent, Event, Family, FeedGapEvent
from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.observation import Observation, OpenRun
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.errors import ApiError, AuthenticationFailed, Forbidden, HttpFailed, NotFound, ServerTrouble
from aintandem_notify.ingest import Ingest
from aintandem_notify.orchestrator.catch_up import event_buffer
from aintandem_notify.orchestrator.catch_up.catch_up import (
    MAX_TRIES,
    RUN_KINDS,
    CatchUp,
)
from aintandem_notify.orchestrator.catch_up.coordinator import CatchUpCoordinator
from aintandem_notify.orchestrator.catch_up.event_buffer import MAX_BUFFERED_S, BufferUsage, EventBuffer
from aintandem_notify.orchestrator.catch_up.rest_snapshot import PageReconciler, SharedRequest, Snapshot
from aintandem_notify.rules.default_texts import severity
from support.ingesting import open_bench
from support.outbox import NOW, PROJECT, claim_all, event, memory
from support.trio_clock import TrioClock

REF = RunRef("p", Family.TASK, "t1")


@dataclass(frozen=True)
class ListResponse:
    """A REST response with the runs of one kind."""

    observations: tuple[Observation, ...] = ()
    unavailable: tuple[str, ...] = ()


@dataclass
class Script:
    """A scripted orchestrator: it sends ``answers`` one after the other, then empty lists."""

    answers: dict[Family, list[Exception | ListResponse]] = field(default_factory=dict)
    run_answers: list[Observation | Exception | None] = field(default_factory=list)
    delay_s: float = 0.0
    requests: list[tuple[float, Family]] = field(default_factory=list)

    async def read(
        self,
        kind: Family,
        project_id: str,
        known: Iterable[OpenRun],
        old: datetime,
        since: datetime,
        reconciler: PageReconciler,
    ) -> Snapshot:
        self.requests.append((trio.current_time(), kind))
        moment = reconciler.transaction_no
        await trio.sleep(self.delay_s)
        answers = self.answers.get(kind, [])
        answer = answers.pop(0) if answers else ListResponse()
        if isinstance(answer, Exception):
            raise answer
        await reconciler.reconcile(answer.observations, moment)
        return Snapshot(answer.unavailable)

    async def read_run(self, ref: RunRef) -> Observation | None:
        self.requests.append((trio.current_time(), ref.kind))
        answer = self.run_answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Bench:
    """A project that was connected ten seconds before the clock starts, with one run in progress."""

    ingest: Ingest
    coordinator: CatchUpCoordinator
    script: Script
    published: list[Event]
    clock: TrioClock
    nursery: trio.Nursery
    chance: float = 1.0
    stored: list[Event] = field(default_factory=list)

    def begin(self, **limits: int) -> tuple[CatchUp, EventBuffer]:
        """Start catching up, as when a link opens."""
        buffer = EventBuffer(self._store, buffering=True)
        catch_up = CatchUp(
            PROJECT,
            buffer,
            self.clock.now(),
            coordinator=self.coordinator,
            catch_up_max=86400.0,
            backoff=ConnectionConfig(),
            clock=self.clock,
            chance=lambda: self.chance,
            **limits,
        )
        self.nursery.start_soon(catch_up.run, self.clock.now)
        self.nursery.start_soon(buffer.release_after_timeout)
        return catch_up, buffer

    async def _store(self, events: Sequence[Event]) -> None:
        self.stored += events
        await self.ingest.commit(PROJECT, events)

    @property
    def gaps(self) -> list[FeedGapEvent]:
        return [item for item in self.published if isinstance(item, FeedGapEvent)]

    @property
    def caught_up(self) -> list[str]:
        return [item.type for item in self.published if item.caught_up]


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    async with open_catch_up(nursery) as opened:
        yield opened


@asynccontextmanager
async def open_catch_up(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    script = Script()
    async with memory() as storage, open_bench(storage) as opened:
        before = NOW - timedelta(seconds=10)
        connected = ConnectionConnectedEvent(timestamp=before, project_id="p")
        await opened.ingest.commit(PROJECT, [connected, event("task_started", at=-9)])
        opened.published.clear()
        coordinator = CatchUpCoordinator(script, opened.ingest)
        yield Bench(opened.ingest, coordinator, script, opened.published, TrioClock(NOW), nursery)
        nursery.cancel_scope.cancel()


def list_response(state: str = "failed", unavailable: str = "", **facts: object) -> ListResponse:
    observation = Observation(REF, RunState(state), **facts)  # type: ignore[arg-type]
    return ListResponse((observation,), (unavailable,) if unavailable else ())


TROUBLES: list[Exception] = [
    ServerTrouble("down", status=503),
    HttpFailed("refused", maybe_sent=False),
    AuthenticationFailed("no", status=401),
    ApiError("the answer is not JSON", status=200),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
async def test_failed_kinds_are_read_again_with_growing_pauses_and_the_others_are_not(
    bench: Bench, autojump_clock: MockClock, trouble: Exception
) -> None:
    bench.script.answers[Family.TASK] = [*[trouble] * 4, list_response()]
    bench.begin()
    await trio.sleep(60)
    assert [when for when, kind in bench.script.requests if kind is Family.TASK] == [0, 1, 3, 7, 15]
    assert [kind for when, kind in bench.script.requests if when == 0] == list(RUN_KINDS)
    assert len(bench.script.requests) == 5 + 2
    assert bench.caught_up == ["task_failed"]
    assert [(gap.changed, gap.incomplete) for gap in bench.gaps] == [(1, False)]


async def test_five_minutes_of_trouble_are_reported_once_and_retries_go_on(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.answers[Family.TASK] = [*[ServerTrouble("down", status=503)] * 15, list_response()]
    bench.begin()
    await trio.sleep(299)
    assert bench.gaps == []
    await trio.sleep(600)
    (gap,) = bench.gaps
    assert (gap.incomplete, gap.reason, gap.seconds) == (True, "down (HTTP 503)", 10.0)
    assert bench.caught_up == ["task_failed"]


async def test_the_reason_is_known_for_as_long_as_events_are_missing(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.answers[Family.TASK] = [*[ServerTrouble("down", status=503)] * 3, list_response()]
    reasons: list[tuple[float, str | None]] = []
    catch_up, _ = bench.begin()
    catch_up.on_trouble = lambda reason: reasons.append((trio.current_time(), reason))
    await trio.sleep(60)
    assert reasons == [(0, "down (HTTP 503)"), (1, "down (HTTP 503)"), (3, "down (HTTP 503)"), (7, None)]


async def test_a_definite_rejection_is_reported_and_a_missing_call_is_not(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.answers[Family.TASK] = [Forbidden("not yours", status=403)]
    bench.script.answers[Family.SANDBOX] = [NotFound("no such route", status=404)]
    bench.begin()
    await trio.sleep(1)
    assert len(bench.script.requests) == 3
    (gap,) = bench.gaps
    assert (gap.incomplete, gap.reason) == (True, "task: not yours (HTTP 403)")


async def test_permanently_unavailable_information_is_a_warning_once(
    bench: Bench, autojump_clock: MockClock
) -> None:
    no, other = Forbidden("not yours", status=403), Forbidden("blocked", status=403)
    for trouble in (no, no, other):
        await trio.sleep(100)
        bench.script.answers[Family.TASK] = [trouble]
        catch_up, _ = bench.begin()
        await trio.sleep(1)
        await catch_up.stop()
    assert [(gap.incomplete, severity(gap)) for gap in bench.gaps] == [
        (True, Severity.WARNING),
        (True, Severity.INFO),
        (True, Severity.WARNING),
    ]


async def test_tasks_beyond_the_last_page_are_reported_as_unavailable(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.answers[Family.TASK] = [list_response(unavailable="tasks beyond the 5000 newest")]
    bench.begin()
    await trio.sleep(1)
    (gap,) = bench.gaps
    assert (gap.changed, gap.incomplete, gap.reason) == (1, True, "tasks beyond the 5000 newest")


async def test_a_doubtful_run_is_requested_again_until_it_is_clear_but_not_forever(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.ingest.commit(PROJECT, [event("task_failed", at=-5)])
    bench.script.answers[Family.TASK] = [list_response("running")]
    down = HttpFailed("refused", maybe_sent=False)
    bench.script.run_answers = [down, Observation(REF, RunState.RUNNING)]
    bench.begin()
    await trio.sleep(30)
    assert bench.caught_up == ["task_started"]
    assert [when for when, kind in bench.script.requests if kind is Family.TASK] == [0, 0.25, 1.5]


async def test_a_doubtful_run_that_cannot_be_requested_delays_no_other_and_ends(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.ingest.commit(PROJECT, [event("task_failed", at=-5), event("task_failed", run="t2", at=-5)])
    second = RunRef("p", Family.TASK, "t2")
    both = (Observation(REF, RunState.RUNNING), Observation(second, RunState.RUNNING))
    bench.script.answers[Family.TASK] = [ListResponse(both)]
    poison = ServerTrouble("chokes on t1", status=500)
    bench.script.run_answers = [poison, Observation(second, RunState.RUNNING), *[poison] * (MAX_TRIES - 1)]
    bench.begin()
    await trio.sleep(1)
    assert [item.run_id for item in bench.published if item.caught_up] == ["t2"]
    await trio.sleep(600)
    (gap,) = bench.gaps
    assert (gap.changed, gap.incomplete, bench.script.run_answers) == (1, True, [])


async def test_an_end_that_is_listed_and_cannot_be_requested_stays_an_end(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.answers[Family.TASK] = [list_response(ended_at=NOW + timedelta(seconds=5))]
    bench.script.run_answers = [None]
    bench.begin()
    await trio.sleep(30)
    assert bench.caught_up == ["task_failed"]


async def test_live_events_wait_for_the_comparison_and_no_longer_than_they_may(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.script.delay_s = 8.0
    bench.script.answers[Family.TASK] = [list_response()]
    _, buffer = bench.begin()
    await buffer.add([event("task_started", run="t2", at=1)], 100)
    await trio.sleep(MAX_BUFFERED_S - 1)
    assert bench.stored == []
    await trio.sleep(2)
    assert [item.run_id for item in bench.stored] == ["t2"]
    await buffer.add([event("task_started", run="t3", at=1)], 100)
    assert [item.run_id for item in bench.stored] == ["t2", "t3"], "nothing is held any more"


@pytest.mark.parametrize(("max_events", "max_characters"), [(2, 10_000), (10_000, 200)])
async def test_the_buffer_is_bounded(autojump_clock: MockClock, max_events: int, max_characters: int) -> None:
    stored: list[Event] = []

    async def store(events: Sequence[Event]) -> None:
        await trio.sleep(1)
        stored.extend(events)

    buffer = EventBuffer(store, buffering=True, max_events=max_events, max_characters=max_characters)
    events = [event("task_started", run=f"t{number}", at=number) for number in range(5)]
    for item in events[:2]:
        await buffer.add([item], 100)
    assert buffer.first_event_times() == {RunRef("p", Family.TASK, f"t{n}"): events[n].timestamp for n in range(2)}
    assert stored == []
    async with trio.open_nursery() as nursery:
        for item in events[2:]:
            nursery.start_soon(buffer.add, [item], 100)
            await trio.testing.wait_all_tasks_blocked()
    assert stored == events


async def test_events_of_a_cancelled_store_stay_in_the_buffer_before_later_ones(autojump_clock: MockClock) -> None:
    async def store(events: Sequence[Event]) -> None:
        await trio.sleep_forever()

    buffer = EventBuffer(store, buffering=True)
    await buffer.add([event("task_started")], 100)
    with trio.move_on_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buffer.release)
            await trio.sleep(1)
            await buffer.add([event("task_failed")], 100)
    assert [item.type for item in buffer.take_unstored()] == ["task_started", "task_failed"]
    assert buffer.take_unstored() == []


async def test_buffered_events_are_stored_when_the_link_ends(bench: Bench, autojump_clock: MockClock) -> None:
    bench.script.delay_s = 5.0
    catch_up, buffer = bench.begin()
    await buffer.add([event("task_failed", at=1)], 100)
    await trio.sleep(1)
    assert await catch_up.stop() is False
    assert [item.type for item in buffer.take_unstored()] == ["task_failed"]
    assert bench.gaps == []


async def test_a_project_that_is_up_to_date_is_noted_every_minute(bench: Bench, autojump_clock: MockClock) -> None:
    bench.nursery.start_soon(bench.coordinator.record_progress)
    catch_up, _ = bench.begin()
    await trio.sleep(61)
    assert (await bench.ingest.watch_state("p")).seen_until == NOW + timedelta(seconds=60)
    assert await catch_up.stop() is True
    await trio.sleep(120)
    assert (await bench.ingest.watch_state("p")).seen_until == NOW + timedelta(seconds=60)


async def test_one_that_is_not_up_to_date_is_not_noted(bench: Bench, autojump_clock: MockClock) -> None:
    bench.nursery.start_soon(bench.coordinator.record_progress)
    bench.script.answers[Family.TASK] = [ServerTrouble("down", status=503)] * 99
    bench.begin()
    await trio.sleep(200)
    assert (await bench.ingest.watch_state("p")).seen_until == NOW - timedelta(seconds=10)


async def test_a_clock_that_was_ahead_makes_no_gap_and_is_set_right(
    bench: Bench, autojump_clock: MockClock
) -> None:
    await bench.ingest.mark_seen({"p": NOW + timedelta(days=365)})
    bench.begin()
    await trio.sleep(1)
    assert bench.gaps == []
    assert (await bench.ingest.watch_state("p")).seen_until == NOW


async def test_many_projects_do_not_ask_all_at_once_and_one_alone_asks_at_once(
    bench: Bench, autojump_clock: MockClock
) -> None:
    for _ in range(100):
        bench.begin()
    await trio.sleep(30)
    times = sorted(when for when, kind in bench.script.requests if kind is Family.TASK)
    assert times[0] == 0
    assert times[-1] == pytest.approx(99 * 0.05)
    assert len(set(times)) == 100


async def test_one_request_serves_all_callers_before_its_start(autojump_clock: MockClock) -> None:
    begun: list[float] = []

    async def request() -> float:
        begun.append(trio.current_time())
        await trio.sleep(1)
        if len(begun) == 3:
            raise ServerTrouble("down", status=503)
        return begun[-1]

    shared, answers = SharedRequest(request), dict[float, list[float]]()

    async def get(after: float) -> None:
        await trio.sleep(after)
        try:
            answers.setdefault(after, []).append(await shared.get())
        except ServerTrouble:
            answers.setdefault(after, []).append(-1)

    async with trio.open_nursery() as nursery:
        for after in (0.0, 0.1, 0.1, 0.9, 1.5, 1.6):
            nursery.start_soon(get, after)
    assert begun == [0, 1, 2]
    assert answers == {0.0: [0], 0.1: [1, 1], 0.9: [1], 1.5: [-1], 1.6: [-1]}


async def test_a_cancelled_caller_leaves_the_request_to_the_next(autojump_clock: MockClock) -> None:
    async def request() -> float:
        await trio.sleep(1)
        return trio.current_time()

    shared, answers = SharedRequest(request), list[float]()

    async def get() -> None:
        answers.append(await shared.get())

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            nursery.start_soon(get)
            await shared.get()
    assert len(answers) == 1


async def test_nothing_is_left_to_claim_twice(bench: Bench, autojump_clock: MockClock) -> None:
    bench.script.answers[Family.TASK] = [list_response()]
    for _ in range(3):
        bench.begin()
        await trio.sleep(1)
    claims = await bench.ingest._storage.run(claim_all())
    assert [item.notification.event.type for item in claims].count("task_failed") == 1


async def test_the_buffers_of_all_projects_together_are_bounded() -> None:
    stored: list[Event] = []

    async def store(events: Sequence[Event]) -> None:
        stored.extend(events)

    everyone = BufferUsage(max_size=2 * (event_buffer.EVENT_OVERHEAD_BYTES + 100))
    first, second = (EventBuffer(store, buffering=True, total_usage=everyone) for _ in range(2))
    await first.add([event("task_started", "t1")], 100)
    await second.add([event("task_started", "t2")], 100)
    assert stored == []
    await second.add([event("task_started", "t3")], 100)
    assert [item.run_id for item in stored] == ["t2", "t3"]
    assert everyone.size == event_buffer.EVENT_OVERHEAD_BYTES + 100
    await first.release()
    assert everyone.size == 0


async def test_memory_is_freed_after_catching_up(bench: Bench, autojump_clock: MockClock) -> None:
    bench.script.answers[Family.TASK] = [list_response(output="x" * 8000)]
    catch_up, _ = bench.begin()
    await trio.sleep(60)
    assert len(bench.gaps) == 1
    assert not hasattr(catch_up, "_progress")  # the memory is freed


async def test_doubtful_runs_beyond_the_limit_are_reported_as_unavailable(
    bench: Bench, autojump_clock: MockClock
) -> None:
    after = NOW + timedelta(hours=1)
    refs = [RunRef("p", Family.TASK, f"t{number}") for number in range(2, 7)]
    ended = tuple(Observation(ref, RunState.FAILED, started_at=after, ended_at=after) for ref in refs)
    bench.script.answers[Family.TASK] = [ListResponse(ended)]
    bench.script.run_answers = [None] * 20
    bench.begin(max_doubtful=2)
    await trio.sleep(60)
    (gap,) = bench.gaps
    assert (gap.incomplete, gap.reason) == (True, "3 doubtful runs that were not requested again")
