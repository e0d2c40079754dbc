"""Catches up after a gap: beside the reader, asks REST what happened, and has what was missed made up for.

What was missed is decided where it is stored. Here is asked, asked again what is doubtful, and tried again what
fails, for as long as the link lives.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

from aintandem_notify import log
from aintandem_notify.domain.events import Event, Family, FeedGapEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import (
    Gap,
    Observation,
    ObservationBatch,
    OpenRun,
    ReconcileResult,
    WatchState,
)
from aintandem_notify.domain.runs import TERMINAL_STATES, RunRef
from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed, NotFound, ServerTrouble, StoreError
from aintandem_notify.foundation.backoff import Chance, full_jitter
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.catch_up.event_buffer import EventBuffer
from aintandem_notify.orchestrator.catch_up.rest_snapshot import PageReconciler, Snapshot
from aintandem_notify.orchestrator.link.reconnect_policy import ReconnectSettings
from aintandem_notify.orchestrator.protocol.responses import ResponseTooLarge

SPREAD_S: Final = 0.05
MAX_SPREAD_S: Final = 10.0
"""Over how long the first requests of many projects are spread: so much a project, and no more than this."""
RETRY_MAX_DELAY_S: Final = 60.0
"""The ceiling of the pauses before REST is asked again."""
REPORT_AFTER_S: Final = 300.0
"""After so long somebody is told that it cannot be found out what happened; trying goes on."""
MAX_RECHECKS: Final = 3
"""How often a run is asked for again; one that moves all the time is well known by its live events."""
MAX_DOUBTFUL_RUNS: Final = 1000
"""Runs of one project that are asked for again; what is doubtful beyond them is said to be missing."""
MAX_TRIES: Final = 8
"""How often a single run is asked for that the orchestrator fails on, while it answers otherwise."""
RECHECK_DELAY_S: Final = 0.25
"""Before doubtful runs are asked for again: what live events say of them may be on the way."""
MAX_REASON_LENGTH: Final = 500
"""Characters of what is missing that are told."""
RECORD_EVERY_S: Final = 60.0
"""How often it is noted up to when nothing is missing."""

T = TypeVar("T")

RUN_KINDS: Final = (Family.TASK, Family.WORKFLOW, Family.SANDBOX)


class Reconciler(Protocol):
    """Where runs are kept, as ``ingest.Ingest`` keeps them. Every method raises StoreError."""

    @property
    def transaction_no(self) -> int: ...
    async def watch_state(self, project_id: str) -> WatchState: ...
    async def reconcile(self, project: Project, look: ObservationBatch) -> ReconcileResult: ...
    async def mark_seen(
        self, moments: Mapping[str, datetime], project: Project | None = None, events: Sequence[Event] = ()
    ) -> None: ...


class SnapshotSource(Protocol):
    """Who looks at the orchestrator, as ``survey.Surveyor`` does. Raises ApiError or HttpFailed."""

    def add_timestamps(self, *stamps: datetime | None) -> None: ...
    async def read(
        self,
        kind: Family,
        project_id: str,
        known: Iterable[OpenRun],
        old: datetime,
        since: datetime,
        reconciler: PageReconciler,
    ) -> Snapshot: ...
    async def read_run(self, ref: RunRef) -> Observation | None: ...


class CatchUpCoordinator:
    """What the projects share: whom they ask, where they write, and who of them is up to date."""

    def __init__(self, snapshots: SnapshotSource, reconciler: Reconciler) -> None:
        self.snapshots = snapshots
        self.reconciler = reconciler
        self.busy = 0
        self.reported_missing: dict[str, frozenset[str]] = {}
        """By project, what could not be looked up when it was last told of."""
        self._up_to_date: dict[str, Callable[[], datetime]] = {}

    def mark_up_to_date(self, project_id: str, heard: Callable[[], datetime]) -> None:
        """Nothing of the project is missing until the moment that ``heard`` gives, from now on."""
        self._up_to_date[project_id] = heard

    def mark_ended(self, project_id: str) -> bool:
        """Its link is gone; whether it was up to date."""
        return self._up_to_date.pop(project_id, None) is not None

    async def record_progress(self) -> None:
        """Note every minute how far all of them are seen, in one transaction; runs for ever."""
        while True:
            await trio.sleep(RECORD_EVERY_S)
            if moments := {name: heard() for name, heard in self._up_to_date.items()}:
                # What is not noted now is noted a minute later; the reader says when the store is in trouble.
                with _ignoring_store_trouble():
                    await self.reconciler.mark_seen(moments)


@contextmanager
def _ignoring_store_trouble() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.get_logger(__name__).debug("how far the projects are seen could not be noted", reason=str(error))


@dataclass(slots=True)
class _Tally:
    """What came of it so far."""

    changed: int = 0
    too_old: int = 0
    gone: int = 0
    missing: list[str] = field(default_factory=list)
    doubts: dict[RunRef, int] = field(default_factory=dict)
    ends: dict[RunRef, tuple[Observation, int]] = field(default_factory=dict)
    """The ends that were doubtful at first, each with the moment when it was asked for."""
    looks: Counter[Family] = field(default_factory=Counter)
    """How often a kind was compared."""
    failures: Counter[RunRef] = field(default_factory=Counter)
    compared: set[RunRef] = field(default_factory=set)
    """Runs of the kinds that are still looked at which have been compared."""
    beyond: int = 0
    """Doubtful runs that there were too many of."""

    def add(self, outcome: ReconcileResult) -> None:
        self.changed += outcome.changed
        self.too_old += outcome.too_old
        self.gone += outcome.gone
        for ref in outcome.doubtful:
            if ref in self.doubts or len(self.doubts) < MAX_DOUBTFUL_RUNS:
                self.doubts[ref] = self.doubts.get(ref, 0) + 1
            else:
                self.beyond += 1

    def miss(self, what: str) -> None:
        """Something could not be looked up; what was missing before is not said again."""
        if what not in self.missing:
            self.missing.append(what)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """As ``survey.PageReconciler`` says."""

    reconciler: Reconciler
    take: Callable[[Sequence[Observation], int], Awaitable[None]]

    @property
    def transaction_no(self) -> int:
        return self.reconciler.transaction_no

    async def reconcile(self, observations: Sequence[Observation], moment: int) -> None:
        await self.take(observations, moment)


class CatchUp:
    """One link's catching up. ``opened_at`` is when it was opened; what came before it may be missing."""

    def __init__(
        self,
        project: Project,
        buffer: EventBuffer,
        opened_at: datetime,
        *,
        coordinator: CatchUpCoordinator,
        catch_up_max: float,
        backoff: ReconnectSettings,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._project = project
        self._buffer = buffer
        self._opened_at = opened_at
        self._coordinator = coordinator
        self._catch_up_max = catch_up_max
        self._backoff = backoff
        self._clock = clock
        self._chance = chance
        self._log = log.get_logger(__name__).bind(project=project.id)
        self._tally = _Tally()
        self._pending: list[Family] = list(RUN_KINDS)
        self._told = False
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, heard: Callable[[], datetime]) -> None:
        """Until nothing is missing any more, as far as it can be known, or until ``stop``.

        Then ``heard`` gives the moment up to which that is so from now on.
        """
        try:
            with self._scope:
                await self._catch_up()
                self._tally = _Tally()  # this lives as long as the link does
                self._coordinator.mark_up_to_date(self._project.id, heard)
        finally:
            self._ended.set()

    def on_event(self, event: Event) -> None:
        """The event has just come over the link; what it is stamped with is the orchestrator's time."""
        self._coordinator.snapshots.add_timestamps(event.timestamp)

    async def stop(self) -> bool:
        """End it, as its link does; whether it was done."""
        self._scope.cancel()
        await self._ended.wait()
        return self._coordinator.mark_ended(self._project.id)

    async def mark_seen(self, moment: datetime) -> None:
        """Nothing was missing up to this moment, the last of its link; raises StoreError."""
        await self._coordinator.reconciler.mark_seen({self._project.id: moment})

    async def _catch_up(self) -> None:
        outlook = await self._until_stored(partial(self._coordinator.reconciler.watch_state, self._project.id))
        gap = Gap(
            # Not beyond: our clock may have been ahead when this was noted.
            since=min(outlook.seen_until or self._opened_at, self._opened_at),
            until=self._opened_at,
            watched_since=outlook.watched_since or self._opened_at,
            catch_up_max=self._catch_up_max,
        )
        if not gap.is_real:
            await self._buffer.release()
        self._coordinator.busy += 1
        try:
            await trio.sleep(self._chance() * min(MAX_SPREAD_S, SPREAD_S * (self._coordinator.busy - 1)))
            await self._find_out(outlook, gap)
        finally:
            self._coordinator.busy -= 1
        await self._until_stored(partial(self._close, gap))

    async def _find_out(self, outlook: WatchState, gap: Gap) -> None:
        began, failures = trio.current_time(), 0
        while True:
            trouble = await self._ask_all(outlook, gap)
            await self._buffer.release()
            trouble = await self._ask_again(gap) or trouble
            if trouble is None:
                return
            if failures == 0:
                self._log.info("what was missed cannot be looked up yet", reason=str(trouble))
            if gap.is_real and not self._told and trio.current_time() - began >= REPORT_AFTER_S:
                self._told = True
                notice = self._notice(gap, [*self._tally.missing, str(trouble)])
                await self._until_stored(
                    partial(self._coordinator.reconciler.mark_seen, {}, self._project, [notice])
                )
            await trio.sleep(self._pause(failures))
            failures += 1

    async def _ask_all(self, outlook: WatchState, gap: Gap) -> Exception | None:
        """Look at every kind of run that has not been looked at; what stood in the way, None if nothing did."""
        trouble: Exception | None = None
        if outlook.more_open:
            self._tally.miss(f"open runs beyond the {len(outlook.open_runs)} that moved last")
        old = gap.since - timedelta(seconds=gap.catch_up_max)
        reconciler = _Comparison(self._coordinator.reconciler, partial(self._compare, gap))
        for kind in tuple(self._pending):
            try:
                seen = await self._coordinator.snapshots.read(
                    kind, self._project.id, outlook.open_runs, old, gap.since, reconciler
                )
                self._tally.looks[kind] += 1
                for what in seen.missing:
                    self._tally.miss(what)
                if seen.trouble is not None:
                    raise seen.trouble
            except NotFound:
                self._log.debug("the orchestrator has no such list", kind=kind.value)
            except (ApiError, HttpFailed, StoreError) as error:
                if is_temporary(error) and self._tally.looks[kind] < MAX_TRIES:
                    trouble = error
                    continue
                self._tally.miss(f"{kind.value}: {error}")
            self._pending.remove(kind)
            self._tally.compared = {ref for ref in self._tally.compared if ref.kind is not kind}
        return trouble

    async def _compare(self, gap: Gap, observations: Sequence[Observation], moment: int) -> None:
        """Compare what was found; what an earlier try has compared, live events have told of since."""
        tally = self._tally
        news = tuple(one for one in observations if one.ref not in tally.compared)
        if not news:
            return
        outcome = await self._coordinator.reconciler.reconcile(
            self._project, ObservationBatch(news, gap, moment, self._buffer.first_event_times())
        )
        tally.add(outcome)
        tally.compared.update(one.ref for one in news)
        doubtful = {one.ref: one for one in news if one.ref in tally.doubts}
        tally.ends |= {ref: (one, moment) for ref, one in doubtful.items() if one.state in TERMINAL_STATES}

    async def _ask_again(self, gap: Gap) -> Exception | None:
        """Ask for the doubtful ones; what stood in the way, None if nothing did."""
        doubts, failures = self._tally.doubts, self._tally.failures
        trouble: Exception | None = None
        if doubts:
            await trio.sleep(RECHECK_DELAY_S)
        for ref in tuple(doubts):
            try:
                while doubts.get(ref, MAX_RECHECKS + 1) <= MAX_RECHECKS:
                    if not await self._is_doubtful(ref, gap):
                        del doubts[ref]
            except (HttpFailed, StoreError) as error:
                return error
            except ApiError as error:
                failures[ref] += 1
                if is_temporary(error) and failures[ref] < MAX_TRIES:
                    trouble = error
                    continue
                self._tally.miss(f"{ref.kind.value} {ref.id}: {error}")
                del doubts[ref]
        return trouble

    async def _is_doubtful(self, ref: RunRef, gap: Gap) -> bool:
        """Whether it still is, when it has been asked for again."""
        moment = self._coordinator.reconciler.transaction_no
        seen = await self._coordinator.snapshots.read_run(ref)
        if seen is None:
            if ref not in self._tally.ends:
                return False
            # It is listed and cannot be asked for: an end stays an end.
            seen, moment = self._tally.ends[ref]
        look = ObservationBatch((replace(seen, confirmed=True),), gap, moment, self._buffer.first_event_times())
        outcome = await self._coordinator.reconciler.reconcile(self._project, look)
        self._tally.add(outcome)
        return bool(outcome.doubtful)

    async def _close(self, gap: Gap) -> None:
        if self._tally.beyond:
            self._tally.miss(f"{self._tally.beyond} runs that would have had to be asked for again")
            self._tally.beyond = 0
        if not self._coordinator.reported_missing.get(self._project.id, frozenset()).issuperset(
            self._tally.missing
        ):
            self._log.warning(
                "not everything is looked up", missing="; ".join(self._tally.missing)[:MAX_REASON_LENGTH]
            )
        events = [self._notice(gap, self._tally.missing)] if gap.is_real and not self._told else []
        await self._coordinator.reconciler.mark_seen({self._project.id: gap.until}, self._project, events)
        if gap.is_real:
            self._coordinator.reported_missing[self._project.id] = frozenset(self._tally.missing)
        if gap.is_real:
            tally = self._tally
            self._log.info(
                "caught up", seconds=round(gap.seconds, 1), changed=tally.changed, too_old=tally.too_old
            )

    def _notice(self, gap: Gap, missing: Sequence[str]) -> FeedGapEvent:
        return FeedGapEvent(
            timestamp=self._clock.now(),
            project_id=self._project.id,
            project_name=self._project.name,
            blind_from=gap.since,
            blind_until=gap.until,
            seconds=round(gap.seconds, 3),
            changed=self._tally.changed,
            too_old=self._tally.too_old,
            gone=self._tally.gone,
            incomplete=bool(missing),
            repeated=bool(missing)
            and self._coordinator.reported_missing.get(self._project.id, frozenset()).issuperset(missing),
            reason=log.redact_start("; ".join(missing), MAX_REASON_LENGTH),
        )

    async def _until_stored(self, act: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await act()
            except StoreError:  # whoever stores events says so
                await trio.sleep(self._pause(failures))
                failures += 1

    def _pause(self, failures: int) -> float:
        return full_jitter(
            failures,
            initial=self._backoff.reconnect_initial_delay,
            maximum=RETRY_MAX_DELAY_S,
            chance=self._chance,
        )


def is_temporary(error: ApiError | HttpFailed | StoreError) -> bool:
    """Whether it may go better another time: all but a clear no."""
    if not isinstance(error, ApiError) or isinstance(error, ServerTrouble | AuthenticationFailed):
        return True
    if isinstance(error, ResponseTooLarge):
        return False
    return not 400 <= error.status < 500
