"""Group commit: one transaction at a time, with everything that was submitted while the last one ran.

``plan`` decides the changes, ``batch_limits`` the size of a transaction. This module queues the events, writes the
plan, and deals with failures of the store.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

import trio

from aintandem_notify.domain.event_redaction import redact_events, redact_project
from aintandem_notify.domain.events import AgentEvent, ConnectionConnectedEvent, Event, StoreDegradedEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import ObservationBatch, OpenRun, ReconcileResult, WatchState
from aintandem_notify.domain.runs import Run, RunRef, run_ref
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.ingest.batch_limits import (
    MAX_EVENTS,
    MAX_JOURNALED,
    MAX_TEXT_CHARACTERS,
    next_journal_limit,
    split_events,
    split_observations,
)
from aintandem_notify.ingest.dedup import RecentChanges
from aintandem_notify.ingest.plan import EventRouter, Plan, Submission, plan, split_in_half, unrouted_progress
from aintandem_notify.ingest.releases import SHARED_LOOK_EVERY_S, HeldReleases, is_store_failure
from aintandem_notify.ingest.run_cache import RunCache
from aintandem_notify.log import get_logger
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Storage, Store, StoreState, TransactionPurpose
from aintandem_notify.watches.watch import Watch

MAX_CACHED_RUNS: Final = 4000
"""Runs kept in memory, the least recently changed dropped first; some 16 MB at most with full output tails."""

MAX_OPEN_RUNS: Final = 500
"""Open runs of a project that catching up requests one by one if REST does not list them."""

MAX_ANNOUNCED: Final = 1000
"""Agent events kept in memory while the store fails; the oldest are dropped first."""

MAX_REPORTED: Final = 200
"""Kinds of event and error that are logged; event types come from outside, so there may be any number."""

RETRY_S: Final = 5.0
"""Seconds until agent events that could not be stored are tried again."""

log: Final = get_logger(__name__)

Publish = Callable[[Event, Project | None], None]
Wake = Callable[[Iterable[str]], None]


class LivePublisher(NamedTuple):
    """The receiver of new events, for live hooks; ``listening`` returns False if there is none."""

    publish: Publish
    listening: Callable[[], bool]


@dataclass(slots=True)
class _Pending:
    """A submission that waits for its transaction; ``journaled`` events of it will be journaled, with ``text``
    characters.
    """

    submission: Submission
    journaled: int
    text: int = 0
    done: trio.Event = field(default_factory=trio.Event)
    error: StoreError | None = None
    result: ReconcileResult = field(default_factory=ReconcileResult)


class Ingest:
    """Stores events and their deliveries, and releases those that the stages of the rules hold."""

    def __init__(
        self,
        storage: Storage,
        *,
        router: EventRouter,
        clock: Clock,
        hooks: LivePublisher,
        wake: Wake,
        max_runs: int,
        shared_look_every_s: float,
    ) -> None:
        self.router: EventRouter = router
        self.releases: HeldReleases = HeldReleases(storage, clock, router, shared_look_every_s)
        self._storage = storage
        self._clock = clock
        self._hooks = hooks
        self._wake = wake
        self._pending: deque[_Pending] = deque()
        self._announced: deque[AgentEvent] = deque(maxlen=MAX_ANNOUNCED)
        self._submitted = trio.Event()
        self._closing = False
        self._cache = RunCache(max_runs)
        self._recent = RecentChanges(max_runs)
        self._last_commit_failed = False
        self._journal_limit = MAX_JOURNALED
        self._reported: set[tuple[str, str]] = set()

    def use(self, router: EventRouter, policy: StagePolicy, watches: Sequence[Watch] = ()) -> None:
        """Apply these rules and watches from the next transaction on, also to held notifications and open runs."""
        self.router = router
        self.releases.use(policy, router)
        self.releases.watching.use(watches)
        self._submitted.set()

    def look_again(self) -> None:
        """Note that the silences have changed: held notifications may be due now."""
        self.releases.look_again()
        self._submitted.set()

    async def commit(self, project: Project | None, events: Sequence[Event]) -> None:
        """Returns when the events, all of one project, are on disk with all their effects.

        Raises StoreError if they cannot be stored; then submit the same events again. A call that is cancelled
        while it waits has submitted its events all the same.
        """
        for piece, journaled, text in split_events(events, self.router, lambda: self._journal_limit):
            await self._submit(_Pending(Submission(project, piece), journaled, text))

    async def reconcile(self, project: Project, batch: ObservationBatch) -> ReconcileResult:
        """Compare the observations with the stored runs, and store the missed events.

        Returns when they are on disk; raises StoreError.

        The same batch may be submitted again: no event is made twice.
        """
        total = ReconcileResult()
        for piece, text in split_observations(batch):
            pending = _Pending(Submission(project, observed=piece), len(piece.observations), text)
            await self._submit(pending)
            total.add(pending.result)
        return total

    async def mark_seen(
        self, seen_until: Mapping[str, datetime], project: Project | None = None, events: Sequence[Event] = ()
    ) -> None:
        """Store, by project, the time before which no event is missing, and ``events``. Raises StoreError.

        Projects that were never connected are ignored.
        """
        await self._submit(_Pending(Submission(project, events, seen_until=seen_until), len(events)))

    async def watch_state(self, project_id: str) -> WatchState:
        """The stored state of the project, from which catching up starts; raises StoreError."""
        return await self._storage.run(lambda store: self._read_watch_state(store, project_id))

    def _read_watch_state(self, store: Store, project_id: str) -> WatchState:
        with store.transaction(durable=False, purpose=TransactionPurpose.READ):
            progress = store.journal.watch_progress([project_id]).get(project_id)
            runs = store.journal.open_runs(project_id, MAX_OPEN_RUNS + 1)
        return WatchState(
            None if progress is None else progress.seen_until,
            None if progress is None else progress.since,
            tuple(OpenRun(run.ref, run.state) for run in runs[:MAX_OPEN_RUNS]),
            open_runs_truncated=len(runs) > MAX_OPEN_RUNS,
        )

    @property
    def transaction_no(self) -> int:
        """The number of transactions so far. An observation is older than all changes by later transactions."""
        return self._recent.transaction_no

    async def forget(self, project_ids: Collection[str]) -> None:
        """Drop the cached runs of these projects: another agent may have changed them."""
        await self._storage.run(lambda _store: self._forget(project_ids))
        self._submitted.set()

    def _forget(self, project_ids: Collection[str]) -> None:
        self._cache.forget(set(project_ids))
        self.releases.watching.take_over(project_ids)

    async def _submit(self, pending: _Pending) -> None:
        self._pending.append(pending)
        self._submitted.set()
        await pending.done.wait()
        if pending.error is not None:
            raise StoreError(str(pending.error)) from pending.error

    def announce(self, event: AgentEvent) -> None:
        """Submit an agent event without waiting. It is kept in memory and retried while the store fails."""
        self._announced.append(event)
        self._submitted.set()

    async def _run(self) -> None:
        while True:
            while not self._pending and not self._announced and (pause_s := self.releases.seconds_to_next()) > 0:
                if self._closing:
                    return
                with trio.move_on_after(pause_s):
                    await self._submitted.wait()
                    self._submitted = trio.Event()
            if not await self._commit_next() and not self._pending:
                if self._closing:
                    return
                self._submitted = trio.Event()
                with trio.move_on_after(RETRY_S):
                    await self._submitted.wait()

    async def _commit_next(self) -> bool:
        """Release due holds, then store the next events. False if the store failed."""
        has_released = False
        with suppress(StoreError):  # storing events fails in the same way, and logs it
            if destinations := await self.releases.release():
                self._wake(destinations)
            has_released = True
        self._publish_events(self.releases.watching.take_new_events())
        if not self._pending and not self._announced:
            return has_released
        pending = self._take_pending()
        announced = list(self._announced)
        self._announced.clear()
        batch = [Submission(None, announced), *(item.submission for item in pending)]
        now = self._clock.now()
        self._recent.now_s = trio.current_time()
        try:
            plans = await self._store(batch, now)
        except StoreError as error:
            # The failed commit may have reached the disk, so the cache may be wrong.
            self._cache = RunCache(self._cache.max_runs)
            self._recent.assume_all_changed()
            unstored = await self._store_trouble(announced, now)
            self._announced = deque([*unstored, *self._announced], maxlen=MAX_ANNOUNCED)
            if not self._last_commit_failed:
                log.error("events cannot be stored, reading pauses", reason=str(error))
            self._last_commit_failed = True
            for item in pending:
                item.error = error
                item.done.set()
            return False
        for item in pending:
            if item.submission.observed is not None and item.submission.project is not None:
                for stored_plan in plans:
                    item.result.add(stored_plan.results.get(item.submission.project.id, ReconcileResult()))
            item.done.set()
        for stored_plan in plans:
            self._publish(stored_plan)
        return True

    async def _store_trouble(self, announced: Sequence[AgentEvent], now: datetime) -> list[AgentEvent]:
        """Store the events about the store's own trouble in its reserved space. Returns the events not stored."""
        about_store = [event for event in announced if isinstance(event, StoreDegradedEvent)]
        other_events = [event for event in announced if event not in about_store]
        if not about_store or self._storage.status.state is not StoreState.ON_RESERVE:
            return list(announced)
        batch = [Submission(None, about_store)]
        try:
            stored_plan = await self._storage.run(
                lambda store: self._transact(store, batch, now, TransactionPurpose.RECORD)
            )
        except StoreError:
            return list(announced)
        self._wake(stored_plan.due_destinations)
        return other_events

    async def _store(self, batch: Sequence[Submission], now: datetime) -> list[Plan]:
        """Store the batch in one transaction, or in several if an event in it causes a failure."""
        try:
            return [await self._storage.run_again(lambda store: self._transact(store, batch, now))]
        except Exception as error:  # an event that causes a failure must not affect the others
            if is_store_failure(error):
                raise
            halves = split_in_half(batch)
            if halves is None:
                return await self._store_without_texts(batch, now, error)
        return [plan for half in halves for plan in await self._store(half, now)]

    async def _store_without_texts(
        self, batch: Sequence[Submission], now: datetime, error: Exception
    ) -> list[Plan]:
        """Store one event without its texts, because they cause a failure. So it is still reported."""
        self._report("an event cannot be stored as it is and is reported without its texts", batch, error)
        stripped = [submission.without_texts() for submission in batch]
        try:
            return [
                await self._storage.run_again(
                    lambda store: self._transact(store, stripped, now, without_texts=True)
                )
            ]
        except Exception as second_error:  # there is nothing more to remove
            if is_store_failure(second_error):
                raise
            self._report("an event cannot be stored and is dropped", batch, second_error)
            return []

    def _report(self, message: str, batch: Sequence[Submission], error: Exception) -> None:
        """Log the message once for each kind of event and error, because it may repeat with each reconnect."""
        kind = next((event.type for submission in batch for event in submission.events), "observation")
        if len(self._reported) < MAX_REPORTED and (message, f"{kind} {type(error)}") not in self._reported:
            self._reported.add((message, f"{kind} {type(error)}"))
            log.error(message, type=kind, error=type(error).__name__, exc_info=error)

    def _take_pending(self) -> list[_Pending]:
        first_pending: list[_Pending] = []
        count = journaled = text = 0
        while self._pending:
            count += self._pending[0].submission.size
            journaled += self._pending[0].journaled
            text += self._pending[0].text
            if first_pending and (
                count > MAX_EVENTS or journaled > self._journal_limit or text > MAX_TEXT_CHARACTERS
            ):
                break
            first_pending.append(self._pending.popleft())
        return first_pending

    def _transact(
        self,
        store: Store,
        batch: Sequence[Submission],
        now: datetime,
        purpose: TransactionPurpose = TransactionPurpose.WORK,
        without_texts: bool = False,
    ) -> Plan:
        """Read, plan and write, in one transaction; runs in the store's thread."""
        router, cache = self.router, self._cache
        batch = [submission for submission in batch if self._is_ours(store, submission)]
        unrouted = unrouted_progress(router)
        journaled = [event for submission in batch for event in submission.events if event.type not in unrouted]
        refs = set[RunRef]().union(*(submission.refs for submission in batch))
        connected = {event.project_id for event in journaled if isinstance(event, ConnectionConnectedEvent)}
        # Unrouted progress alone is not worth waiting for the disk.
        durable = bool(journaled) or any(submission.observed for submission in batch)
        with store.transaction(durable=durable, purpose=purpose):
            cache.runs |= store.journal.latest_runs(ref for ref in refs if ref not in cache.runs)
            # Only the owner of a project may store its ``seen_until``: this agent may have left events to it,
            # which the owner has not stored yet.
            batch = [
                _with_owned_seen_until(store.membership.owns, submission) if submission.seen_until else submission
                for submission in batch
            ]
            planned = plan(
                batch,
                router=router,
                runs=cache.runs,
                known=store.journal.journaled_keys(journaled),
                projects=store.journal.watch_progress(connected).keys(),
                now=now,
                recent=self._recent,
                is_known=lambda event: bool(store.journal.journaled_keys([event])),
                watched_from=self._clock.capped_now(),
                without_texts=without_texts,
                is_listening=self._hooks.listening(),
            )
            if not without_texts:
                self._follow_watches(store, planned, batch, now)
            if self._hooks.listening():
                planned.new_events = _redact(planned.new_events, cache.runs)
            if not without_texts:  # otherwise the stages may be the cause
                planned.due_destinations |= self.releases.admit(store, planned.changes, planned.signals, now)
            cached = store.journal.write(planned.changes, now)
            if self._last_commit_failed:
                planned.due_destinations.update(store.outbox.queues())
        self._journal_limit = next_journal_limit(len(journaled), cached)
        cache.remember(planned)
        self._recent.remember(planned.changed_by_live_events, planned.synthesized)
        return planned

    def _follow_watches(self, store: Store, planned: Plan, batch: Sequence[Submission], now: datetime) -> None:
        """Begin and end the timers of watches, and add the events that the changes of runs lead to."""
        now = store.membership.now(now)
        for event, run, project in self.releases.watching.follow(store, planned, self._cache.runs, batch, now):
            planned.add(event, run, project, self.router.route(event, run, project, now))

    def _is_ours(self, store: Store, submission: Submission) -> bool:
        """False if another agent owns the project now. It catches up itself; storing here would race with it."""
        if submission.project is None or store.membership.owns(submission.project.id):
            return True
        log.info(
            "left to the agent that watches the project now", project=submission.project.id, events=submission.size
        )
        return False

    def _publish(self, stored_plan: Plan) -> None:
        if self._last_commit_failed:
            log.info("events are stored again")
        self._last_commit_failed = False
        if stored_plan.due_destinations:
            self._wake(stored_plan.due_destinations)
        self._publish_events(stored_plan.new_events)

    def _publish_events(self, events: Sequence[tuple[Event, Project | None]]) -> None:
        if events and self._hooks.listening():
            for event, project in events:
                self._hooks.publish(event, project)


def _with_owned_seen_until(owns: Callable[[str], bool], submission: Submission) -> Submission:
    """The submission without the ``seen_until`` of projects that another agent owns."""
    seen_until = {project_id: moment for project_id, moment in submission.seen_until.items() if owns(project_id)}
    return replace(submission, seen_until=seen_until)


def _redact(
    new_events: Sequence[tuple[Event, Project | None]], runs: Mapping[RunRef, Run]
) -> list[tuple[Event, Project | None]]:
    """The events without secrets, for live hooks; ``runs`` as they were before the events."""
    written = {
        ref: run.output_tail for event, _ in new_events if (ref := run_ref(event)) and (run := runs.get(ref))
    }
    events = redact_events((event for event, _ in new_events), written)
    return [
        (event, project and redact_project(project))
        for event, (_, project) in zip(events, new_events, strict=True)
    ]


@asynccontextmanager
async def open_ingest(
    storage: Storage,
    *,
    router: EventRouter,
    clock: Clock,
    publish: Publish,
    wake: Wake,
    listening: Callable[[], bool] = lambda: True,
    max_runs: int = MAX_CACHED_RUNS,
    shared_look_every_s: float = SHARED_LOOK_EVERY_S,
) -> AsyncIterator[Ingest]:
    """Runs the ingest for as long as the block lasts. Events submitted by its end are committed.

    ``publish`` gets every new event once it is on disk, unless ``listening`` returns False. ``wake`` gets the
    destinations with new deliveries. None of the three may block. ``max_runs`` runs are cached; the others are
    read from the store when an event is about them. In a shared store the ingest looks every
    ``shared_look_every_s`` for holds and silences of other agents.
    """
    ingest = Ingest(
        storage,
        router=router,
        clock=clock,
        hooks=LivePublisher(publish, listening),
        wake=wake,
        max_runs=max_runs,
        shared_look_every_s=shared_look_every_s,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest._run)  # noqa: SLF001  # the task is the class's own, described here
        try:
            yield ingest
        finally:
            ingest._closing = True  # noqa: SLF001
            ingest._submitted.set()  # noqa: SLF001
