"""The timer of a watch for one run, or for the runs of a project that are to come: when it begins, and its end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from aintandem_notify.config.watch_config import WatchConfig, WatchKind
from aintandem_notify.domain.events import Family
from aintandem_notify.domain.runs import Run, RunRef, RunState
from aintandem_notify.foundation.clock import EPOCH

LATE_FROM: Final = timedelta(seconds=60)
"""Trouble that is found sooner than this after it was due counts as found in time."""

MAX_LIVE_LAG: Final = timedelta(minutes=10)
"""A live event this much older than its arrival comes from a clock that is wrong, or has waited here for long."""

LOOK_AGAIN: Final = timedelta(seconds=60)
"""The pause between two looks at a stalled workflow: a task of it may work again."""


class Sign(StrEnum):
    """The sign by which a stalled run was found."""

    SILENCE = "silence"
    NO_PROGRESS = "no_progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """The timer of a watch. All times are by our clock, except those of the run.

    The clock of the watch counts from ``since``. ``seen`` is the run's last movement when that was set; a stalled
    run has both a second time, for its progress. A run's own times plus ``lag_s`` are times of our clock. It is
    looked at when it is due; ``due_at`` None: when the run changes. ``fired_at`` is the time of its trouble, which
    was told with the event ``fired_key`` and ``reminders`` reminders. ``is_parked``: nothing was heard of its
    project when it was due.

    A timer for runs that are to come has no ``run_id``; one is expected at ``expected_at``.
    """

    watch: str
    config: str
    project_id: str
    project_name: str
    kind: str
    run_id: str
    attempt: int
    since: datetime
    seen: datetime | None = None
    progress_since: datetime | None = None
    progress_seen: datetime | None = None
    expected_at: datetime | None = None
    lag_s: float = 0.0
    due_at: datetime | None = None
    fired_at: datetime | None = None
    fired_key: str = ""
    sign: str = ""
    reminders: int = 0
    is_parked: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its identity in the store."""
        return (self.project_id, self.kind, self.run_id, self.watch)


def ref_of(timer: Timer) -> RunRef:
    """The run of a timer."""
    return RunRef(timer.project_id, Family(timer.kind), timer.run_id)


def our_time(moment: datetime | None, lag_s: float, *, no_later_than: datetime) -> datetime | None:
    """A time of the orchestrator by our clock; None for one that cannot be right: none, before 1970, or future."""
    if moment is None or moment < EPOCH:
        return None
    try:
        ours = moment + timedelta(seconds=lag_s)
    except OverflowError:
        return None
    return ours if EPOCH <= ours <= no_later_than else None


def lag_of(event_time: datetime | None, received_at: datetime, *, is_live: bool) -> float:
    """Seconds by which the orchestrator's clock seems to be behind ours; negative if it is ahead.

    A caught-up event tells nothing about it. Less than ten minutes behind may also be the way of the event.
    """
    if not is_live or event_time is None:
        return 0.0
    lag = received_at - event_time
    return lag.total_seconds() if lag < timedelta(0) or lag > MAX_LIVE_LAG else 0.0


def new_timer(
    config: WatchConfig,
    config_hash: str,
    run: Run,
    project_name: str,
    now: datetime,
    *,
    lag_s: float = 0.0,
    allowed_s: float | None = None,
    was_there: bool = False,
) -> Timer:
    """The timer of the watch for a run that has just come into its state, or ``was_there`` before the watch.

    ``allowed_s``: seconds that an overdue watch allows it by its history, None for no limit by that.
    """
    entered = run.started_at if config.kind is WatchKind.OVERDUE else run.updated_at
    if config.kind is WatchKind.QUEUED:
        entered = run.created_at or run.updated_at
    since = our_time(entered, lag_s, no_later_than=now) or now
    timer = Timer(
        watch=config.name,
        config=config_hash,
        project_id=run.project_id,
        project_name=project_name,
        kind=run.kind.value,
        run_id=run.id,
        attempt=run.attempt,
        since=since,
        lag_s=lag_s,
    )
    match config.kind:
        case WatchKind.STALLED:
            progressed = run.progressed_at or run.started_at if was_there else None
            moved = our_time(progressed, lag_s, no_later_than=since) or since
            timer = replace(timer, seen=run.updated_at, progress_since=moved, progress_seen=run.progressed_at)
            return replace(timer, due_at=_stalled_due(config, timer))
        case WatchKind.OVERDUE:
            return replace(timer, due_at=overdue_at(config, timer, allowed_s))
        case _:
            return replace(timer, due_at=since + timedelta(seconds=config.waiting_for or 0.0))


def _stalled_due(config: WatchConfig, timer: Timer) -> datetime:
    """When the run is stalled if nothing more comes, and all is heard."""
    times = []
    if config.silent_for is not None:
        times.append(timer.since + timedelta(seconds=config.silent_for))
    if config.no_progress_for is not None:
        times.append((timer.progress_since or timer.since) + timedelta(seconds=config.no_progress_for))
    return min(times)


def limit_s(config: WatchConfig, allowed_s: float | None) -> float | None:
    """Seconds that a run may take; None for no limit."""
    limits = [limit for limit in (config.running_for, allowed_s) if limit is not None]
    return min(limits, default=None)


def overdue_at(config: WatchConfig, timer: Timer, allowed_s: float | None) -> datetime | None:
    """When the run is overdue; None without a limit."""
    limit = limit_s(config, allowed_s)
    return None if limit is None else timer.since + timedelta(seconds=limit)


class Finding(NamedTuple):
    """Trouble that was found: when it began to count, and how long it had lasted by then, in seconds."""

    at: datetime
    seconds: float
    late_by: float
    sign: Sign = Sign.SILENCE


class Look(NamedTuple):
    """The result of a look at a run: its timer now, None for none, and the trouble, if any.

    ``has_moved``: trouble that was told is over.
    """

    timer: Timer | None
    finding: Finding | None = None
    has_moved: bool = False


def _found(due_at: datetime, seconds: float, now: datetime, sign: Sign = Sign.SILENCE) -> Finding:
    """The finding as of its due time; if that is long past, as of now."""
    late = now - due_at
    if late < LATE_FROM:
        return Finding(due_at, seconds, 0.0, sign)
    late_s = float(round(late.total_seconds()))
    return Finding(due_at, seconds + late_s, late_s, sign)


Blind = Callable[[datetime, datetime], float]
"""Seconds between two times in which nothing could be heard of the project."""


def look_at_stalled(
    config: WatchConfig, timer: Timer, run: Run, now: datetime, *, blind: Blind, child_moved: datetime | None
) -> Look:
    """Look at a running run. ``child_moved``: the orchestrator's time of the last movement of a task of it."""
    seen = max((moment for moment in (run.updated_at, child_moved) if moment is not None), default=None)
    progress = run.progressed_at if child_moved is None else seen
    moved = replace(
        timer,
        since=_moved_at(timer.since, timer.seen, seen, timer.lag_s, now),
        seen=seen,
        progress_since=_moved_at(
            timer.progress_since or timer.since, timer.progress_seen, progress, timer.lag_s, now
        ),
        progress_seen=progress,
    )
    if timer.fired_at is not None:
        is_over = progress != timer.progress_seen if timer.sign == Sign.NO_PROGRESS else seen != timer.seen
        if not is_over:
            again = now + LOOK_AGAIN if timer.due_at is not None else None
            return Look(replace(timer, due_at=again))
        moved = replace(moved, fired_at=None, fired_key="", sign="")
    look = _judge_stalled(config, moved, now, blind)
    return look._replace(has_moved=timer.fired_at is not None)


def _moved_at(
    since: datetime, seen_before: datetime | None, seen: datetime | None, lag_s: float, now: datetime
) -> datetime:
    """Our time of the last movement. One with an impossible time counts as just now: no false alarm."""
    if seen == seen_before:
        return since
    moment = our_time(seen, lag_s, no_later_than=now)
    return now if moment is None or moment < since else moment


def _judge_stalled(config: WatchConfig, timer: Timer, now: datetime, blind: Blind) -> Look:
    clocks = (
        (Sign.SILENCE, config.silent_for, timer.since),
        (Sign.NO_PROGRESS, config.no_progress_for, timer.progress_since or timer.since),
    )
    dues: list[datetime] = []
    for sign, allowed_s, since in clocks:
        if allowed_s is None:
            continue
        left_s = allowed_s - ((now - since).total_seconds() - blind(since, now))
        due_at = now + timedelta(seconds=left_s)
        if left_s <= _ROUNDING_S:
            return Look(timer, _found(min(due_at, now), allowed_s, now, sign))
        dues.append(due_at)
    return Look(replace(timer, due_at=min(dues)))


_ROUNDING_S: Final = 1e-3


def look_at_overdue(config: WatchConfig, timer: Timer, now: datetime, allowed_s: float | None) -> Look:
    """Look at a run that has not ended."""
    due_at = overdue_at(config, timer, allowed_s)
    if timer.fired_at is not None or due_at is None or due_at > now:
        return Look(replace(timer, due_at=None if timer.fired_at is not None else due_at))
    return Look(timer, _found(due_at, (due_at - timer.since).total_seconds(), now))


def look_at_waiting(timer: Timer, now: datetime) -> Look:
    """Look at a run that is still queued or paused when its timer, or a reminder, is due."""
    if timer.due_at is None or timer.due_at > now:
        return Look(timer)
    return Look(timer, _found(timer.due_at, (timer.due_at - timer.since).total_seconds(), now))


def fired(config: WatchConfig, timer: Timer, finding: Finding, key: str, now: datetime) -> Timer:
    """The timer after its trouble was told with the event ``key``."""
    due_at = None
    reminders = timer.reminders
    if config.kind in (WatchKind.QUEUED, WatchKind.PAUSED) and config.remind_every is not None:
        pause = timedelta(seconds=config.remind_every)
        due_at = finding.at + pause if finding.at + pause > now else now + pause
        reminders += 1
    elif config.kind is WatchKind.STALLED and timer.kind == "workflow":
        due_at = now + LOOK_AGAIN  # a task of it may work again, which is no event of the workflow
    return replace(
        timer, due_at=due_at, fired_at=finding.at, fired_key=key, sign=finding.sign.value, reminders=reminders
    )


def is_quick_success(config: WatchConfig, before: Run | None, run: Run) -> bool:
    """True if the run has just succeeded, sooner than the watch allows."""
    if config.faster_than is None or run.state is not RunState.COMPLETED:
        return False
    if before is not None and before.attempt == run.attempt and before.state is RunState.COMPLETED:
        return False
    return run.duration is not None and run.duration < config.faster_than
