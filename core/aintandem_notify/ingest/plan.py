"""What a batch of events does to the journal, the runs and the outbox, as a function of values."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from aintandem_notify.events import WIRE_FAMILIES, ConnectionConnectedEvent, Event
from aintandem_notify.notification import Notification, Project
from aintandem_notify.runs import PROGRESS_TYPES, Run, RunRef, absorb, advance, run_ref
from aintandem_notify.store import Changes


class Routed(Protocol):
    """A notification and where it goes."""

    @property
    def notification(self) -> Notification: ...
    @property
    def destinations(self) -> tuple[str, ...]: ...


class Router(Protocol):
    """The rules: what is told to whom."""

    def concerns(self, event_type: str) -> bool:
        """False when no rule can match events of this type."""
        ...

    def route(self, event: Event, run: Run | None, project: Project | None, now: datetime) -> Sequence[Routed]:
        """The notifications that the event leads to; empty when no rule matches."""
        ...


@dataclass(frozen=True, slots=True)
class Handed:
    """Events of one project (None: of the agent) in the order they came."""

    project: Project | None
    events: Sequence[Event]


@dataclass(slots=True)
class Plan:
    """What to write; ``fresh`` are the events that were not known, each with its project, for live hooks."""

    changes: Changes = field(default_factory=Changes)
    fresh: list[tuple[Event, Project | None]] = field(default_factory=list)
    runs: dict[RunRef, Run] = field(default_factory=dict)
    """The latest attempt of every run that moved."""
    woken: set[str] = field(default_factory=set)
    """Destinations that have something to deliver."""


def halves(batch: Iterable[Handed]) -> tuple[list[Handed], list[Handed]] | None:
    """The batch in two, in its order; None when it has only one event."""
    single = [Handed(handed.project, [event]) for handed in batch for event in handed.events]
    if len(single) < 2:
        return None
    return single[: len(single) // 2], single[len(single) // 2 :]


def is_passing(event: Event, router: Router) -> bool:
    """Whether the event only moves its run: progress that no rule asks for."""
    return event.type in PROGRESS_TYPES and not router.concerns(event.type)


def plan(
    batch: Iterable[Handed],
    *,
    router: Router,
    runs: Mapping[RunRef, Run],
    known: Set[str],
    seen_until: Mapping[str, datetime],
    now: datetime,
) -> Plan:
    """What the batch leads to.

    ``runs`` has the latest attempt of the runs that the batch is about, where there is one; ``known`` the keys
    of its events that are journaled; ``seen_until`` every project that has been seen.
    """
    planner = _Planner(router, runs, set(known), now)
    for handed in batch:
        for event in handed.events:
            planner.take(event, handed.project)
    return planner.finish(seen_until)


class _Planner:
    """Takes one event after the other; a run's passing events are held until something else needs the run."""

    def __init__(self, router: Router, runs: Mapping[RunRef, Run], known: set[str], now: datetime) -> None:
        self._router = router
        self._stored = runs
        self._known = known
        self._now = now
        self._plan = Plan()
        self._moved: dict[tuple[RunRef, int], Run] = {}
        self._passing: dict[RunRef, list[Event]] = {}
        self._seen: dict[str, datetime] = {}
        self._connected: dict[str, datetime] = {}

    def take(self, event: Event, project: Project | None) -> None:
        """Everything that one event does."""
        ref = run_ref(event)
        if ref is not None and is_passing(event, self._router):
            self._passing.setdefault(ref, []).append(event)
        elif event.key in self._known:
            return
        else:
            self._known.add(event.key)
            self._journal(event, ref, project)
        self._plan.fresh.append((event, project))
        self._see(event)

    def finish(self, seen_until: Mapping[str, datetime]) -> Plan:
        """The plan, complete."""
        for ref in list(self._passing):
            self._absorb(ref)
        changes = self._plan.changes
        for (ref, attempt), run in self._moved.items():
            stored = self._stored.get(ref)
            is_new = stored is None or attempt > stored.attempt
            (changes.new_runs if is_new else changes.moved_runs).append(run)
        for project, moment in self._seen.items():
            if project not in seen_until:
                changes.new_projects[project] = moment
            elif moment > seen_until[project]:
                changes.seen_until[project] = moment
        for project, moment in self._connected.items():
            # A first connection is where watching begins. A later one does not close the gap before it.
            if project not in seen_until:
                changes.new_projects.setdefault(project, moment)
        return self._plan

    def _journal(self, event: Event, ref: RunRef | None, project: Project | None) -> None:
        run, repeated = (None, False) if ref is None else self._advance(ref, event)
        routed = (
            self._router.route(event, run, project, self._now)
            if not repeated and self._router.concerns(event.type)
            else ()
        )
        changes = self._plan.changes
        for sent in routed:
            changes.notifications.append((sent.notification, sent.destinations))
            self._plan.woken.update(sent.destinations)
        if routed or event.type not in PROGRESS_TYPES:
            changes.events.append(event)

    def _advance(self, ref: RunRef, event: Event) -> tuple[Run, bool]:
        self._absorb(ref)
        run, repeated = advance(self._latest(ref), event)
        if not repeated:
            self._move(ref, run)
        return run, repeated

    def _absorb(self, ref: RunRef) -> None:
        if passing := self._passing.pop(ref, None):
            self._move(ref, absorb(self._latest(ref), passing))

    def _latest(self, ref: RunRef) -> Run | None:
        return self._plan.runs.get(ref) or self._stored.get(ref)

    def _move(self, ref: RunRef, run: Run) -> None:
        self._plan.runs[ref] = run
        self._moved[ref, run.attempt] = run

    def _see(self, event: Event) -> None:
        if event.project_id is None:
            return
        # The orchestrator's clock may run ahead of ours: what it dates into the future is seen now.
        moment = min(event.timestamp, self._now)
        if event.family in WIRE_FAMILIES:
            seen = self._seen.get(event.project_id)
            if seen is None or moment > seen:
                self._seen[event.project_id] = moment
        elif isinstance(event, ConnectionConnectedEvent):
            self._connected[event.project_id] = moment
