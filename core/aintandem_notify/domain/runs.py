"""The state machine of a run as one table: the effect of each event on the attempt that it is about.

A task, workflow execution or sandbox may run several times; a ``Run`` object is one of these attempts.
``advance`` takes the latest known attempt and an event, and returns the attempt after the event. It keeps no state
and reads no clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple

from aintandem_notify.domain.events import (
    MAX_ID_CHARACTERS,
    WIRE_FAMILIES,
    Event,
    Family,
    TaskOutputEvent,
    WatchEvent,
)
from aintandem_notify.foundation.clock import EPOCH
from aintandem_notify.log import redact_start, tail_prefix, tail_start

MAX_NAME_CHARACTERS: Final = 2000
"""Characters of a run's name or step that are stored; the name of a task may be its whole prompt."""
OUTPUT_TAIL_LINES: Final = 20
"""Last output lines of a run that are stored; they fit a chat message and usually show the cause of a failure."""
OUTPUT_TAIL_CHARACTERS: Final = 4000
"""The tail's length in characters; Slack shows a text of this length without collapsing it."""


class RunState(StrEnum):
    """The state of an attempt. ``GONE``: the orchestrator does not know it any more, so its end is unknown."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"


TERMINAL_STATES: Final = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.GONE})

STATE_AFTER: Final[Mapping[str, RunState]] = {
    "task_queued": RunState.QUEUED,
    "task_started": RunState.RUNNING,
    "task_completed": RunState.COMPLETED,
    "task_failed": RunState.FAILED,
    "task_cancelled": RunState.CANCELLED,
    "workflow_execution_created": RunState.QUEUED,
    "workflow_execution_started": RunState.RUNNING,
    "workflow_execution_paused": RunState.PAUSED,
    "workflow_execution_resumed": RunState.RUNNING,
    "workflow_execution_completed": RunState.COMPLETED,
    "workflow_execution_failed": RunState.FAILED,
    "sandbox_created": RunState.QUEUED,
    "sandbox_started": RunState.RUNNING,
    "sandbox_stopped": RunState.COMPLETED,
    "sandbox_error": RunState.FAILED,
}
"""The state after an event; types that are not here do not change the state."""

OPENING_TYPES: Final = frozenset(
    {
        "task_queued",
        "task_started",
        "workflow_execution_created",
        "workflow_execution_started",
        "sandbox_created",
        "sandbox_started",
    }
)
"""Types that begin a new attempt after the end of the one before."""

PROGRESS_TYPES: Final = frozenset({"output", "step_progress"})
"""Types that come by the thousand and change no state. They are journaled only if a rule matches them."""

TERMINAL_TYPES: Final = frozenset(kind for kind, state in STATE_AFTER.items() if state in TERMINAL_STATES)
"""Types that end an attempt."""


_NAME: Final = (("name", "task"),)
_WORKFLOW: Final = (("workflow_id", "workflow_id"),)
_PHASE: Final = (("workflow_id", "workflow_id"), ("step", "phase"))

RUN_FIELDS_BY_TYPE: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "task_queued": _NAME,
    "task_started": _NAME,
    "step_progress": (("step", "step"), ("progress", "progress")),
    "task_completed": _NAME,
    "task_failed": _NAME,
    "task_cancelled": _NAME,
    "workflow_execution_created": _WORKFLOW,
    "workflow_execution_started": _WORKFLOW,
    "workflow_phase_started": _PHASE,
    "workflow_phase_completed": _PHASE,
    "workflow_execution_paused": _WORKFLOW,
    "workflow_execution_resumed": _WORKFLOW,
    "workflow_execution_completed": _WORKFLOW,
    "workflow_execution_failed": _WORKFLOW,
}
"""By event type: the fields of a run that it sets, each with the field of the event that has the value."""
_PROGRESS_FIELDS: Final = {run_field for run_field, _ in RUN_FIELDS_BY_TYPE["step_progress"]}


_TASK_OPENINGS: Final = ("task_queued", "task_started")
"""Types that may say, in a field of their own, of which workflow the task is."""

_KINDS: Final = {family.value for family in WIRE_FAMILIES}


class RunRef(NamedTuple):
    """Identifies a task, workflow execution or sandbox, without the attempt."""

    project_id: str
    kind: Family
    id: str


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt. ``progress`` is in percent; ``output_tail`` holds its last lines of output.

    ``name`` is the task's text, else the workflow's id, else the run's own id. ``progressed_at`` is the time at
    which step or progress changed last.
    Times are the orchestrator's, aware UTC, None if their event was not seen. ``attempt`` counts from 1.
    """

    project_id: str
    kind: Family
    id: str
    attempt: int = 1
    state: RunState = RunState.RUNNING
    name: str = ""
    workflow_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None
    step: str | None = None
    progress: float | None = None
    output_tail: str = ""
    progressed_at: datetime | None = None

    @property
    def ref(self) -> RunRef:
        """The run's identity without the attempt."""
        return RunRef(self.project_id, self.kind, self.id)

    @property
    def thread(self) -> str:
        """The thread of the attempt's notifications: destinations show them together and in order."""
        return f"{self.project_id}/{self.kind}/{self.id}/{self.attempt}"

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while it runs, or if either is unknown or before ``EPOCH``."""
        if self.started_at is None or self.ended_at is None or min(self.started_at, self.ended_at) < EPOCH:
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())


def run_ref(event: Event) -> RunRef | None:
    """The run that the event is about; None for events about no run."""
    run_id = event.run_id
    if run_id is None or event.project_id is None:
        return None
    return RunRef(event.project_id, event.family, run_id)


def about_ref(event: Event) -> RunRef | None:
    """As ``run_ref``, and for events of watches the run that they are about; None for events about no run."""
    if isinstance(event, WatchEvent):
        is_known = event.kind in _KINDS and event.about
        return RunRef(event.project_id, Family(event.kind), event.about) if is_known else None
    return run_ref(event)


def advance(latest: Run | None, event: Event) -> Run:
    """The attempt after ``event``, given the latest known attempt (None: never seen).

    The event must be about a run (``run_ref`` is not None). A queued or started event after a terminal state
    begins the next attempt. The same terminal state twice is a repetition, even if the timestamps differ: then
    ``latest`` itself is returned. So a live event and the same event made from REST count once.
    """
    target = STATE_AFTER.get(event.type)
    if latest is None or event.run_id is None:
        latest = _first_attempt(event)
    elif latest.state not in TERMINAL_STATES:
        if target is RunState.QUEUED:
            target = None  # late: a running attempt is not queued any more
    elif event.type in OPENING_TYPES:
        latest = Run(*latest.ref, attempt=latest.attempt + 1, name=latest.name, created_at=event.timestamp)
    elif target is latest.state:
        return latest
    elif target not in TERMINAL_STATES:
        target = None  # late: only an opening event begins a new attempt after an end
    return _replace(latest, _changes(latest, event, target))


def apply_progress(latest: Run | None, events: Sequence[Event]) -> Run:
    """The attempt after one or more ``output`` and ``step_progress`` events of one run.

    The same as ``advance`` with each of them, in one step: they come by the thousand and change no state.
    """
    if latest is None:
        latest, events = advance(None, events[0]), events[1:]
    changes: dict[str, Any] = {}
    pieces = [event.output for event in events if isinstance(event, TaskOutputEvent)]
    if len(pieces) < len(events):
        for event in reversed([event for event in events if not isinstance(event, TaskOutputEvent)]):
            changes = _run_fields(event) | changes
            if changes.keys() >= _PROGRESS_FIELDS:
                break
        changes["progressed_at"] = _progressed_at(latest, events)
    if pieces:
        changes["output_tail"] = tail(latest.output_tail + "".join(pieces))
    if events:
        changes["updated_at"] = events[-1].timestamp
    return _replace(latest, changes)


def _progressed_at(run: Run, events: Sequence[Event]) -> datetime | None:
    """The time of the last of the events that changes step or progress; that of the run if none does."""
    step, progress, moment = run.step, run.progress, run.progressed_at
    for event in events:
        if isinstance(event, TaskOutputEvent):
            continue
        fields = _run_fields(event)
        if (changed := (fields.get("step", step), fields.get("progress", progress))) != (step, progress):
            step, progress = changed
            moment = event.timestamp
    return moment


_FIELDS: Final = tuple(field.name for field in fields(Run))
_FIELD_INDEX: Final = {name: index for index, name in enumerate(_FIELDS)}
_values: Final[Callable[[Run], tuple[Any, ...]]] = attrgetter(*_FIELDS)


def _replace(run: Run, changes: Mapping[str, Any]) -> Run:
    """As ``dataclasses.replace``, in half the time: every event comes through here."""
    values = list(_values(run))
    for name, value in changes.items():
        values[_FIELD_INDEX[name]] = value
    return Run(*values)


def _first_attempt(event: Event) -> Run:
    ref = run_ref(event)
    if ref is None:
        raise ValueError(f"{event.type} is about no run")
    return Run(*ref, name=ref.id, created_at=event.timestamp if event.type in OPENING_TYPES else None)


def _changes(run: Run, event: Event, target: RunState | None) -> dict[str, Any]:
    changes = _run_fields(event)
    changes["updated_at"] = event.timestamp
    if target is not None:
        changes["state"] = target
        if target is RunState.RUNNING and run.started_at is None:
            changes["started_at"] = event.timestamp
        if target in TERMINAL_STATES:
            changes["ended_at"] = event.timestamp
    if changes.get("step", run.step) != run.step or changes.get("progress", run.progress) != run.progress:
        changes["progressed_at"] = event.timestamp
    if event.type in _TASK_OPENINGS and isinstance(parent := event.model_extra.get("workflowId"), str):
        return changes | {"workflow_id": parent[:MAX_ID_CHARACTERS] or None}
    workflow_id = changes.get("workflow_id")
    if workflow_id is not None and run.name == run.id:
        changes["name"] = workflow_id
    if event.type == "output":
        changes["output_tail"] = tail(run.output_tail + getattr(event, "output", ""))
    return changes


def _run_fields(event: Event) -> dict[str, Any]:
    """The run's fields that the event sets; the others stay as they are."""
    return {
        run_field: redact_start(value, MAX_NAME_CHARACTERS)
        if isinstance(value, str) and len(value) > MAX_NAME_CHARACTERS
        else value
        for run_field, event_field in RUN_FIELDS_BY_TYPE.get(event.type, ())
        if (value := getattr(event, event_field)) is not None and value != ""
    }


def tail(text: str) -> str:
    """The last lines of ``text``, within ``OUTPUT_TAIL_LINES`` and ``OUTPUT_TAIL_CHARACTERS``.

    It never begins in the middle of a secret, because a part of a secret is not recognised as one.
    """
    start = max(0, len(text) - OUTPUT_TAIL_CHARACTERS)
    if start:
        start = tail_start(text, start)
    lines = _last_lines(text[start:], OUTPUT_TAIL_LINES)
    opening = tail_prefix(text[: len(text) - len(lines)])
    if not opening:
        return lines
    return opening + _last_lines(lines[len(opening) - OUTPUT_TAIL_CHARACTERS :], OUTPUT_TAIL_LINES - 1)


def _last_lines(text: str, limit: int) -> str:
    return "".join(text.splitlines(keepends=True)[-limit:])
