"""Compares a run as we know it with its observation over REST, and makes the events that were missed. Pure.

The events look as if they had come over the socket, but are marked as caught up. ``ingest.plan`` calls this
inside the transaction that stores them, so that no live event can come in between.
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
"""Tolerance when times are compared: for the orchestrator's clock, and for its different end times of one run."""


class _WireNames(NamedTuple):
    """The wire's names for one kind of run: the field of its id, and the types of its events."""

    id: str
    types: Mapping[RunState, str]
    resumed: str | None = None


_WIRE_NAMES: Final[Mapping[Family, _WireNames]] = {
    Family.TASK: _WireNames(
        "taskId",
        {
            RunState.QUEUED: "task_queued",
            RunState.RUNNING: "task_started",
            RunState.COMPLETED: "task_completed",
            RunState.FAILED: "task_failed",
            RunState.CANCELLED: "task_cancelled",
        },
    ),
    Family.WORKFLOW: _WireNames(
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
    Family.SANDBOX: _WireNames(
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
    """The difference between a run as we know it and its observation.

    ``events`` are those that were missed. ``run`` replaces the stored run before them, without a notification;
    None leaves it as it is. ``changed``: the run changed while no link was open. ``too_old``: it ended too long
    ago to be reported. ``gone``: the orchestrator does not know it any more, so its end is unknown. ``doubtful``:
    the observation may be older than the stored run, so another must be requested.
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
    observed: Observation,
    gap: Gap,
    now: datetime,
    *,
    changed_since_request: bool = False,
    buffered_since: datetime | None = None,
) -> RunDiff:
    """The difference between ``run``, the latest known attempt (None: never seen), and the observation.

    ``changed_since_request``: a live event has changed the run after the observation was requested, so the
    observation may be older. ``buffered_since``: live events about the run have arrived, the first at that time,
    and are stored after this call. Changes that they may report are left to them.
    """
    if observed.state is RunState.GONE:
        return _diff_of_gone(run, is_live=changed_since_request or buffered_since is not None)
    diff = _diff(run, observed, gap, now)
    if not (diff.changed or diff.too_old):
        return diff
    if changed_since_request:
        return DOUBTFUL
    if buffered_since is not None:
        diff = _only_before(diff, buffered_since)
    # A change after the link opened is reported by its live event, or by another observation, which is requested
    # then. An event with our own time is kept: its time shows nothing about the change.
    return (
        diff
        if observed.confirmed
        else _only_before(diff, gap.until, unless=lambda event: _has_our_time(event, observed, now))
    )


def _has_our_time(event: Event, observed: Observation, now: datetime) -> bool:
    """Whether the event has a time of our clock, because the orchestrator gave none."""
    return event.timestamp == now or (event.type in TERMINAL_TYPES and observed.ended_at is None)


def _only_before(diff: RunDiff, moment: datetime, unless: Callable[[Event], bool] = lambda _: False) -> RunDiff:
    """Keeps only the events before ``moment`` and those for which ``unless`` is true; doubtful if it drops any."""
    events = tuple(event for event in diff.events if event.timestamp < moment or unless(event))
    if len(events) == len(diff.events):
        return diff
    return RunDiff(events, diff.run, changed=bool(events), doubtful=True)


def end_events(observed: Observation, now: datetime) -> tuple[Event, ...]:
    """The event of the run's end, in a tuple; empty if it has not ended, or the wire has no event for this end.

    For the client library and the live view, which need only the end.
    """
    return _end_event(observed, now) if observed.state in TERMINAL_STATES else ()


def _diff(run: Run | None, observed: Observation, gap: Gap, now: datetime) -> RunDiff:
    if run is None:
        return _diff_of_unseen(observed, gap, now)
    if run.state is RunState.GONE:  # the orchestrator knows it again
        run = replace(run, state=RunState.QUEUED if run.started_at is None else RunState.RUNNING)
        diff = _diff_of_open(run, observed, gap, now)
        return diff if diff.run is not None or diff.doubtful else replace(diff, run=run)
    if run.state in TERMINAL_STATES:
        return _diff_of_ended(run, observed, gap, now)
    return _diff_of_open(run, observed, gap, now)


def _diff_of_gone(run: Run | None, *, is_live: bool) -> RunDiff:
    """The diff if the orchestrator does not know the run. A run with new live events is not marked as gone."""
    if run is None or run.state in TERMINAL_STATES or is_live:
        return NO_DIFF
    return RunDiff(run=replace(run, state=RunState.GONE), gone=True)


def _diff_of_unseen(observed: Observation, gap: Gap, now: datetime) -> RunDiff:
    news_since = max(gap.since - CLOCK_MARGIN, gap.watched_since)
    if observed.state in TERMINAL_STATES:
        moment = observed.ended_at or observed.started_at or observed.created_at
        if moment is None or moment <= news_since or observed.state not in _event_types(observed):
            return NO_DIFF
        if _is_too_old(observed, gap, now):
            return RunDiff(too_old=True)
        return RunDiff((*_opening_event(observed, now), *_end_event(observed, now)), changed=True)
    began = (
        observed.created_at if observed.state is RunState.QUEUED else observed.started_at or observed.created_at
    )
    if began is not None and began > news_since:
        return RunDiff(
            (*_opening_event(observed, now), *_open_state_events(RunState.RUNNING, observed, now)), changed=True
        )
    return RunDiff(run=_observed_run(observed))


def _diff_of_open(run: Run, observed: Observation, gap: Gap, now: datetime) -> RunDiff:
    before = _note_missing_output(run, observed, gap)
    if observed.state not in TERMINAL_STATES:
        events = _open_state_events(run.state, observed, now)
        return RunDiff(events, before, changed=bool(events))
    if not observed.confirmed and run.started_at and observed.ended_at and observed.ended_at < run.started_at:
        return DOUBTFUL  # perhaps an old response, with the end of an earlier attempt
    start = (
        ()
        if run.started_at or observed.started_at is None
        else _events_to(RunState.RUNNING, observed, observed.started_at)
    )
    return _apply_end(before or run, (*start, *_end_event(observed, now)), observed, gap, now)


def _diff_of_ended(run: Run, observed: Observation, gap: Gap, now: datetime) -> RunDiff:
    is_later = _is_later_attempt(run, observed)
    if observed.state not in TERMINAL_STATES:
        if not (is_later or observed.confirmed):
            return DOUBTFUL
        return RunDiff(
            (*_opening_event(observed, now), *_open_state_events(RunState.RUNNING, observed, now)), changed=True
        )
    if is_later:
        opening = _opening_event(observed, now)
        if observed.ref.kind is Family.SANDBOX and observed.started_at is None:
            # It may have failed before it started. Only the new attempt is certain.
            return _apply_end(advance(run, opening[0]), _end_event(observed, now), observed, gap, now)
        return _apply_end(run, (*opening, *_end_event(observed, now)), observed, gap, now)
    if observed.state is run.state or _is_same_end(run, observed):
        return NO_DIFF
    return _apply_end(run, _end_event(observed, now), observed, gap, now)


def _is_later_attempt(run: Run, observed: Observation) -> bool:
    """Whether the observation is about a later attempt than ``run``, which has ended."""
    ended_at = run.ended_at
    if ended_at is None:
        return False
    begins = (moment for moment in (observed.created_at, observed.started_at) if moment is not None)
    return any(moment > ended_at for moment in begins) or (
        observed.ended_at is not None and observed.ended_at - ended_at > CLOCK_MARGIN
    )


def _is_same_end(run: Run, observed: Observation) -> bool:
    """Whether two different end states describe one end. A sandbox may end twice, in different states."""
    if observed.ended_at is None or run.ended_at is None:
        return False
    return observed.ref.kind is not Family.SANDBOX or observed.ended_at <= run.ended_at


def _apply_end(run: Run, events: tuple[Event, ...], observed: Observation, gap: Gap, now: datetime) -> RunDiff:
    """The diff that ends ``run`` by ``events``; without events if the end is too old or has no wire type."""
    has_event, too_old = observed.state in _event_types(observed), _is_too_old(observed, gap, now)
    if too_old or not has_event:
        for event in events:
            run = advance(run, event)
        if run.state is not observed.state:
            run = replace(run, state=observed.state, ended_at=_end_time(observed, now))
        return RunDiff(run=run, changed=not (too_old and has_event), too_old=too_old and has_event)
    return RunDiff(events, run, changed=True)


def _is_too_old(observed: Observation, gap: Gap, now: datetime) -> bool:
    if observed.ended_at is None:
        return False
    # ``gap.until`` comes from ``Clock.capped_now``, so it is right even if our wall clock was set ahead. If the
    # run ended later than that by the orchestrator's clock, our clock is behind, and ``now`` is the better choice.
    age_measured_at = gap.until if observed.ended_at - gap.until <= CLOCK_MARGIN else now
    return (age_measured_at - observed.ended_at).total_seconds() > gap.catch_up_max


def _note_missing_output(run: Run, observed: Observation, gap: Gap) -> Run | None:
    """The run with a line about possibly missing output; None if it cannot have written any during the gap."""
    began = run.started_at or run.created_at or run.updated_at
    was_waiting = RunState.QUEUED in (run.state, observed.state) and observed.started_at is None
    if run.kind is not Family.TASK or was_waiting or not gap.is_real or (began is not None and began >= gap.until):
        return None
    prefix = f"[output missing: not connected {_format_time(gap.since, gap.until)}"
    if prefix in run.output_tail:  # an earlier try added it
        return None
    line = f"{prefix} to {gap.until:%H:%M:%S} UTC]\n"
    separator = "" if run.output_tail.endswith(("\n", "\r")) or not run.output_tail else "\n"
    return replace(run, output_tail=tail(f"{run.output_tail}{separator}{line}"))


def _format_time(moment: datetime, beside: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.date() == beside.date() else iso_seconds(moment)


def _open_state_events(state: RunState, observed: Observation, now: datetime) -> tuple[Event, ...]:
    """The events from one open state to the observed open state. A task cannot be paused."""
    types = _event_types(observed)
    if state is RunState.QUEUED and observed.state is not RunState.QUEUED:
        started = _events_to(RunState.RUNNING, observed, observed.started_at or now)
        return (*started, *_open_state_events(RunState.RUNNING, observed, now))
    if state is RunState.RUNNING and observed.state is RunState.PAUSED and RunState.PAUSED in types:
        return _events_to(RunState.PAUSED, observed, now)
    resumed = _WIRE_NAMES[observed.ref.kind].resumed
    if state is RunState.PAUSED and observed.state is RunState.RUNNING and resumed is not None:
        return _synthesize(resumed, observed, now)
    return ()


def _opening_event(observed: Observation, now: datetime) -> tuple[Event, ...]:
    """The event that begins the attempt, in a tuple."""
    is_waiting = observed.state is RunState.QUEUED or (
        observed.state in TERMINAL_STATES and observed.started_at is None
    )
    at = (observed.created_at if is_waiting else None) or observed.started_at or observed.created_at or now
    if observed.ended_at is not None and observed.state in TERMINAL_STATES:
        at = min(at, _end_time(observed, now))
    return _events_to(RunState.QUEUED if is_waiting else RunState.RUNNING, observed, at)


def _end_event(observed: Observation, now: datetime) -> tuple[Event, ...]:
    fields: dict[str, Any] = {"error": observed.error, "output": observed.output, "duration": observed.duration}
    names = {
        RunState.COMPLETED: ("output", "duration") if observed.ref.kind is not Family.SANDBOX else (),
        RunState.FAILED: ("error", "output") if observed.ref.kind is Family.TASK else ("error",),
    }.get(observed.state, ())
    return _events_to(observed.state, observed, _end_time(observed, now), **{name: fields[name] for name in names})


def _end_time(observed: Observation, now: datetime) -> datetime:
    """The time of the end, not before the start: otherwise the next observation would look like a new attempt."""
    begins = [moment for moment in (observed.created_at, observed.started_at) if moment is not None]
    return max([observed.ended_at or now, *begins])


def _observed_run(observed: Observation) -> Run:
    return Run(
        *observed.ref,
        state=observed.state,
        name=observed.name or observed.workflow_id or observed.ref.id,
        workflow_id=observed.workflow_id,
        created_at=observed.created_at,
        started_at=observed.started_at,
    )


def _event_types(observed: Observation) -> Mapping[RunState, str]:
    return _WIRE_NAMES[observed.ref.kind].types


def _events_to(state: RunState, observed: Observation, at: datetime, **fields: Any) -> tuple[Event, ...]:
    """The event that leads to ``state``, in a tuple; empty if the wire has no such event."""
    event_type = _event_types(observed).get(state)
    return () if event_type is None else _synthesize(event_type, observed, at, **fields)


def _synthesize(event_type: str, observed: Observation, at: datetime, **fields: Any) -> tuple[Event, ...]:
    project_id, kind, run_id = observed.ref
    frame: dict[str, Any] = {
        "type": event_type,
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "projectId": project_id,
        _WIRE_NAMES[kind].id: run_id,
        "caughtUp": True,
    }
    if kind is Family.TASK and observed.name:
        frame["task"] = observed.name
    if kind is Family.WORKFLOW:
        frame["workflowId"] = observed.workflow_id or observed.name or run_id
    frame |= {name: value for name, value in fields.items() if value is not None}
    event = event_from(frame, project_id, at)
    return (event,) if isinstance(event, Event) else ()
