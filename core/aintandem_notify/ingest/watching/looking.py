"""Looks at the runs whose timers are due, inside one transaction of the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from aintandem_notify.config.watch_config import WatchKind
from aintandem_notify.domain.events import Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import TERMINAL_STATES, Run, RunRef
from aintandem_notify.ingest.watching.history import DurationHistory
from aintandem_notify.ingest.watching.reports import WatchReports
from aintandem_notify.store import Store
from aintandem_notify.watches.timers import (
    Finding,
    Look,
    Timer,
    fired,
    look_at_overdue,
    look_at_stalled,
    look_at_waiting,
    ref_of,
)
from aintandem_notify.watches.trouble import end_of_stall, trouble_of_expected_run, trouble_of_run
from aintandem_notify.watches.watch import Watch

MAX_LOOKS: Final = 200
"""Timers that are looked at in one transaction; the others follow in the next one."""


@dataclass(slots=True)
class Looked:
    """The number of timers that were looked at, the trouble that was told, and the projects that are not heard."""

    count: int = 0
    told: set[RunRef] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)


class Looking:
    """The watches ``by_name`` at one moment. ``is_caught_up``: no event of the project is missing."""

    def __init__(
        self,
        store: Store,
        by_name: Mapping[str, Watch],
        history: DurationHistory,
        *,
        now: datetime,
        is_caught_up: Callable[[str], bool],
        project_of: Callable[[Timer], Project],
        reports: WatchReports,
    ) -> None:
        self._store = store
        self._by_name = by_name
        self._history = history
        self._now = now
        self._is_caught_up = is_caught_up
        self._project_of = project_of
        self._reports = reports
        self._last_blind: dict[str, datetime | None] = {}
        self._written: list[Timer] = []
        self._deleted: list[Timer] = []
        self._result = Looked()

    def look(self, timers: Sequence[Timer]) -> Looked:
        """Look at timers that are due, in their order, until something else is due before the next of them."""
        for project_id in {timer.project_id for timer in timers}:
            if not self._is_caught_up(project_id):
                self._store.watch_timers.park(project_id, self._now)
                self._result.parked.add(project_id)
        runs = self._store.journal.latest_runs(
            ref_of(timer) for timer in timers if timer.run_id and timer.project_id not in self._result.parked
        )
        for timer in timers:
            if self._reports.is_due_before(timer.due_at or self._now):
                break
            self._result.count += 1
            if timer.project_id in self._result.parked:
                continue
            watch = self._by_name.get(timer.watch)
            if watch is None or watch.hash != timer.config:
                self._deleted.append(timer)  # of another agent's config
            elif timer.run_id == "":
                self._look_at_expected(watch, timer)
            else:
                self._look_at_run(watch, timer, runs.get(ref_of(timer)))
        self._store.watch_timers.delete(self._deleted)
        self._store.watch_timers.write(self._written)
        return self._result

    def _look_at_expected(self, watch: Watch, timer: Timer) -> None:
        due_at = timer.due_at or self._now
        event = trouble_of_expected_run(watch, timer, due_at, self._now)
        self._reports.report(event, None, self._project_of(timer))
        self._written.append(fired(watch.config, timer, Finding(due_at, 0.0, event.late_by), event.key, self._now))

    def _look_at_run(self, watch: Watch, timer: Timer, run: Run | None) -> None:
        if run is None or run.state in TERMINAL_STATES or run.attempt != timer.attempt:
            self._deleted.append(timer)
            return
        if not watch.times(run):
            if timer.fired_at is not None:  # a stalled run is paused: it may move when it is resumed
                self._written.append(replace(timer, due_at=None))
            else:
                self._deleted.append(timer)
            return
        look = self._judge(watch, timer, run)
        if look.has_moved:
            self._reports.report(end_of_stall(watch, timer, run, self._now), run, self._project_of(timer))
        if look.finding is None:
            if look.timer is not None:
                self._written.append(look.timer)
            return
        event = trouble_of_run(watch, timer, run, look.finding, self._history.usual(self._store, run))
        self._reports.report(event, run, self._project_of(timer))
        self._result.told.add(run.ref)
        self._written.append(fired(watch.config, look.timer or timer, look.finding, event.key, self._now))

    def _judge(self, watch: Watch, timer: Timer, run: Run) -> Look:
        match watch.kind:
            case WatchKind.STALLED:
                return look_at_stalled(
                    watch.config,
                    timer,
                    run,
                    self._now,
                    blind=partial(self._blind_s, run.project_id),
                    child_moved=self._child_moved(run),
                )
            case WatchKind.OVERDUE:
                allowed_s = None
                if watch.config.slower_than is not None:
                    allowed_s = self._history.usual(self._store, run).allowed_s(watch.config.slower_than)
                return look_at_overdue(watch.config, timer, self._now, allowed_s)
            case _:
                return look_at_waiting(timer, self._now)

    def _child_moved(self, run: Run) -> datetime | None:
        if run.kind is not Family.WORKFLOW:
            return None
        ids = [name for name in (run.workflow_id, run.id) if name is not None]
        return self._store.watched_runs.tasks_moved_at(run.project_id, ids)

    def _blind_s(self, project_id: str, since: datetime, until: datetime) -> float:
        if project_id not in self._last_blind:
            self._last_blind[project_id] = self._store.blind_times.last_end(project_id)
        last_end = self._last_blind[project_id]
        if last_end is None or last_end <= since:
            return 0.0  # nearly always
        return self._store.blind_times.seconds(project_id, since, until)
