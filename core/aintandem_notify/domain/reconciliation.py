"""Which events were missed: one run as we know it beside what REST says about it. Pure.

The events that come out are as the socket would have brought them, marked as caught up. Decided inside the
transaction that stores them, so that no live event can come in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from aintandem_notify.domain.events import Event, Family, event_from
from aintandem_notify.domain.observation import Gap, Observation
from aintandem_notify.domain.runs import TERMINAL_STATES, TERMINAL_TYPES, Run, RunState, advance, tail
from aintandem_notify.foundation.clock import iso_seconds

CLOCK_MARGIN: Final = timedelta(seconds=60)
"""By so much the orchestrator's clock may differ from ours, and its word for an end from one call to another."""


class _Names(NamedTuple):
    """The wire's names for one kind of run: the field of its id, and the types of its events."""

    id: str
    types: Mapping[RunState, str]
    resumed: str | None = None


_NAMES: Final[Mapping[Family, _Names]] = {
    Family.TASK: _Names(
        "taskId",
        {
            RunState.QUEUED: "task_queued",
            RunState.RUNNING: "task_started",
            RunState.COMPLETED: "task_completed",
            RunState.FAILED: "task_failed",
            RunState.CANCELLED: "task_cancelled",
        },
    ),
    Family.WORKFLOW: _Names(
        "executionId",
        {
            RunState.QUEUED: "workflow_execution_created",
            RunState.RUNNING: "workflow_execution_started",
            RunState.PAUSED: "workflow_execution_paused",
            RunState.COMPLETED: "workflow_execution_completed",
            RunState.FAILED: "workflow_execution_failed",
        },
        resumed="workflow_execution_resumed",
    ),
    Family.SANDBOX: _Names(
        "sandboxId",
        {
            RunState.QUEUED: "sandbox_created",
            RunState.RUNNING: "sandbox_started",
            RunState.COMPLETED: "sandbox_stopped",
            RunState.FAILED: "sandbox_error",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class RunDiff:
    """What to make of an observation.

    ``run`` is how the run is to stand before the ``events``, without anybody being told; None leaves it as it
    is. ``changed``: it moved while nobody listened. ``too_old``: it did so too long ago to be told. ``gone``: how
    it ended cannot be found out. ``doubtful``: the observation may be older than what we know; ask again.
    """

    events: tuple[Event, ...] = ()
    run: Run | None = None
    changed: bool = False
    too_old: bool = False
    gone: bool = False
    doubtful: bool = False


NO_DIFF: Final = RunDiff()
DOUBTFUL: Final = RunDiff(doubtful=True)


def reconcile(
    run: Run | None,
    seen: Observation,
    gap: Gap,
    now: datetime,
    *,
    touched: bool = False,
    buffered_since: datetime | None = None,
) -> RunDiff:
    """What was missed of a run whose latest attempt is ``run`` (None: never seen), given ``seen``.

    ``touched``: a live event has moved it since the observation was asked for, which may be the older news.
    ``buffered_since``: live events about it have arrived, the first from that time, and are stored after this
    comparison; what they may tell themselves is left to them.
    """
    if seen.state is RunState.GONE:
        return _gone(run, is_live=touched or buffered_since is not None)
    found = _decide(run, seen, gap, now)
    if not (found.changed or found.too_old):
        return found
    if touched:
        return DOUBTFUL
    if buffered_since is not None:
        found = _before(found, buffered_since)
    # What happened after the link had opened, live events tell, or it is asked again. A time of ours says nothing.
    return found if seen.confirmed else _before(found, gap.until, unless=lambda event: _is_ours(event, seen, now))


def _is_ours(event: Event, seen: Observation, now: datetime) -> bool:
    """Whether the event's time is one of ours, for want of another."""
    return event.timestamp == now or (event.type in TERMINAL_TYPES and seen.ended_at is None)


def _before(found: RunDiff, moment: datetime, unless: Callable[[Event], bool] = lambda _: False) -> RunDiff:
    """Only the events before ``moment``, and those that ``unless`` spares; the others are asked for again."""
    kept = tuple(event for event in found.events if event.timestamp < moment or unless(event))
    if len(kept) == len(found.events):
        return found
    return RunDiff(kept, found.run, changed=bool(kept), doubtful=True)


def end_events(seen: Observation, now: datetime) -> tuple[Event, ...]:
    """How the run ended, for whoever wants to know just that; none while it goes on, or where no event says so."""
    return _end(seen, now) if seen.state in TERMINAL_STATES else ()


def _decide(run: Run | None, seen: Observation, gap: Gap, now: datetime) -> RunDiff:
    if run is None:
        return _never_seen(seen, gap, now)
    if run.state is RunState.GONE:  # the orchestrator knows it again
        run = replace(run, state=RunState.QUEUED if run.started_at is None else RunState.RUNNING)
        found = _while_open(run, seen, gap, now)
        return found if found.run is not None or found.doubtful else replace(found, run=run)
    if run.state in TERMINAL_STATES:
        return _after_an_end(run, seen, gap, now)
    return _while_open(run, seen, gap, now)


def _gone(run: Run | None, *, is_live: bool) -> RunDiff:
    """The orchestrator does not know the run; one that live events still tell of is not given up for that."""
    if run is None or run.state in TERMINAL_STATES or is_live:
        return NO_DIFF
    return RunDiff(run=replace(run, state=RunState.GONE), gone=True)


def _never_seen(seen: Observation, gap: Gap, now: datetime) -> RunDiff:
    news_since = max(gap.since - CLOCK_MARGIN, gap.watched_since)
    if seen.state in TERMINAL_STATES:
        moment = seen.ended_at or seen.started_at or seen.created_at
        if moment is None or moment <= news_since or seen.state not in _types(seen):
            return NO_DIFF
        if _is_too_old(seen, gap, now):
            return RunDiff(too_old=True)
        return RunDiff((*_opening(seen, now), *_end(seen, now)), changed=True)
    began = seen.created_at if seen.state is RunState.QUEUED else seen.started_at or seen.created_at
    if began is not None and began > news_since:
        return RunDiff((*_opening(seen, now), *_moves(RunState.RUNNING, seen, now)), changed=True)
    return RunDiff(run=_as_found(seen))


def _while_open(run: Run, seen: Observation, gap: Gap, now: datetime) -> RunDiff:
    before = _without_output(run, seen, gap)
    if seen.state not in TERMINAL_STATES:
        events = _moves(run.state, seen, now)
        return RunDiff(events, before, changed=bool(events))
    if not seen.confirmed and run.started_at and seen.ended_at and seen.ended_at < run.started_at:
        return DOUBTFUL  # the end of an attempt before this one, if the answer is old
    start = () if run.started_at or seen.started_at is None else _made(RunState.RUNNING, seen, seen.started_at)
    return _told(before or run, (*start, *_end(seen, now)), seen, gap, now)


def _after_an_end(run: Run, seen: Observation, gap: Gap, now: datetime) -> RunDiff:
    again = _began_again(run, seen)
    if seen.state not in TERMINAL_STATES:
        if not (again or seen.confirmed):
            return DOUBTFUL
        return RunDiff((*_opening(seen, now), *_moves(RunState.RUNNING, seen, now)), changed=True)
    if again:
        opening = _opening(seen, now)
        if seen.ref.kind is Family.SANDBOX and seen.started_at is None:
            # It need not have started to fail: only that it was tried again is certain.
            return _told(advance(run, opening[0]).run, _end(seen, now), seen, gap, now)
        return _told(run, (*opening, *_end(seen, now)), seen, gap, now)
    if seen.state is run.state or _is_the_same_end(run, seen):
        return NO_DIFF
    return _told(run, _end(seen, now), seen, gap, now)


def _began_again(run: Run, seen: Observation) -> bool:
    """Whether the observation is about a later attempt than ``run``, which has ended."""
    ended_at = run.ended_at
    if ended_at is None:
        return False
    begins = (moment for moment in (seen.created_at, seen.started_at) if moment is not None)
    return any(moment > ended_at for moment in begins) or (
        seen.ended_at is not None and seen.ended_at - ended_at > CLOCK_MARGIN
    )


def _is_the_same_end(run: Run, seen: Observation) -> bool:
    """Whether two words for how it ended are about one end. A sandbox may end in one way after the other."""
    if seen.ended_at is None or run.ended_at is None:
        return False
    return seen.ref.kind is not Family.SANDBOX or seen.ended_at <= run.ended_at


def _told(run: Run, events: tuple[Event, ...], seen: Observation, gap: Gap, now: datetime) -> RunDiff:
    """``run`` moves by ``events``: aloud, or silently when it ended too long ago or there is no event for it."""
    has_event, too_old = seen.state in _types(seen), _is_too_old(seen, gap, now)
    if too_old or not has_event:
        for event in events:
            run = advance(run, event).run
        if run.state is not seen.state:
            run = replace(run, state=seen.state, ended_at=_moment_of_end(seen, now))
        return RunDiff(run=run, changed=not (too_old and has_event), too_old=too_old and has_event)
    return RunDiff(events, run, changed=True)


def _is_too_old(seen: Observation, gap: Gap, now: datetime) -> bool:
    if seen.ended_at is None:
        return False
    # By the clock that nobody can have set ahead; unless its own time is wrong, as the orchestrator's shows.
    aged_at = gap.until if seen.ended_at - gap.until <= CLOCK_MARGIN else now
    return (aged_at - seen.ended_at).total_seconds() > gap.catch_up_max


def _without_output(run: Run, seen: Observation, gap: Gap) -> Run | None:
    """The run with a line on what it may have printed while nobody listened; None when it cannot have."""
    began = run.started_at or run.created_at or run.updated_at
    waited = RunState.QUEUED in (run.state, seen.state) and seen.started_at is None
    if run.kind is not Family.TASK or waited or not gap.is_real or (began is not None and began >= gap.until):
        return None
    begins = f"[output missing: not connected {_clock_time(gap.since, gap.until)}"
    if begins in run.output_tail:  # compared before, and something after that failed
        return None
    line = f"{begins} to {gap.until:%H:%M:%S} UTC]\n"
    between = "" if run.output_tail.endswith(("\n", "\r")) or not run.output_tail else "\n"
    return replace(run, output_tail=tail(f"{run.output_tail}{between}{line}"))


def _clock_time(moment: datetime, beside: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.date() == beside.date() else iso_seconds(moment)


def _moves(state: RunState, seen: Observation, now: datetime) -> tuple[Event, ...]:
    """From one open state to the open state that was observed; a task cannot be paused."""
    types = _types(seen)
    if state is RunState.QUEUED and seen.state is not RunState.QUEUED:
        started = _made(RunState.RUNNING, seen, seen.started_at or now)
        return (*started, *_moves(RunState.RUNNING, seen, now))
    if state is RunState.RUNNING and seen.state is RunState.PAUSED and RunState.PAUSED in types:
        return _made(RunState.PAUSED, seen, now)
    resumed = _NAMES[seen.ref.kind].resumed
    if state is RunState.PAUSED and seen.state is RunState.RUNNING and resumed is not None:
        return _event(resumed, seen, now)
    return ()


def _opening(seen: Observation, now: datetime) -> tuple[Event, ...]:
    """The one event that begins the attempt."""
    waits = seen.state is RunState.QUEUED or (seen.state in TERMINAL_STATES and seen.started_at is None)
    at = (seen.created_at if waits else None) or seen.started_at or seen.created_at or now
    if seen.ended_at is not None and seen.state in TERMINAL_STATES:
        at = min(at, _moment_of_end(seen, now))
    return _made(RunState.QUEUED if waits else RunState.RUNNING, seen, at)


def _end(seen: Observation, now: datetime) -> tuple[Event, ...]:
    said: dict[str, Any] = {"error": seen.error, "output": seen.output, "duration": seen.duration}
    wanted = {
        RunState.COMPLETED: ("output", "duration") if seen.ref.kind is not Family.SANDBOX else (),
        RunState.FAILED: ("error", "output") if seen.ref.kind is Family.TASK else ("error",),
    }.get(seen.state, ())
    return _made(seen.state, seen, _moment_of_end(seen, now), **{name: said[name] for name in wanted})


def _moment_of_end(seen: Observation, now: datetime) -> datetime:
    """When it ended; never before it began, or the next look would take it for another attempt."""
    begins = [moment for moment in (seen.created_at, seen.started_at) if moment is not None]
    return max([seen.ended_at or now, *begins])


def _as_found(seen: Observation) -> Run:
    return Run(
        *seen.ref,
        state=seen.state,
        name=seen.name or seen.workflow_id or seen.ref.id,
        workflow_id=seen.workflow_id,
        created_at=seen.created_at,
        started_at=seen.started_at,
    )


def _types(seen: Observation) -> Mapping[RunState, str]:
    return _NAMES[seen.ref.kind].types


def _made(state: RunState, seen: Observation, at: datetime, **said: Any) -> tuple[Event, ...]:
    """The event that leads to ``state``; none where the wire has none."""
    event_type = _types(seen).get(state)
    return () if event_type is None else _event(event_type, seen, at, **said)


def _event(event_type: str, seen: Observation, at: datetime, **said: Any) -> tuple[Event, ...]:
    project_id, kind, run_id = seen.ref
    frame: dict[str, Any] = {
        "type": event_type,
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "projectId": project_id,
        _NAMES[kind].id: run_id,
        "caughtUp": True,
    }
    if kind is Family.TASK and seen.name:
        frame["task"] = seen.name
    if kind is Family.WORKFLOW:
        frame["workflowId"] = seen.workflow_id or seen.name or run_id
    frame |= {name: value for name, value in said.items() if value is not None}
    event = event_from(frame, project_id, at)
    return (event,) if isinstance(event, Event) else ()
