"""Group commit: one transaction at a time, for all that the projects handed in while the last one ran."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

import trio

from aintandem_notify.domain.event_redaction import redact_events, redact_project
from aintandem_notify.domain.events import AgentEvent, ConnectionConnectedEvent, Event, StoreDegradedEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import ObservationBatch, OpenRun, ReconcileResult, WatchState
from aintandem_notify.domain.runs import Run, RunRef, run_ref
from aintandem_notify.errors import StatementFailed, StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.ingest.batch_limits import (
    MAX_EVENTS,
    MAX_JOURNALED,
    MAX_TEXT_LENGTH,
    next_journal_limit,
    split_events,
    split_observations,
)
from aintandem_notify.ingest.dedup import RecentChanges
from aintandem_notify.ingest.plan import EventRouter, Plan, Submission, is_unrouted_progress, plan, split_in_half
from aintandem_notify.log import get_logger
from aintandem_notify.store import Storage, Store, StoreState, TransactionPurpose

MAX_CACHED_RUNS: Final = 4000
"""Runs kept in memory, the least recently moved dropped first; at most some 16 MB with full output tails."""

MAX_OPEN_RUNS: Final = 500
"""Runs that a project may have open to be asked for one by one when REST does not list them."""

MAX_ANNOUNCED: Final = 1000
"""Agent events kept while the store is in trouble, the oldest dropped first."""

MAX_REPORTED: Final = 200
"""Kinds of event and error that are logged; types of events come from outside and are without end."""

RETRY_S: Final = 5.0
"""Seconds until agent events that could not be stored are tried again."""

log = get_logger(__name__)

Publish = Callable[[Event, Project | None], None]
Wake = Callable[[Iterable[str]], None]


class LivePublisher(NamedTuple):
    """Where new events go at once; ``listening`` is false when nobody would get them."""

    publish: Publish
    listening: Callable[[], bool]


@dataclass(slots=True)
class _Waiting:
    handed: Submission
    kept: int
    text: int = 0
    done: trio.Event = field(default_factory=trio.Event)
    error: StoreError | None = None
    outcome: ReconcileResult = field(default_factory=ReconcileResult)


class Ingest:
    """Takes events in. ``router`` may be replaced at any time; the next transaction uses the new ones."""

    def __init__(
        self,
        storage: Storage,
        *,
        router: EventRouter,
        clock: Clock,
        hooks: LivePublisher,
        wake: Wake,
        most_runs: int,
    ) -> None:
        self.router = router
        self._storage = storage
        self._clock = clock
        self._hooks = hooks
        self._wake = wake
        self._waiting: deque[_Waiting] = deque()
        self._announced: deque[AgentEvent] = deque(maxlen=MAX_ANNOUNCED)
        self._something = trio.Event()
        self._closing = False
        self._memory = _Memory(most_runs)
        self._lately = RecentChanges(most_runs)
        self._in_doubt = False
        self._room = MAX_JOURNALED
        self._reported: set[tuple[str, str]] = set()

    async def commit(self, project: Project | None, events: Sequence[Event]) -> None:
        """Returns when the events, all of one project, are on disk with all that follows from them.

        Raises StoreError when they cannot be stored; handing the same events in again is right then. A call
        that is cancelled while it waits has handed its events in all the same.
        """
        for portion, kept, text in split_events(events, self.router, lambda: self._room):
            await self._hand_in(_Waiting(Submission(project, portion), kept, text))

    async def reconcile(self, project: Project, look: ObservationBatch) -> ReconcileResult:
        """Make the events that were missed, and return when they are on disk; raises StoreError.

        The same look may be compared again: what was made by it is not made twice.
        """
        whole = ReconcileResult()
        for portion, text in split_observations(look):
            waiting = _Waiting(Submission(project, observed=portion), len(portion.observations), text)
            await self._hand_in(waiting)
            whole.add(waiting.outcome)
        return whole

    async def mark_seen(
        self, moments: Mapping[str, datetime], project: Project | None = None, events: Sequence[Event] = ()
    ) -> None:
        """Note, by project, up to when nothing is missing, together with ``events``; raises StoreError.

        Projects that were never connected are left out.
        """
        await self._hand_in(_Waiting(Submission(project, events, seen_until=moments), len(events)))

    async def watch_state(self, project_id: str) -> WatchState:
        """Where the project stands, as catching up begins; raises StoreError."""
        return await self._storage.run(lambda store: self._look_up(store, project_id))

    def _look_up(self, store: Store, project_id: str) -> WatchState:
        with store.transaction(durable=False, purpose=TransactionPurpose.READ):
            watched = store.journal.watch_progress([project_id]).get(project_id)
            found = store.journal.open_runs(project_id, MAX_OPEN_RUNS + 1)
        return WatchState(
            None if watched is None else watched.seen_until,
            None if watched is None else watched.since,
            tuple(OpenRun(run.ref, run.state) for run in found[:MAX_OPEN_RUNS]),
            more_open=len(found) > MAX_OPEN_RUNS,
        )

    @property
    def transaction_no(self) -> int:
        """How many transactions there were: what is asked for now is older than what moves after it."""
        return self._lately.transaction_no

    async def forget(self, project_ids: Collection[str]) -> None:
        """Keep nothing of these projects in memory any more: somebody else may have moved their runs."""
        await self._storage.run(lambda _store: self._memory.forget(set(project_ids)))

    async def _hand_in(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._something.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise StoreError(str(waiting.error)) from waiting.error

    def announce(self, event: AgentEvent) -> None:
        """Hand in an event of the agent without waiting; kept and tried again while the store is in trouble."""
        self._announced.append(event)
        self._something.set()

    async def _run(self) -> None:
        while True:
            while not self._waiting and not self._announced:
                if self._closing:
                    return
                await self._something.wait()
                self._something = trio.Event()
            if not await self._commit_next() and not self._waiting:
                if self._closing:
                    return
                self._something = trio.Event()
                with trio.move_on_after(RETRY_S):
                    await self._something.wait()

    async def _commit_next(self) -> bool:
        """One transaction; false when the store could not take it."""
        waiting = self._take_waiting()
        announced = list(self._announced)
        self._announced.clear()
        batch = [Submission(None, announced), *(one.handed for one in waiting)]
        now = self._clock.now()
        self._lately.passed_s = trio.current_time()
        try:
            plans = await self._store(batch, now)
        except StoreError as error:
            # The failed commit may have reached the disk, so nothing in memory is certain any more.
            self._memory = _Memory(self._memory.most_runs)
            self._lately.doubt_everything()
            rest = await self._store_trouble(announced, now)
            self._announced = deque([*rest, *self._announced], maxlen=MAX_ANNOUNCED)
            if not self._in_doubt:
                log.error("events cannot be stored, reading pauses", reason=str(error))
            self._in_doubt = True
            for one in waiting:
                one.error = error
                one.done.set()
            return False
        for one in waiting:
            if one.handed.observed is not None and one.handed.project is not None:
                for done in plans:
                    one.outcome.add(done.results.get(one.handed.project.id, ReconcileResult()))
            one.done.set()
        for done in plans:
            self._tell(done)
        return True

    async def _store_trouble(self, announced: Sequence[AgentEvent], now: datetime) -> list[AgentEvent]:
        """Store what tells of the store's own trouble, for which there may be room; all that is not stored."""
        ours = [event for event in announced if isinstance(event, StoreDegradedEvent)]
        others = [event for event in announced if event not in ours]
        if not ours or self._storage.status.state is not StoreState.ON_RESERVE:
            return list(announced)
        batch = [Submission(None, ours)]
        try:
            done = await self._storage.run(
                lambda store: self._transact(store, batch, now, TransactionPurpose.RECORD)
            )
        except StoreError:
            return list(announced)
        self._wake(done.due_destinations)
        return others

    async def _store(self, batch: Sequence[Submission], now: datetime) -> list[Plan]:
        """The batch in one transaction; in several when an event in it cannot be taken in as it is."""
        try:
            return [await self._storage.run(lambda store: self._transact(store, batch, now))]
        except Exception as error:  # whatever one event makes of us, the others must not suffer
            if is_store_failure(error):
                raise
            parts = split_in_half(batch)
            if parts is None:
                return await self._store_plainly(batch, now, error)
        return [plan for part in parts for plan in await self._store(part, now)]

    async def _store_plainly(self, batch: Sequence[Submission], now: datetime, error: Exception) -> list[Plan]:
        """One event without its texts, with which something is wrong: that it happened is told all the same."""
        self._report("an event cannot be taken in as it is and is told without its texts", batch, error)
        bare = [handed.without_texts() for handed in batch]
        try:
            return [await self._storage.run(lambda store: self._transact(store, bare, now, plainly=True))]
        except Exception as again:  # nothing is left that could be told of it
            if is_store_failure(again):
                raise
            self._report("an event cannot be taken in and is left out", batch, again)
            return []

    def _report(self, what: str, batch: Sequence[Submission], error: Exception) -> None:
        """Once for each kind of event and error: it may come again with each reconnect."""
        kind = next((event.type for handed in batch for event in handed.events), "observation")
        if len(self._reported) < MAX_REPORTED and (what, f"{kind} {type(error)}") not in self._reported:
            self._reported.add((what, f"{kind} {type(error)}"))
            log.error(what, type=kind, error=type(error).__name__, exc_info=error)

    def _take_waiting(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        count = kept = text = 0
        while self._waiting:
            count += self._waiting[0].handed.size
            kept += self._waiting[0].kept
            text += self._waiting[0].text
            if taken and (count > MAX_EVENTS or kept > self._room or text > MAX_TEXT_LENGTH):
                break
            taken.append(self._waiting.popleft())
        return taken

    def _transact(
        self,
        store: Store,
        batch: Sequence[Submission],
        now: datetime,
        purpose: TransactionPurpose = TransactionPurpose.WORK,
        plainly: bool = False,
    ) -> Plan:
        """Read, plan and write, in one transaction; runs in the store's thread."""
        router, memory = self.router, self._memory
        batch = [handed for handed in batch if self._is_ours(store, handed)]
        kept = [event for handed in batch for event in handed.events if not is_unrouted_progress(event, router)]
        refs = {ref for handed in batch for ref in handed.refs}
        connected = {event.project_id for event in kept if isinstance(event, ConnectionConnectedEvent)}
        # Progress that nobody asked for is not worth waiting for the disk.
        durable = bool(kept) or any(handed.observed for handed in batch)
        with store.transaction(durable=durable, purpose=purpose):
            memory.runs |= store.journal.latest_runs(ref for ref in refs if ref not in memory.runs)
            # Whoever watches it now says how far it is seen; here, what came last may have been left to that one.
            batch = [_seen_by(store.owns, handed) if handed.seen_until else handed for handed in batch]
            done = plan(
                batch,
                router=router,
                runs=memory.runs,
                known=store.journal.journaled_keys({event.key for event in kept}),
                projects=store.journal.watch_progress(connected).keys(),
                now=now,
                lately=self._lately,
                is_known=lambda key: bool(store.journal.journaled_keys([key])),
                begins=self._clock.capped_now(),
                plainly=plainly,
            )
            if self._hooks.listening():
                done.new_events = _shown(done.new_events, memory.runs)
            in_memory = store.journal.write(done.changes, now)
            if self._in_doubt:
                done.due_destinations.update(store.outbox.queues())
        self._room = next_journal_limit(len(kept), in_memory)
        memory.remember(done)
        self._lately.remember(done.moved_refs, done.synthesized)
        return done

    def _is_ours(self, store: Store, handed: Submission) -> bool:
        """Whoever watches the project now catches up on what came last; to store it here, too, would race."""
        if handed.project is None or store.owns(handed.project.id):
            return True
        log.info("left to the agent that watches the project now", project=handed.project.id, events=handed.size)
        return False

    def _tell(self, done: Plan) -> None:
        if self._in_doubt:
            log.info("events are stored again")
        self._in_doubt = False
        if done.due_destinations:
            self._wake(done.due_destinations)
        if self._hooks.listening():
            for event, project in done.new_events:
                self._hooks.publish(event, project)


def is_store_failure(error: Exception) -> bool:
    """Whether it says that nothing can be stored now, and not that one event cannot."""
    return isinstance(error, StoreError) and not isinstance(error, StatementFailed)


def _seen_by(owns: Callable[[str], bool], handed: Submission) -> Submission:
    """``handed`` without the moments of projects that somebody else watches."""
    return replace(handed, seen_until={one: moment for one, moment in handed.seen_until.items() if owns(one)})


def _shown(
    fresh: Sequence[tuple[Event, Project | None]], runs: Mapping[RunRef, Run]
) -> list[tuple[Event, Project | None]]:
    """The events as live hooks may see them; ``runs`` as they were before."""
    written = {ref: run.output_tail for event, _ in fresh if (ref := run_ref(event)) and (run := runs.get(ref))}
    events = redact_events((event for event, _ in fresh), written)
    return [
        (event, project and redact_project(project)) for event, (_, project) in zip(events, fresh, strict=True)
    ]


@dataclass(slots=True)
class _Memory:
    """What the store holds, as far as it was needed lately. True to it because the store has one owner."""

    most_runs: int
    runs: dict[RunRef, Run] = field(default_factory=dict)

    def remember(self, done: Plan) -> None:
        """After the commit; the runs that moved longest ago are forgotten."""
        for ref, run in done.runs.items():
            self.runs.pop(ref, None)
            self.runs[ref] = run
        while len(self.runs) > self.most_runs:
            del self.runs[next(iter(self.runs))]

    def forget(self, project_ids: Set[str]) -> None:
        """Drop the runs of these projects."""
        self.runs = {ref: run for ref, run in self.runs.items() if ref.project_id not in project_ids}


@asynccontextmanager
async def open_ingest(
    storage: Storage,
    *,
    router: EventRouter,
    clock: Clock,
    publish: Publish,
    wake: Wake,
    listening: Callable[[], bool] = lambda: True,
    most_runs: int = MAX_CACHED_RUNS,
) -> AsyncIterator[Ingest]:
    """Takes events in for as long as the block lasts; what was handed in by its end is committed.

    ``publish`` gets every new event once it is on disk, unless ``listening`` says that it need not; ``wake``
    gets the destinations that have something to deliver. None of the three may block.
    ``most_runs`` are kept in memory; the others are read again when they move.
    """
    hooks = LivePublisher(publish, listening)
    ingest = Ingest(storage, router=router, clock=clock, hooks=hooks, wake=wake, most_runs=most_runs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest._run)  # noqa: SLF001  # the task is the class's own, described here
        try:
            yield ingest
        finally:
            ingest._closing = True  # noqa: SLF001
            ingest._something.set()  # noqa: SLF001
