"""Decides the effect of a batch of events on journal, runs and outbox, as a function of values.

``writer`` reads the values from the store and writes the plan. ``dedup`` recognises events that REST and the
socket both report.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from aintandem_notify.domain.events import ConnectionConnectedEvent, Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.observation import Observation, ObservationBatch, ReconcileResult
from aintandem_notify.domain.reconciliation import RunDiff, reconcile
from aintandem_notify.domain.runs import (
    OPENING_TYPES,
    PROGRESS_TYPES,
    TERMINAL_TYPES,
    Run,
    RunRef,
    RunState,
    advance,
    apply_progress,
    run_ref,
)
from aintandem_notify.ingest.dedup import (
    NOTHING_SYNTHESIZED,
    Arrival,
    AttemptRef,
    RecentChanges,
    Synthesized,
    UntimedEnd,
    classify,
)
from aintandem_notify.rules.episode_words import EpisodeWord
from aintandem_notify.stages.trouble import ENDING_TYPES
from aintandem_notify.store import JournalChanges

MAX_ATTEMPTS_BACK: Final = 3
"""Number of earlier attempts whose untimed ends a late event may repeat. Catching up reads REST a few times only,
so it finds few attempts of a run."""

_run_of: Final[Callable[[Event], tuple[Any, ...]]] = attrgetter("project_id", "family", "run_id")


class PlannedNotification(Protocol):
    """A notification to store and its destinations, as ``rules.RoutedNotification``."""

    @property
    def notification(self) -> Notification: ...
    @property
    def destinations(self) -> tuple[str, ...]: ...


class EventRouter(Protocol):
    """Applies the rules to an event, as ``rules.Router`` does."""

    def may_notify(self, event_type: str) -> bool:
        """False if no rule can match events of this type."""
        ...

    def route(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Sequence[PlannedNotification]:
        """The notifications about the event; empty if no rule matches."""
        ...

    def route_behind(
        self, rule: str, destination: str, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Sequence[PlannedNotification]:
        """The notifications for one destination of the rules behind ``rule``."""
        ...

    def about_episode(
        self, word: EpisodeWord, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Notification:
        """The word about an episode of a rule; ``event`` is the end, or the last trouble."""
        ...

    @property
    def destinations(self) -> Sequence[str]:
        """All destinations of the config."""
        ...

    def route_without_texts(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Sequence[PlannedNotification]:
        """As ``route``, without any text from outside, for an event whose texts cause a failure."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """Events of one project (None: of the agent) in the order in which they came.

    ``observed`` are observations of the same project, to be reconciled after the events. ``seen_until`` has by
    project the time before which no event is missing.
    """

    project: Project | None
    events: Sequence[Event] = ()
    observed: ObservationBatch | None = None
    seen_until: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def refs(self) -> set[RunRef]:
        """The runs of its events and observations."""
        observations = () if self.observed is None else self.observed.observations
        return {RunRef(*run) for run in set(map(_run_of, self.events)) if None not in run} | {
            observation.ref for observation in observations
        }

    @property
    def size(self) -> int:
        """The number of its events and observations."""
        return len(self.events) + (0 if self.observed is None else len(self.observed.observations))

    def split(self) -> Iterator["Submission"]:
        """Splits it into the smallest pieces, in order."""
        for event in self.events:
            yield Submission(self.project, [event])
        for observation in self.observed.observations if self.observed is not None else ():
            assert self.observed is not None  # noqa: S101  # or there would be no observation
            yield Submission(self.project, observed=replace(self.observed, observations=(observation,)))
        if self.seen_until:
            yield Submission(self.project, seen_until=self.seen_until)

    def without_texts(self) -> "Submission":
        """The same without any text from outside: only types, ids, states and times."""
        observed = self.observed and replace(
            self.observed,
            observations=tuple(
                replace(observation, name="", workflow_id=None, error=None, output=None)
                for observation in self.observed.observations
            ),
        )
        return replace(self, events=[event.without_texts() for event in self.events], observed=observed)


class Signal(NamedTuple):
    """An event that may begin a run, or end trouble.

    Its own notifications are ``routed`` of those of the batch, from ``position`` on.
    """

    event: Event
    run: Run
    project: Project | None
    position: int
    routed: int


_SIGNAL_TYPES: Final = ENDING_TYPES | OPENING_TYPES


@dataclass(slots=True)
class Plan:
    """The changes to write, and their consequences.

    ``new_events`` are the events that were not known, each with its project, for live hooks.
    """

    changes: JournalChanges = field(default_factory=JournalChanges)
    new_events: list[tuple[Event, Project | None]] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    """The new events that may begin a run or end trouble, in their order."""
    runs: dict[RunRef, Run] = field(default_factory=dict)
    """The latest attempt of every run that changed."""
    due_destinations: set[str] = field(default_factory=set)
    """Destinations with new deliveries."""
    changed_by_live_events: set[RunRef] = field(default_factory=set)
    """The runs that live events have changed, except by progress: REST does not show that."""
    synthesized: dict[AttemptRef, Synthesized] = field(default_factory=dict)
    """By attempt: the new entries of ``RecentChanges`` about events that catching up has made."""
    results: dict[str, ReconcileResult] = field(default_factory=dict)
    """The results of reconciliation, by project."""

    def add(self, event: Event, run: Run, project: Project, routed: Sequence[PlannedNotification]) -> None:
        """Add an event that the changes of runs lead to, with its notifications."""
        self.changes.events.append(event)
        self.new_events.append((event, project))
        if event.type in _SIGNAL_TYPES:
            self.signals.append(Signal(event, run, project, len(self.changes.notifications), len(routed)))
        for item in routed:
            self.changes.notifications.append((item.notification, item.destinations))
            self.due_destinations.update(item.destinations)


def split_in_half(batch: Iterable[Submission]) -> tuple[list[Submission], list[Submission]] | None:
    """Splits the batch in two, in its order; None if it has only one event."""
    pieces = [piece for submission in batch for piece in submission.split()]
    if len(pieces) < 2:
        return None
    return pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]


def unrouted_progress(router: EventRouter) -> Set[str]:
    """The types of events that only change their run and are not journaled: progress that no rule matches."""
    return {kind for kind in PROGRESS_TYPES if not router.may_notify(kind)}


def plan(
    batch: Iterable[Submission],
    *,
    router: EventRouter,
    runs: Mapping[RunRef, Run],
    known: Set[str],
    projects: Set[str],
    now: datetime,
    recent: RecentChanges | None = None,
    is_known: Callable[[Event], bool] = lambda _event: False,
    watched_from: datetime | None = None,
    without_texts: bool = False,
    is_listening: bool = True,
) -> Plan:
    """The changes that the batch leads to.

    ``runs`` has the latest known attempt of the runs that the batch is about, ``known`` the keys of its events
    that are journaled. ``is_known`` looks up an event that catching up makes. ``projects`` are the
    projects of the batch that have been connected before. For the others, watching begins with their connection,
    not later than ``watched_from`` (None: ``now``). ``without_texts``: notifications contain no text from outside.
    ``is_listening``: somebody wants ``new_events``.
    """
    route = router.route_without_texts if without_texts else router.route
    planner = _Planner(
        router,
        route,
        runs,
        set(known),
        now,
        recent or RecentChanges(0),
        is_known,
        watched_from or now,
        is_listening,
    )
    for submission in batch:
        planner.add(submission.events, submission.project)
        if submission.observed is not None and submission.project is not None:
            planner.reconcile(submission.observed, submission.project)
        planner.mark_seen(submission.seen_until)
    return planner.finish(projects)


class _Planner:
    """Plans one event after the other.

    Unrouted progress of a run is collected, and applied when another event or an observation is about the run.
    """

    def __init__(
        self,
        router: EventRouter,
        route: Callable[[Event, Run | None, Project | None, datetime], Sequence[PlannedNotification]],
        runs: Mapping[RunRef, Run],
        known: set[str],
        now: datetime,
        recent: RecentChanges,
        is_known: Callable[[Event], bool],
        watched_from: datetime,
        is_listening: bool,
    ) -> None:
        self._is_listening = is_listening
        self._unrouted = unrouted_progress(router)
        self._watched_from = watched_from
        self._recent = recent
        self._is_known = is_known
        self._router = router
        self._route = route
        self._stored = runs
        self._known = known
        self._now = now
        self._plan = Plan()
        self._changed_runs: dict[tuple[RunRef, int], Run] = {}
        self._progress: dict[RunRef, list[Event]] = {}
        self._connected: dict[str, datetime] = {}

    def add(self, events: Sequence[Event], project: Project | None) -> None:
        """Plan all effects of the events, which are all of one project."""
        unrouted = self._unrouted
        progress: dict[str | None, list[Event]] = {}  # by run; a run object for each event would cost more
        for event in events:
            if event.type not in unrouted:
                progress.pop(event.run_id, None)
                self._add_journaled(event, project)
                continue
            collected = progress.get(event.run_id)
            if collected is None:
                ref = run_ref(event)
                assert ref is not None  # noqa: S101  # progress is about a run
                collected = progress[event.run_id] = self._progress.setdefault(ref, [])
            collected.append(event)
            if self._is_listening:
                self._plan.new_events.append((event, project))

    def _add_journaled(self, event: Event, project: Project | None) -> None:
        if event.key in self._known:
            return
        self._known.add(event.key)
        ref = run_ref(event)
        self._journal(event, ref, project)
        if ref is not None and event.type not in PROGRESS_TYPES:
            self._plan.changed_by_live_events.add(ref)
        self._plan.new_events.append((event, project))
        if isinstance(event, ConnectionConnectedEvent):
            # This event is our own, so its time is not the orchestrator's.
            self._connected.setdefault(event.project_id, min(event.timestamp, self._now, self._watched_from))

    def reconcile(self, batch: ObservationBatch, project: Project) -> None:
        """Make the events that were missed, as the observations show them."""
        result = self._plan.results.setdefault(project.id, ReconcileResult())
        for observation in batch.observations:
            self._apply_progress(observation.ref)
            changed_since_request = (
                observation.ref in self._plan.changed_by_live_events
                or self._recent.has_changed(observation.ref, batch.transaction_no)
            )
            latest, buffered_since = self._latest(observation.ref), batch.buffered_since.get(observation.ref)
            diff = reconcile(
                latest,
                observation,
                batch.gap,
                self._now,
                changed_since_request=changed_since_request,
                buffered_since=buffered_since,
            )
            if diff.run is not None and diff.run != latest:
                self._set_run(observation.ref, diff.run)
            start_was_known = latest is not None and latest.state in (RunState.RUNNING, RunState.PAUSED)
            self._journal_missed(diff, observation, project, start_was_known=start_was_known)
            result.changed += diff.changed
            result.too_old += diff.too_old
            result.gone += diff.gone
            if diff.doubtful:
                result.doubtful.append(observation.ref)

    def _journal_missed(
        self, diff: RunDiff, observation: Observation, project: Project, *, start_was_known: bool
    ) -> None:
        for event in diff.events:
            if event.key in self._known or self._is_known(event):
                self._advance(observation.ref, event)
                continue
            self._known.add(event.key)
            self._journal(event, observation.ref, project)
            self._plan.new_events.append((event, project))
            attempt = self._attempt(observation.ref)
            synthesized = self._synthesized_for(attempt)
            if event.type not in TERMINAL_TYPES or observation.ended_at is not None:
                synthesized = replace(synthesized, types=synthesized.types | {event.type})
            elif observation.asked_at is not None:
                ends = (*synthesized.ends, UntimedEnd(event.type, observation.asked_at))
                synthesized = replace(synthesized, ends=ends, start_was_known=start_was_known)
            else:  # neither REST nor its clock dates the end, so a live event cannot be compared with it
                continue
            self._plan.synthesized[attempt] = synthesized

    def mark_seen(self, seen_until: Mapping[str, datetime]) -> None:
        """Note that no event of these projects is missing before the given times."""
        self._plan.changes.seen_until.update(seen_until)

    def finish(self, projects: Set[str]) -> Plan:
        """Complete the plan and return it."""
        for ref in list(self._progress):
            self._apply_progress(ref)
        changes = self._plan.changes
        for (ref, attempt), run in self._changed_runs.items():
            stored = self._stored.get(ref)
            is_new = stored is None or attempt > stored.attempt
            (changes.new_runs if is_new else changes.updated_runs).append(run)
        for project, moment in self._connected.items():
            # Watching begins at the first connection. A later one does not close the gap before it.
            if project not in projects:
                changes.new_projects[project] = moment
        return self._plan

    def _journal(self, event: Event, ref: RunRef | None, project: Project | None) -> None:
        run, arrival = (None, Arrival.LIVE) if ref is None else self._advance(ref, event)
        routed = (
            self._route(event, run, project, self._now)
            if arrival is not Arrival.DUPLICATE and self._router.may_notify(event.type)
            else ()
        )
        changes = self._plan.changes
        if run is not None and arrival is Arrival.LIVE and event.type in _SIGNAL_TYPES:
            signal = Signal(event, run, project, len(changes.notifications), len(routed))
            self._plan.signals.append(signal)
        for item in routed:
            changes.notifications.append((item.notification, item.destinations))
            self._plan.due_destinations.update(item.destinations)
        if routed or event.type not in PROGRESS_TYPES:
            changes.events.append(event)

    def _advance(self, ref: RunRef, event: Event) -> tuple[Run, Arrival]:
        self._apply_progress(ref)
        latest = self._latest(ref)
        arrival = classify(latest, event, self._take_made(ref, latest, event))
        if latest is not None and arrival is Arrival.DUPLICATE:
            return latest, arrival
        run = advance(latest, event)
        if arrival is Arrival.LIVE:
            self._set_run(ref, run)
        return run, arrival

    def _take_made(self, ref: RunRef, latest: Run | None, event: Event) -> Sequence[Synthesized]:
        """The argument ``made`` of ``classify``. Of an end that the event reports no other event can be news."""
        if latest is None or event.caught_up or not self._any_synthesized():
            return ()  # nearly always
        oldest = max(1, latest.attempt - MAX_ATTEMPTS_BACK)
        made = [(ref, attempt) for attempt in range(latest.attempt, oldest - 1, -1)]
        entries = [self._synthesized_for(attempt) for attempt in made]
        for attempt, entry in zip(made, entries, strict=True):
            is_repeated = entry.is_end_repeated_by(event)
            if is_repeated or attempt == made[0]:
                self._plan.synthesized |= {attempt: rest} if (rest := entry.after(event)) is not entry else {}
            if is_repeated:
                break
        return entries

    def _apply_progress(self, ref: RunRef) -> None:
        if progress := self._progress.pop(ref, None):
            self._set_run(ref, apply_progress(self._latest(ref), progress))

    def _latest(self, ref: RunRef) -> Run | None:
        return self._plan.runs.get(ref) or self._stored.get(ref)

    def _set_run(self, ref: RunRef, run: Run) -> None:
        self._plan.runs[ref] = run
        self._changed_runs[ref, run.attempt] = run

    def _attempt(self, ref: RunRef) -> AttemptRef:
        latest = self._latest(ref)
        return ref, 1 if latest is None else latest.attempt

    def _any_synthesized(self) -> bool:
        return bool(self._plan.synthesized) or self._recent.has_synthesized

    def _synthesized_for(self, attempt: AttemptRef) -> Synthesized:
        if not self._any_synthesized():
            return NOTHING_SYNTHESIZED  # the usual case
        return self._plan.synthesized.get(attempt) or self._recent.synthesized_for(attempt)
