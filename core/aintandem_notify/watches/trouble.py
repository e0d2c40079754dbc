"""The events of watches, made of the trouble that was found, and of its end."""

from datetime import datetime
from typing import Any

from aintandem_notify.config.watch_config import WatchKind
from aintandem_notify.domain.events import (
    RunArrivedEvent,
    RunMissingEvent,
    RunMovingEvent,
    RunOverdueEvent,
    RunStalledEvent,
    RunTooFastEvent,
    RunWaitingEvent,
    WatchEvent,
)
from aintandem_notify.domain.runs import Run
from aintandem_notify.watches.durations import UsualDuration
from aintandem_notify.watches.missing import missed
from aintandem_notify.watches.timers import LATE_FROM, Finding, Sign, Timer
from aintandem_notify.watches.watch import Watch


def trouble_of_run(watch: Watch, timer: Timer, run: Run, finding: Finding, usual: UsualDuration) -> WatchEvent:
    """The event of trouble that a look at the run has found."""
    common: dict[str, Any] = {
        "timestamp": finding.at,
        "project_id": run.project_id,
        "watch": watch.name,
        "kind": run.kind.value,
        "about": run.id,
        "attempt": run.attempt,
        "late_by": finding.late_by,
        "seconds": finding.seconds,
    }
    match watch.kind:
        case WatchKind.STALLED:
            return RunStalledEvent(
                **common,
                no_progress=finding.sign is Sign.NO_PROGRESS,
                step=run.step,
                progress=run.progress,
                usual=usual.median,
            )
        case WatchKind.OVERDUE:
            allowed = finding.seconds - finding.late_by
            return RunOverdueEvent(
                **common, allowed=allowed, step=run.step, progress=run.progress, usual=usual.median
            )
        case _:
            return RunWaitingEvent(**common, state=run.state.value, reminder=timer.reminders)


def trouble_of_success(watch: Watch, run: Run, at: datetime, usual: UsualDuration) -> WatchEvent:
    """The event of a run that succeeded too soon."""
    return RunTooFastEvent(
        timestamp=at,
        project_id=run.project_id,
        watch=watch.name,
        kind=run.kind.value,
        about=run.id,
        attempt=run.attempt,
        seconds=run.duration or 0.0,
        allowed=watch.config.faster_than or 0.0,
        usual=usual.median,
    )


def trouble_of_expected_run(watch: Watch, timer: Timer, due_at: datetime, now: datetime) -> WatchEvent:
    """The event of a run that did not start in time; it was noticed ``now``."""
    expected_at = timer.expected_at or due_at
    late = now - due_at
    return RunMissingEvent(
        timestamp=due_at,
        project_id=timer.project_id,
        watch=watch.name,
        kind=watch.about,
        pattern=watch.pattern,
        expected_at=expected_at,
        last_at=timer.seen,
        missed=missed(watch.config, expected_at, now),
        late_by=0.0 if late < LATE_FROM else float(round(late.total_seconds())),
    )


def end_of_stall(watch: Watch, timer: Timer, run: Run, at: datetime) -> WatchEvent:
    """The event of a run that moves again. ``timer`` is that of its trouble."""
    fired_at = timer.fired_at or at
    return RunMovingEvent(
        timestamp=max(at, fired_at),
        project_id=run.project_id,
        watch=watch.name,
        kind=run.kind.value,
        about=run.id,
        attempt=run.attempt,
        trouble="run_stalled",
        seconds=max(0.0, (at - fired_at).total_seconds()),
        begun_by=timer.fired_key,
    )


def end_of_waiting_for(watch: Watch, timer: Timer, run: Run, at: datetime) -> WatchEvent:
    """The event of a run that was missing and has started. ``timer`` is that of its trouble."""
    expected_at = timer.expected_at or at
    return RunArrivedEvent(
        timestamp=max(at, timer.fired_at or at),
        project_id=run.project_id,
        watch=watch.name,
        kind=run.kind.value,
        about=run.id,
        attempt=run.attempt,
        pattern=watch.pattern,
        expected_at=expected_at,
        seconds=max(0.0, (at - expected_at).total_seconds()),
        begun_by=timer.fired_key,
    )
