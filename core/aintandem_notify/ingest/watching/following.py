"""Begins and ends the timers of watches as runs change, and finds the trouble that ends with a change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from aintandem_notify.config.watch_config import WatchKind
from aintandem_notify.domain.events import WatchEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import TERMINAL_STATES, Run, RunRef, RunState
from aintandem_notify.ingest.watching.changes import RunChange
from aintandem_notify.ingest.watching.history import DurationHistory
from aintandem_notify.store import Store
from aintandem_notify.watches.missing import arrived
from aintandem_notify.watches.timers import Sign, Timer, look_at_stalled, new_timer, ref_of
from aintandem_notify.watches.trouble import end_of_stall, end_of_waiting_for, trouble_of_success
from aintandem_notify.watches.watch import Watch

FoundEvent = tuple[WatchEvent, Run, Project]
"""An event of a watch, the run that it is about, and its project."""


@dataclass(slots=True)
class Followed:
    """The timers to write, all timers to delete of some runs, single ones to delete, and the events."""

    timers: list[Timer] = field(default_factory=list)
    emptied: set[RunRef] = field(default_factory=set)
    deleted: list[Timer] = field(default_factory=list)
    events: list[FoundEvent] = field(default_factory=list)

    def write(self, store: Store) -> None:
        """Write the timers."""
        store.watch_timers.delete_of_runs(self.emptied)
        store.watch_timers.delete(self.deleted)
        store.watch_timers.write(self.timers)


class Following:
    """The watches of a config as they follow the changes of one transaction of ``store``."""

    def __init__(self, store: Store, watches: Sequence[Watch], history: DurationHistory, now: datetime) -> None:
        self._store = store
        self._now = now
        self._history = history
        self._timed = [watch for watch in watches if watch.has_timers]
        self._expecting = [watch for watch in watches if watch.kind is WatchKind.MISSING]
        self._quick = [watch for watch in watches if watch.kind is WatchKind.TOO_FAST]
        self._result = Followed()

    def follow(self, changes: Sequence[RunChange], stalled: Sequence[RunChange]) -> Followed:
        """Follow changes of state, and of runs that were stalled when they were looked at last."""
        latest = {change.run.ref: change for change in changes}
        moved: dict[RunRef, RunChange] = {change.run.ref: change for change in stalled}
        for change in latest.values():
            if change.run.state in TERMINAL_STATES:
                self._end(change)
            elif (
                change.before is None or not change.is_of_same_attempt or (change.before.state in TERMINAL_STATES)
            ):
                self._begin(change)
            else:
                moved[change.run.ref] = change
        self._move(moved)
        if self._expecting:
            self._arrive([change for change in changes if change.has_begun])
        for change in changes:
            if change.has_succeeded:
                self._succeed(change)
        return self._result

    def _end(self, change: RunChange) -> None:
        if self._timed and change.may_have_timers:
            self._result.emptied.add(change.run.ref)

    def _begin(self, change: RunChange) -> None:
        if change.may_have_timers:  # of the attempt before, which has ended in this transaction
            self._result.emptied.add(change.run.ref)
        self._result.timers += [self._new_timer(watch, change) for watch in self._wanted(change)]

    def _wanted(self, change: RunChange) -> list[Watch]:
        """The watches that want a timer for the run in its state."""
        run, project = change.run, change.project
        return [watch for watch in self._timed if watch.times(run) and watch.is_for(run, project)]

    def _new_timer(self, watch: Watch, change: RunChange) -> Timer:
        allowed_s = None
        if watch.config.slower_than is not None:
            allowed_s = self._history.usual(self._store, change.run).allowed_s(watch.config.slower_than)
        return new_timer(
            watch.config,
            watch.hash,
            change.run,
            change.project.name,
            self._now,
            lag_s=change.lag_s,
            allowed_s=allowed_s,
        )

    def _move(self, moved: Mapping[RunRef, RunChange]) -> None:
        """Compare the timers of the runs with those that they need now."""
        if not moved:
            return
        by_ref: dict[RunRef, dict[str, Timer]] = {ref: {} for ref in moved}
        for stored in self._store.watch_timers.of_runs(moved):
            by_ref[ref_of(stored)][stored.watch] = stored
        for ref, change in moved.items():
            for watch in self._timed:
                timer = by_ref[ref].get(watch.name)
                if timer is not None and watch.kind is WatchKind.STALLED and timer.fired_at is not None:
                    self._move_on(watch, timer, change)
                elif watch.times(change.run) and watch.is_for(change.run, change.project):
                    if timer is None or timer.attempt != change.run.attempt:
                        self._result.timers.append(self._new_timer(watch, change))
                elif timer is not None:
                    self._result.deleted.append(timer)
            names = {watch.name for watch in self._timed}
            self._result.deleted += [timer for name, timer in by_ref[ref].items() if name not in names]

    def _move_on(self, watch: Watch, timer: Timer, change: RunChange) -> None:
        """Look at a stalled run that has changed. One that is paused is not moving yet."""
        run = change.run
        if run.state is RunState.PAUSED:
            return
        if not watch.times(run):
            self._result.deleted.append(timer)
            return
        if change.is_of_state and timer.sign == Sign.NO_PROGRESS:
            self._add_end(watch, timer, change)
            self._result.timers.append(self._new_timer(watch, change))
            return
        look = look_at_stalled(watch.config, timer, run, self._now, blind=_nothing_missed, child_moved=None)
        if look.has_moved and look.timer is not None:
            self._add_end(watch, timer, change)
            other_trouble = look.finding is not None
            self._result.timers.append(replace(look.timer, due_at=self._now) if other_trouble else look.timer)

    def _add_end(self, watch: Watch, timer: Timer, change: RunChange) -> None:
        at = change.time(change.run.updated_at, self._now)
        self._result.events.append((end_of_stall(watch, timer, change.run, at), change.run, change.project))

    def _arrive(self, begun: Sequence[RunChange]) -> None:
        arrivals = [
            (watch, change)
            for change in begun
            for watch in self._expecting
            if watch.is_for(change.run, change.project)
        ]
        if not arrivals:
            return
        timers = {
            (timer.watch, timer.project_id): timer
            for timer in self._store.watch_timers.of_expected_runs(change.project.id for _, change in arrivals)
        }
        before = dict(timers)
        for watch, change in arrivals:
            key = (watch.name, change.project.id)
            if (timer := timers.get(key)) is None:
                continue  # it begins with the next look at the project
            at = change.time(change.run.started_at or change.run.updated_at, self._now)
            timers[key] = arrived(watch.config, timer, at)
            if timer.fired_at is not None and timers[key].fired_at is None:
                event = end_of_waiting_for(watch, timer, change.run, at)
                self._result.events.append((event, change.run, change.project))
        self._result.timers += [timer for key, timer in timers.items() if timer != before[key]]

    def _succeed(self, change: RunChange) -> None:
        run = change.run
        for watch in self._quick:
            limit = watch.config.faster_than or 0.0
            if run.duration is not None and run.duration < limit and watch.is_for(run, change.project):
                usual = self._history.usual(self._store, run)
                at = change.time(run.ended_at, self._now)
                event = trouble_of_success(watch, run, at, usual)
                self._result.events.append((event, run, change.project))
        self._history.note_end(run)


def _nothing_missed(_since: datetime, _until: datetime) -> float:
    """No time: a run that has just moved was heard."""
    return 0.0
