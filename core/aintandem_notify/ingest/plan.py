"""What a batch of events does to the journal, the runs and the outbox, as a function of values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from aintandem_notify.domain.events import ConnectionConnectedEvent, Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.observation import Observation, ObservationBatch, ReconcileResult
from aintandem_notify.domain.reconciliation import RunDiff, reconcile
from aintandem_notify.domain.runs import (
    PROGRESS_TYPES,
    TERMINAL_TYPES,
    Run,
    RunRef,
    RunState,
    absorb,
    advance,
    run_ref,
)
from aintandem_notify.ingest.dedup import (
    NOTHING_SYNTHESIZED,
    AttemptRef,
    RecentChanges,
    Synthesized,
    UntimedEnd,
    is_late,
    is_repetition,
)
from aintandem_notify.store import JournalChanges

MAX_ATTEMPTS_BACK: Final = 3
"""Attempts before the latest one that a late event may be about: REST is asked a few times at the most."""


class RoutedNotification(Protocol):
    """A notification and where it goes."""

    @property
    def notification(self) -> Notification: ...
    @property
    def destinations(self) -> tuple[str, ...]: ...


class EventRouter(Protocol):
    """The rules: what is told to whom."""

    def may_notify(self, event_type: str) -> bool:
        """False when no rule can match events of this type."""
        ...

    def route(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Sequence[RoutedNotification]:
        """The notifications that the event leads to; empty when no rule matches."""
        ...

    def route_bare(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Sequence[RoutedNotification]:
        """The same without any text from outside, for an event that it cannot be done for otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """Events of one project (None: of the agent) in the order they came.

    ``observed`` is a batch of the same project, to reconcile with after them. ``seen_until`` says by project up to
    when nothing is missing.
    """

    project: Project | None
    events: Sequence[Event] = ()
    observed: ObservationBatch | None = None
    seen_until: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def refs(self) -> Iterator[RunRef]:
        """The runs that it is about."""
        for event in self.events:
            if (ref := run_ref(event)) is not None:
                yield ref
        for observation in self.observed.observations if self.observed is not None else ():
            yield observation.ref

    @property
    def size(self) -> int:
        """How many events and observations it holds."""
        return len(self.events) + (0 if self.observed is None else len(self.observed.observations))

    def singles(self) -> Iterator["Submission"]:
        """The same in the smallest pieces, in order."""
        for event in self.events:
            yield Submission(self.project, [event])
        for observation in self.observed.observations if self.observed is not None else ():
            assert self.observed is not None  # noqa: S101  # or there would be no observation
            yield Submission(self.project, observed=replace(self.observed, observations=(observation,)))
        if self.seen_until:
            yield Submission(self.project, seen_until=self.seen_until)

    def without_texts(self) -> "Submission":
        """The same without any text from outside: what happened to which run, and when."""
        look = self.observed and replace(
            self.observed,
            observations=tuple(
                replace(seen, name="", workflow_id=None, error=None, output=None)
                for seen in self.observed.observations
            ),
        )
        return replace(self, events=[event.without_texts() for event in self.events], observed=look)


@dataclass(slots=True)
class Plan:
    """What to write; ``fresh`` are the events that were not known, each with its project, for live hooks."""

    changes: JournalChanges = field(default_factory=JournalChanges)
    new_events: list[tuple[Event, Project | None]] = field(default_factory=list)
    runs: dict[RunRef, Run] = field(default_factory=dict)
    """The latest attempt of every run that moved."""
    due_destinations: set[str] = field(default_factory=set)
    """Destinations that have something to deliver."""
    moved_refs: set[RunRef] = field(default_factory=set)
    """The runs that live events have moved."""
    synthesized: dict[AttemptRef, Synthesized] = field(default_factory=dict)
    """What catching up has made lately, by attempt, where this changes it."""
    results: dict[str, ReconcileResult] = field(default_factory=dict)
    """What comparing came to, by project."""


def split_in_half(batch: Iterable[Submission]) -> tuple[list[Submission], list[Submission]] | None:
    """The batch in two, in its order; None when it has only one event."""
    single = [one for handed in batch for one in handed.singles()]
    if len(single) < 2:
        return None
    return single[: len(single) // 2], single[len(single) // 2 :]


def is_unrouted_progress(event: Event, router: EventRouter) -> bool:
    """Whether the event only moves its run: progress that no rule asks for."""
    return event.type in PROGRESS_TYPES and not router.may_notify(event.type)


def plan(
    batch: Iterable[Submission],
    *,
    router: EventRouter,
    runs: Mapping[RunRef, Run],
    known: Set[str],
    projects: Set[str],
    now: datetime,
    lately: RecentChanges | None = None,
    is_known: Callable[[str], bool] = lambda _key: False,
    begins: datetime | None = None,
    plainly: bool = False,
) -> Plan:
    """What the batch leads to.

    ``runs`` has the latest attempt of the runs that the batch is about, where there is one; ``known`` the keys
    of its events that are journaled, and ``is_known`` tells it of keys that turn up; ``projects`` are those of
    its projects that have been seen before; the others are watched from ``begins`` on at the latest, else ``now``.
    ``plainly``: notifications are made without any text from outside.
    """
    route = router.route_bare if plainly else router.route
    planner = _Planner(router, route, runs, set(known), now, lately or RecentChanges(0), is_known, begins or now)
    for handed in batch:
        for event in handed.events:
            planner.take(event, handed.project)
        if handed.observed is not None and handed.project is not None:
            planner.compare(handed.observed, handed.project)
        planner.see(handed.seen_until)
    return planner.finish(projects)


class _Planner:
    """Takes one event after the other; a run's passing events are held until something else needs the run."""

    def __init__(
        self,
        router: EventRouter,
        route: Callable[[Event, Run | None, Project | None, datetime], Sequence[RoutedNotification]],
        runs: Mapping[RunRef, Run],
        known: set[str],
        now: datetime,
        lately: RecentChanges,
        is_known: Callable[[str], bool],
        begins: datetime,
    ) -> None:
        self._begins = begins
        self._lately = lately
        self._is_known = is_known
        self._router = router
        self._route = route
        self._stored = runs
        self._known = known
        self._now = now
        self._plan = Plan()
        self._moved: dict[tuple[RunRef, int], Run] = {}
        self._passing: dict[RunRef, list[Event]] = {}
        self._connected: dict[str, datetime] = {}

    def take(self, event: Event, project: Project | None) -> None:
        """Everything that one event does."""
        ref = run_ref(event)
        if ref is not None and is_unrouted_progress(event, self._router):
            self._passing.setdefault(ref, []).append(event)
        elif event.key in self._known:
            return
        else:
            self._known.add(event.key)
            self._journal(event, ref, project)
            if ref is not None and event.type not in PROGRESS_TYPES:
                self._plan.moved_refs.add(ref)
        self._plan.new_events.append((event, project))
        if isinstance(event, ConnectionConnectedEvent):
            # The orchestrator's clock is not asked: this is an event of ours.
            self._connected.setdefault(event.project_id, min(event.timestamp, self._now, self._begins))

    def compare(self, look: ObservationBatch, project: Project) -> None:
        """Make the events that were missed, as REST's answers show them."""
        outcome = self._plan.results.setdefault(project.id, ReconcileResult())
        for seen in look.observations:
            self._absorb(seen.ref)
            touched = seen.ref in self._plan.moved_refs or self._lately.has_moved(seen.ref, look.transaction_no)
            latest, held = self._latest(seen.ref), look.buffered_since.get(seen.ref)
            found = reconcile(latest, seen, look.gap, self._now, touched=touched, buffered_since=held)
            if found.run is not None and found.run != latest:
                self._move(seen.ref, found.run)
            begun = latest is not None and latest.state in (RunState.RUNNING, RunState.PAUSED)
            self._tell(found, seen, project, begun=begun)
            outcome.changed += found.changed
            outcome.too_old += found.too_old
            outcome.gone += found.gone
            if found.doubtful:
                outcome.doubtful.append(seen.ref)

    def _tell(self, found: RunDiff, seen: Observation, project: Project, *, begun: bool) -> None:
        for event in found.events:
            if event.key in self._known or self._is_known(event.key):
                self._advance(seen.ref, event)
                continue
            self._known.add(event.key)
            self._journal(event, seen.ref, project)
            self._plan.new_events.append((event, project))
            attempt = self._attempt(seen.ref)
            made = self._made_for(attempt)
            if event.type not in TERMINAL_TYPES or seen.ended_at is not None:
                made = replace(made, types=made.types | {event.type})
            elif seen.asked_at is not None:
                ends = (*made.ends, UntimedEnd(event.type, seen.asked_at))
                made = replace(made, ends=ends, begun=begun)
            else:  # an end whose time is ours says nothing about what came before it
                continue
            self._plan.synthesized[attempt] = made

    def see(self, seen: Mapping[str, datetime]) -> None:
        """Nothing of these projects is missing before the given moments."""
        self._plan.changes.seen_until.update(seen)

    def finish(self, projects: Set[str]) -> Plan:
        """The plan, complete."""
        for ref in list(self._passing):
            self._absorb(ref)
        changes = self._plan.changes
        for (ref, attempt), run in self._moved.items():
            stored = self._stored.get(ref)
            is_new = stored is None or attempt > stored.attempt
            (changes.new_runs if is_new else changes.updated_runs).append(run)
        for project, moment in self._connected.items():
            # A first connection is where watching begins. A later one does not close the gap before it.
            if project not in projects:
                changes.new_projects[project] = moment
        return self._plan

    def _journal(self, event: Event, ref: RunRef | None, project: Project | None) -> None:
        run, repeated = (None, False) if ref is None else self._advance(ref, event)
        routed = (
            self._route(event, run, project, self._now)
            if not repeated and self._router.may_notify(event.type)
            else ()
        )
        changes = self._plan.changes
        for sent in routed:
            changes.notifications.append((sent.notification, sent.destinations))
            self._plan.due_destinations.update(sent.destinations)
        if routed or event.type not in PROGRESS_TYPES:
            changes.events.append(event)

    def _advance(self, ref: RunRef, event: Event) -> tuple[Run, bool]:
        self._absorb(ref)
        latest = self._latest(ref)
        if latest is None or event.caught_up:
            return self._advanced(ref, latest, event, NOTHING_SYNTHESIZED)
        attempt = (ref, latest.attempt)
        made = self._made_for(attempt)
        if (left := made.after(event)) is not made:
            self._plan.synthesized[attempt] = left
        if made.is_told_by(event) or self._tells_of_one_before(ref, latest.attempt, event):
            return latest, True
        return self._advanced(ref, latest, event, made)

    def _advanced(self, ref: RunRef, latest: Run | None, event: Event, made: Synthesized) -> tuple[Run, bool]:
        if latest is not None and is_repetition(latest, event, made):
            return latest, True
        run, repeated = advance(latest, event)
        if latest is not None and is_late(latest, event, made):
            # One of an end that was made has been recognized by now: this is one before it.
            return run, repeated and not made.ends
        if not repeated:
            self._move(ref, run)
        return run, repeated

    def _tells_of_one_before(self, ref: RunRef, attempt: int, event: Event) -> bool:
        """Whether a live event is about an end that was made, while REST has shown another attempt already."""
        for before in range(attempt - 1, max(0, attempt - MAX_ATTEMPTS_BACK - 1), -1):
            made = self._made_for((ref, before))
            if made.is_told_by(event):
                self._plan.synthesized[ref, before] = made.after(event)
                return True
        return False

    def _absorb(self, ref: RunRef) -> None:
        if passing := self._passing.pop(ref, None):
            self._move(ref, absorb(self._latest(ref), passing))

    def _latest(self, ref: RunRef) -> Run | None:
        return self._plan.runs.get(ref) or self._stored.get(ref)

    def _move(self, ref: RunRef, run: Run) -> None:
        self._plan.runs[ref] = run
        self._moved[ref, run.attempt] = run

    def _attempt(self, ref: RunRef) -> AttemptRef:
        latest = self._latest(ref)
        return ref, 1 if latest is None else latest.attempt

    def _made_for(self, attempt: AttemptRef) -> Synthesized:
        if not (self._plan.synthesized or self._lately.made_something):
            return NOTHING_SYNTHESIZED  # nearly always
        return self._plan.synthesized.get(attempt) or self._lately.made_for(attempt)
