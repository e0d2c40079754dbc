"""Catches up after a gap, while live events are read: reads a snapshot over REST, and has the missed events made.

``ingest`` decides the missed events, in the transaction that stores them. This module makes the requests. It
requests doubtful runs again, and retries a failed request for as long as the link is open.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import trio

from aintandem_notify import log
from aintandem_notify.domain.events import Family, FeedGapEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import (
    Gap,
    Observation,
    ObservationBatch,
    ReconcileResult,
    WatchState,
)
from aintandem_notify.domain.runs import TERMINAL_STATES, RunRef
from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed, NotFound, StoreError
from aintandem_notify.foundation.backoff import Chance, full_jitter
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.catch_up.coordinator import CatchUpCoordinator, Reconciler
from aintandem_notify.orchestrator.catch_up.event_buffer import EventBuffer
from aintandem_notify.orchestrator.link.reconnect_policy import ReconnectSettings
from aintandem_notify.orchestrator.protocol.responses import ResponseTooLarge, is_refusal

SPREAD_S: Final = 0.05
MAX_SPREAD_S: Final = 10.0
"""The first requests of many projects are spread over time: by ``SPREAD_S`` for each project that is catching up,
up to ``MAX_SPREAD_S``."""
RETRY_MAX_DELAY_S: Final = 60.0
"""Longest pause before REST is requested again."""
REPORT_AFTER_S: Final = 300.0
"""After so long without success, a ``feed_gap`` event reports the unavailable information. Retries go on."""
MAX_RECHECKS: Final = 3
"""Requests for one doubtful run. A run that still changes after that is known by its live events."""
MAX_DOUBTFUL_RUNS: Final = 1000
"""Doubtful runs of one project that are requested again. More of them are reported as unavailable."""
MAX_TRIES: Final = 8
"""Requests for one run, or for one kind of run, that the orchestrator fails on."""
RECHECK_DELAY_S: Final = 0.25
"""Pause before doubtful runs are requested again: their live events may be on the way."""
MAX_REASON_CHARACTERS: Final = 500
"""Characters of the list of unavailable information in a ``feed_gap`` event."""

T = TypeVar("T")

RUN_KINDS: Final = (Family.TASK, Family.WORKFLOW, Family.SANDBOX)


@dataclass(slots=True)
class _Progress:
    """The results so far."""

    max_doubtful: int
    changed: int = 0
    too_old: int = 0
    gone: int = 0
    unavailable: list[str] = field(default_factory=list)
    doubts: dict[RunRef, int] = field(default_factory=dict)
    ends: dict[RunRef, tuple[Observation, int]] = field(default_factory=dict)
    """Observed ends that were doubtful, each with the transaction number at its request."""
    reads: Counter[Family] = field(default_factory=Counter)
    """The number of reads of each kind."""
    failures: Counter[RunRef] = field(default_factory=Counter)
    reconciled: set[RunRef] = field(default_factory=set)
    """Reconciled runs of the kinds that are not finished."""
    too_many_doubtful: int = 0
    """The number of doubtful runs above ``max_doubtful``."""

    def add(self, result: ReconcileResult) -> None:
        self.changed += result.changed
        self.too_old += result.too_old
        self.gone += result.gone
        for ref in result.doubtful:
            if ref in self.doubts or len(self.doubts) < self.max_doubtful:
                self.doubts[ref] = self.doubts.get(ref, 0) + 1
            else:
                self.too_many_doubtful += 1

    def add_unavailable(self, item: str) -> None:
        """Note that this information is unavailable; only once."""
        if item not in self.unavailable:
            self.unavailable.append(item)


@dataclass(frozen=True, slots=True)
class _GapReconciler:
    """Implements ``rest_snapshot.PageReconciler`` for one gap."""

    reconciler: Reconciler
    reconcile_page: Callable[[Sequence[Observation], int], Awaitable[None]]

    @property
    def transaction_no(self) -> int:
        return self.reconciler.transaction_no

    async def reconcile(self, observations: Sequence[Observation], transaction_no: int) -> None:
        await self.reconcile_page(observations, transaction_no)


class CatchUp:
    """Catches up once for one link, which opened at ``opened_at``. Events before that time may be missing."""

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
        max_doubtful: int = MAX_DOUBTFUL_RUNS,
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
        self._progress = _Progress(max_doubtful)
        self._pending: list[Family] = list(RUN_KINDS)
        self._is_reported = False
        self._running: tuple[trio.CancelScope, trio.Event] | None = trio.CancelScope(), trio.Event()
        self.on_trouble: Callable[[str | None], None] = lambda _reason: None
        """Gets the reason after each try that failed, and None once nothing is missing."""

    async def run(self, stored_until: Callable[[], datetime]) -> None:
        """Returns when no event is missing any more, as far as REST can show it, or after ``stop``.

        From then on, ``stored_until`` returns the time before which no event is missing.
        """
        assert self._running is not None  # noqa: S101  # it runs once
        scope, ended = self._running
        try:
            with scope:
                await self._catch_up()
                self._coordinator.mark_up_to_date(self._project.id, stored_until)
        finally:
            ended.set()
            self._running = None
            del self._progress, self._log  # this object lives as long as the link

    async def stop(self) -> bool:
        """Stop, because the link ends. Returns whether catching up was complete."""
        if self._running is not None:
            scope, ended = self._running
            scope.cancel()
            await ended.wait()
        return self._coordinator.mark_ended(self._project.id)

    async def mark_seen(self, until: datetime) -> None:
        """Store that no event was missing until this time, at which the link ended. Raises StoreError."""
        await self._coordinator.reconciler.mark_seen({self._project.id: until})

    async def _catch_up(self) -> None:
        state = await self._until_stored(partial(self._coordinator.reconciler.watch_state, self._project.id))
        gap = Gap(
            # Not later: our clock may have been ahead when this was stored.
            since=min(state.seen_until or self._opened_at, self._opened_at),
            until=self._opened_at,
            watched_since=state.watched_since or self._opened_at,
            catch_up_max=self._catch_up_max,
        )
        if not gap.is_real:
            await self._buffer.release()
        self._coordinator.catching_up += 1
        try:
            await trio.sleep(self._chance() * min(MAX_SPREAD_S, SPREAD_S * (self._coordinator.catching_up - 1)))
            await self._reconcile_until_done(state, gap)
        finally:
            self._coordinator.catching_up -= 1
        await self._until_stored(partial(self._finish, gap))

    async def _reconcile_until_done(self, state: WatchState, gap: Gap) -> None:
        began, failures = trio.current_time(), 0
        while True:
            trouble = await self._reconcile_all(state, gap)
            await self._buffer.release()
            trouble = await self._recheck_doubtful(gap) or trouble
            if gap.is_real:
                self.on_trouble(None if trouble is None else str(trouble))
            if trouble is None:
                return
            if failures == 0:
                self._log.info("missed events cannot be looked up yet", reason=str(trouble))
            if gap.is_real and not self._is_reported and trio.current_time() - began >= REPORT_AFTER_S:
                self._is_reported = True
                event = self._feed_gap_event(gap, [*self._progress.unavailable, str(trouble)])
                await self._until_stored(
                    partial(self._coordinator.reconciler.mark_seen, {}, self._project, [event])
                )
            await trio.sleep(self._pause(failures))
            failures += 1

    async def _reconcile_all(self, state: WatchState, gap: Gap) -> Exception | None:
        """Read and reconcile every kind of run that is not finished. Returns a temporary failure, or None."""
        trouble: Exception | None = None
        if state.open_runs_truncated:
            self._progress.add_unavailable(f"open runs beyond the {len(state.open_runs)} that changed last")
        oldest = gap.since - timedelta(seconds=gap.catch_up_max)
        reconciler = _GapReconciler(self._coordinator.reconciler, partial(self._reconcile_page, gap))
        for kind in tuple(self._pending):
            error = await self._reconcile_kind(kind, state, oldest, gap, reconciler)
            if error is not None and is_temporary(error) and self._progress.reads[kind] < MAX_TRIES:
                trouble = error
                continue
            if error is not None:
                self._progress.add_unavailable(f"{kind.value}: {error}")
            self._pending.remove(kind)
            self._progress.reconciled = {ref for ref in self._progress.reconciled if ref.kind is not kind}
        return trouble

    async def _reconcile_kind(
        self, kind: Family, state: WatchState, oldest: datetime, gap: Gap, reconciler: _GapReconciler
    ) -> ApiError | HttpFailed | StoreError | None:
        """Read and reconcile one kind of run. Returns the error, if there is one."""
        try:
            snapshot = await self._coordinator.snapshots.read(
                kind, self._project.id, state.open_runs, oldest, gap.since, reconciler
            )
        except NotFound:
            self._log.debug("the orchestrator has no such list", kind=kind.value)
            return None
        except (ApiError, HttpFailed, StoreError) as error:
            return error
        self._progress.reads[kind] += 1
        for item in snapshot.unavailable:
            self._progress.add_unavailable(item)
        return snapshot.trouble

    async def _reconcile_page(self, gap: Gap, observations: Sequence[Observation], transaction_no: int) -> None:
        """Reconcile one page. Runs that an earlier try reconciled are skipped: their later changes arrive live."""
        progress = self._progress
        new = tuple(observation for observation in observations if observation.ref not in progress.reconciled)
        if not new:
            return
        result = await self._coordinator.reconciler.reconcile(
            self._project, ObservationBatch(new, gap, transaction_no, self._buffer.first_event_times())
        )
        progress.add(result)
        progress.reconciled.update(observation.ref for observation in new)
        progress.ends |= {
            observation.ref: (observation, transaction_no)
            for observation in new
            if observation.ref in progress.doubts and observation.state in TERMINAL_STATES
        }

    async def _recheck_doubtful(self, gap: Gap) -> Exception | None:
        """Request the doubtful runs again. Returns a temporary failure, or None."""
        doubts, failures = self._progress.doubts, self._progress.failures
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
                self._progress.add_unavailable(f"{ref.kind.value} {ref.id}: {error}")
                del doubts[ref]
        return trouble

    async def _is_doubtful(self, ref: RunRef, gap: Gap) -> bool:
        """Request the run again. Returns whether it is still doubtful."""
        transaction_no = self._coordinator.reconciler.transaction_no
        observation = await self._coordinator.snapshots.read_run(ref)
        if observation is None:
            if ref not in self._progress.ends:
                return False
            # The list has it, but it cannot be requested alone. The end in the list counts.
            observation, transaction_no = self._progress.ends[ref]
        batch = ObservationBatch(
            (replace(observation, confirmed=True),), gap, transaction_no, self._buffer.first_event_times()
        )
        result = await self._coordinator.reconciler.reconcile(self._project, batch)
        self._progress.add(result)
        return bool(result.doubtful)

    async def _finish(self, gap: Gap) -> None:
        if self._progress.too_many_doubtful:
            self._progress.add_unavailable(
                f"{self._progress.too_many_doubtful} doubtful runs that were not requested again"
            )
            self._progress.too_many_doubtful = 0
        if not self._coordinator.is_reported(self._project.id, self._progress.unavailable):
            self._log.warning(
                "catching up is incomplete",
                missing="; ".join(self._progress.unavailable)[:MAX_REASON_CHARACTERS],
            )
        events = (
            [self._feed_gap_event(gap, self._progress.unavailable)]
            if gap.is_real and not self._is_reported
            else []
        )
        await self._coordinator.reconciler.mark_seen({self._project.id: gap.until}, self._project, events)
        if gap.is_real:
            self._coordinator.reported_unavailable[self._project.id] = frozenset(self._progress.unavailable)
            progress = self._progress
            self._log.info(
                "caught up", seconds=round(gap.seconds, 1), changed=progress.changed, too_old=progress.too_old
            )

    def _feed_gap_event(self, gap: Gap, unavailable: Sequence[str]) -> FeedGapEvent:
        return FeedGapEvent(
            timestamp=self._clock.now(),
            project_id=self._project.id,
            project_name=self._project.name,
            blind_from=gap.since,
            blind_until=gap.until,
            seconds=round(gap.seconds, 3),
            changed=self._progress.changed,
            too_old=self._progress.too_old,
            gone=self._progress.gone,
            incomplete=bool(unavailable),
            repeated=bool(unavailable) and self._coordinator.is_reported(self._project.id, unavailable),
            reason=log.redact_start("; ".join(unavailable), MAX_REASON_CHARACTERS),
        )

    async def _until_stored(self, act: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await act()
            except StoreError:  # logged by the sink, which stores the live events
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
    """Whether a retry may succeed. False only for a definite rejection."""
    if isinstance(error, StoreError | AuthenticationFailed):
        return True
    return not isinstance(error, ResponseTooLarge) and not is_refusal(error)
