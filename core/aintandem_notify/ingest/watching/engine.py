"""The watches of the agent: no task a timer, but one table of timers, looked at when the first of them is due."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Final

from aintandem_notify.config.watch_config import WatchKind
from aintandem_notify.domain.event_redaction import redact_event, redact_project
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run, RunRef
from aintandem_notify.ingest.plan import EventRouter, Plan, Submission
from aintandem_notify.ingest.staging import Staging
from aintandem_notify.ingest.watching.changes import RunChange, run_changes
from aintandem_notify.ingest.watching.following import Following, FoundEvent
from aintandem_notify.ingest.watching.history import DurationHistory
from aintandem_notify.ingest.watching.looking import MAX_LOOKS, Looked, Looking
from aintandem_notify.ingest.watching.reports import WatchReports
from aintandem_notify.store import Store
from aintandem_notify.watches.durations import UsualDuration
from aintandem_notify.watches.missing import first_timer
from aintandem_notify.watches.timers import Timer, new_timer, ref_of
from aintandem_notify.watches.watch import Watch

MAX_KNOWN_STALLED: Final = 10_000
"""Runs with trouble that are remembered; with more, the store is asked about each run that moves."""

MAX_COMPARED: Final = 500
"""Open runs that one transaction compares with new watches."""

LOOK_EVERY_S: Final = 60.0
"""Seconds after which the time is looked at again: the clock may have been set."""

PARKED_LOOK_EVERY_S: Final = 1.0
"""The same while timers are due of projects that are not caught up."""


class Watching:
    """The timers of the watches. ``use`` replaces the watches.

    Each method that takes a ``store`` is called inside a transaction of it.
    """

    def __init__(self) -> None:
        self._new_events: list[tuple[Event, Project | None]] = []
        self._watches: Sequence[Watch] = ()
        self._by_name: Mapping[str, Watch] = {}
        self._history = DurationHistory()
        self._projects: dict[str, Project] = {}
        self._to_compare: dict[str, tuple[str, str] | None] = {}
        """The projects whose open runs are to be compared with the watches, each with the last run that was."""
        self._stalled: set[RunRef] | None = None
        """The runs whose trouble was told, and perhaps more; None: the store has to be asked."""
        self._has_read_stalled = False
        self._parked: set[str] = set()
        self._has_read_parked = False
        self._has_kept_only = False
        self._next_due: datetime | None = None
        self._must_look = True
        self._has_failed = False
        self._generation = 0

    def use(self, watches: Sequence[Watch]) -> None:
        """Apply these watches from the next transaction on, also to runs that are open."""
        self._watches = watches
        self._by_name = {watch.name: watch for watch in watches}
        self.start_again()

    def expect(self, projects: Iterable[Project]) -> None:
        """Note that these projects are watched from now on, though nothing may have happened in them yet."""
        for project in projects:
            if self._projects.get(project.id) != project:
                self._projects[project.id] = project
                self._to_compare[project.id] = None

    def start_again(self) -> None:
        """Read all from the store that is remembered: a transaction may have failed."""
        self._generation += 1
        self._to_compare = dict.fromkeys(self._projects)
        self._has_read_stalled = self._has_read_parked = self._has_kept_only = False
        self._must_look = True

    def take_over(self, project_ids: Iterable[str]) -> None:
        """Note that another agent may have watched these projects until now."""
        self._has_read_stalled = self._has_read_parked = self._has_kept_only = False
        self._to_compare |= dict.fromkeys(project_id for project_id in project_ids if project_id in self._projects)
        self._must_look = True

    def take_new_events(self) -> list[tuple[Event, Project | None]]:
        """The events of the last looks, without secrets, for live hooks; each is given once."""
        taken, self._new_events = self._new_events, []
        return [(redact_event(event), project and redact_project(project)) for event, project in taken]

    def seconds_to_next(self, now: datetime, is_caught_up: Callable[[str], bool]) -> float:
        """Seconds until a run has to be looked at, or the clock again; infinite without any watch."""
        if self._must_look:
            return 0.0
        if not self._watches:
            return math.inf
        if self._to_compare or any(map(is_caught_up, self._parked)):
            return 0.0
        pause_s = PARKED_LOOK_EVERY_S if self._parked else LOOK_EVERY_S
        if self._next_due is not None:
            pause_s = min(pause_s, (self._next_due - now).total_seconds())
        return max(0.0, pause_s)

    # In the transactions that store events.

    def follow(
        self, store: Store, planned: Plan, before: Mapping[RunRef, Run], batch: Sequence[Submission], now: datetime
    ) -> list[FoundEvent]:
        """Follow the changes of runs; ``before``: the runs as they were. Returns the events that this leads to."""
        projects = {item.project.id: item.project for item in batch if item.project is not None}
        self.expect(projects.values())
        self._note_blind_times(store, batch, now)
        if not self._watches:
            return []
        changes = list(run_changes(planned, before, projects, now))
        of_state = [change for change in changes if change.is_of_state]
        stalled = self._stalled_of(store, [change for change in changes if not change.is_of_state])
        if not of_state and not stalled:
            return []
        followed = Following(store, self._watches, self._history, now).follow(of_state, stalled)
        followed.write(store)
        self._note_due(timer.due_at for timer in followed.timers)
        return [found for found in followed.events if not store.journal.journaled_keys([found[0]])]

    def _note_blind_times(self, store: Store, batch: Sequence[Submission], now: datetime) -> None:
        """Note that projects have been caught up, before the mark up to which they were heard is moved."""
        for item in batch:
            if item.project is None or item.project.id not in item.seen_until:
                continue
            progress = store.journal.watch_progress([item.project.id]).get(item.project.id)
            if progress is not None and progress.seen_until < now:
                store.blind_times.add(item.project.id, progress.seen_until, now)

    def _stalled_of(self, store: Store, changes: Sequence[RunChange]) -> list[RunChange]:
        """Those of the changes whose run has trouble that was told."""
        if not changes:
            return []
        if not self._has_read_stalled:
            self._stalled = store.watch_timers.fired_refs(MAX_KNOWN_STALLED)
            self._has_read_stalled = True
        known = self._stalled
        if known is not None:
            changes = [change for change in changes if change.run.ref in known]
        if not changes:
            return []
        refs = {ref_of(timer) for timer in store.watch_timers.fired_of_runs(change.run.ref for change in changes)}
        if known is not None:
            known -= {change.run.ref for change in changes} - refs
        return [change for change in changes if change.run.ref in refs]

    def _note_due(self, times: Iterable[datetime | None]) -> None:
        for moment in times:
            if moment is not None and (self._next_due is None or moment < self._next_due):
                self._next_due = moment

    # In the transactions that look at runs.

    def look(
        self,
        store: Store,
        router: EventRouter,
        staging: Staging,
        now: datetime,
        is_caught_up: Callable[[str], bool],
    ) -> set[str]:
        """Compare runs with new watches, and look at those whose timers are due; returns the destinations told.

        ``staging`` releases all that is due before each of them.
        """
        generation = self._generation
        if self._has_failed:
            self._has_failed = False
            self._to_compare = dict.fromkeys(self._projects)
        self._unpark(store, is_caught_up)
        self._compare(store, now)
        destinations: set[str] = set()
        due = store.watch_timers.due(now, limit=MAX_LOOKS)
        while due:
            fired = staging.fire(due[0].due_at or now)
            destinations |= fired.destinations
            if fired.more:
                break
            hold_at = staging.read_next_due()
            batch = due if hold_at is None else list(takewhile(partial(_is_due_by, hold_at), due))
            reports = WatchReports(store, router, staging, now)
            looking = Looking(
                store,
                self._by_name,
                self._history,
                now=now,
                is_caught_up=is_caught_up,
                project_of=self._project_of,
                reports=reports,
            )
            looked = looking.look(batch or due[:1])
            destinations |= reports.write()
            self._new_events += reports.new_events
            self._note_looked(looked)
            due = due[looked.count :]
        self._next_due = store.watch_timers.next_due()
        self._must_look = self._generation != generation  # ``use`` is called by another thread
        return destinations

    def _note_looked(self, looked: Looked) -> None:
        self._parked |= looked.parked
        if self._stalled is not None:
            self._stalled |= looked.told
            self._has_read_stalled = self._has_read_stalled and len(self._stalled) <= MAX_KNOWN_STALLED

    def postpone(self, store: Store, now: datetime, until: datetime) -> None:
        """Look at the timers that are due now only at ``until``: a look at them has failed."""
        store.watch_timers.postpone(now, until)
        self._next_due = until
        self._to_compare = {}
        self._must_look = False
        self._has_failed = True

    def _project_of(self, timer: Timer) -> Project:
        known = self._projects.get(timer.project_id)
        return known or Project(id=timer.project_id, name=timer.project_name or timer.project_id)

    def _unpark(self, store: Store, is_caught_up: Callable[[str], bool]) -> None:
        if not self._has_read_parked:
            self._parked = store.watch_timers.parked_projects()
            self._has_read_parked = True
        for project_id in [project_id for project_id in self._parked if is_caught_up(project_id)]:
            store.watch_timers.unpark(project_id)
            self._parked.discard(project_id)

    def _compare(self, store: Store, now: datetime) -> None:
        """Compare some of the open runs with the watches: a watch may be new, or has been changed."""
        if not self._has_kept_only:
            store.watch_timers.keep_only({watch.name: watch.hash for watch in self._watches})
            self._has_kept_only = True
        left, to_compare = MAX_COMPARED, self._to_compare
        while to_compare and left > 0 and self._watches:
            project_id, after = next(iter(to_compare.items()))
            project = self._projects[project_id]
            if after is None:
                self._expect(store, project, now)
            refs = store.watched_runs.open_refs(project_id, after=after, limit=left)
            self._begin_timers(store, project, refs, now)
            if len(refs) < left:
                del to_compare[project_id]
            else:
                to_compare[project_id] = (refs[-1].kind.value, refs[-1].id)
            left -= len(refs)

    def _expect(self, store: Store, project: Project, now: datetime) -> None:
        known = {timer.watch for timer in store.watch_timers.of_expected_runs([project.id])}
        store.watch_timers.write(
            [
                first_timer(
                    watch.config,
                    watch.hash,
                    project_id=project.id,
                    project_name=project.name,
                    about=watch.about,
                    now=now,
                )
                for watch in self._watches
                if watch.kind is WatchKind.MISSING and watch.name not in known and watch.is_for_project(project)
            ]
        )

    def _begin_timers(self, store: Store, project: Project, refs: Sequence[RunRef], now: datetime) -> None:
        known = {(*ref_of(timer), timer.watch) for timer in store.watch_timers.of_runs(refs)}
        store.watch_timers.write(
            [
                self._timer_of_open_run(store, watch, run, project, now)
                for run in store.journal.latest_runs(refs).values()
                for watch in self._watches
                if watch.has_timers and watch.times(run) and watch.is_for(run, project)
                if (*run.ref, watch.name) not in known
            ]
        )

    def _timer_of_open_run(self, store: Store, watch: Watch, run: Run, project: Project, now: datetime) -> Timer:
        usual = UsualDuration() if watch.config.slower_than is None else self._history.usual(store, run)
        allowed_s = usual.allowed_s(watch.config.slower_than)
        return new_timer(watch.config, watch.hash, run, project.name, now, allowed_s=allowed_s, was_there=True)


def _is_due_by(moment: datetime, timer: Timer) -> bool:
    return timer.due_at is not None and timer.due_at <= moment
