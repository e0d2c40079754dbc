"""Tracks the runs in progress and makes the lines for each event. Pure: no clock, no screen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from aintandem_notify.domain.event_redaction import redact_event_context
from aintandem_notify.domain.events import Event, Family, TaskOutputEvent, TaskStepProgressEvent
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import OPENING_TYPES, TERMINAL_STATES, Run, RunRef, RunState, advance, run_ref
from aintandem_notify.live_view.labels import MAX_LABEL, shorten_label, unique_label
from aintandem_notify.rules import default_texts, formats

MAX_STEP: Final = 60
"""Characters of a step's name beside a bar."""
MAX_MESSAGE: Final = 200
"""Characters of a step's message; more never fits beside a bar."""
DETAIL_LINES: Final = 12
"""Lines of an error or a result that are shown below a final event."""
MAX_TRACKED: Final = 2000
"""Runs in progress that are tracked at a time, about 10 MB. The run without an event for longest is dropped
first."""
FULL_NOTICE: Final = (
    f"More than {MAX_TRACKED:,} runs are under way: those without an event for longest have no bar any more, and"
    " are not looked up after a lost connection"
)
MAX_ENDED: Final = 1000
"""Ended runs that are remembered, so that a late event does not bring their bar back."""


@dataclass(frozen=True, slots=True)
class DisplayLine:
    """A line to show. Every text in it is safe to print.

    ``details`` are further lines that belong to it. ``label`` names the run, as ``text`` does. ``is_output``: the
    lines are output of the run. ``is_step``: progress of a step, which a bar shows instead where there are bars.
    """

    moment: datetime
    project: Project
    severity: Severity
    text: str
    details: tuple[str, ...] = ()
    label: str = ""
    is_output: bool = False
    is_step: bool = False


@dataclass(frozen=True, slots=True)
class TaskBar:
    """A running task. ``percent`` is None if its progress is unknown; ``since`` is its start time."""

    label: str
    project: Project
    percent: float | None
    step: str
    message: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class _TrackedRun:
    run: Run
    project: Project
    label: str
    message: str = ""


class RunTracker:
    """The runs in progress of all projects, of which at most ``max_tracked`` are remembered."""

    def __init__(self, max_tracked: int = MAX_TRACKED) -> None:
        self._max_tracked = max_tracked
        self._tracked: dict[RunRef, _TrackedRun] = {}
        self._by_last_event: dict[RunRef, None] = {}
        """The same runs, the one without an event for longest first. Bars stay in the order of their starts."""
        self._is_full = self._full_notice_shown = False
        self._ended: dict[RunRef, _TrackedRun] = {}

    def bars(self) -> tuple[TaskBar, ...]:
        """A bar for each running task, the oldest first."""
        return tuple(
            TaskBar(
                label=tracked.label,
                project=tracked.project,
                percent=None if tracked.run.progress is None else min(100.0, max(0.0, tracked.run.progress)),
                step=formats.one_line(tracked.run.step or "", MAX_STEP),
                message=tracked.message,
                since=tracked.run.started_at,
            )
            for tracked in self._tracked.values()
            if tracked.run.kind is Family.TASK and tracked.run.state is RunState.RUNNING
        )

    def __len__(self) -> int:
        """The number of runs in progress."""
        return len(self._tracked)

    def unfinished_runs(self, project_id: str) -> tuple[RunRef, ...]:
        """The project's runs that are still in progress as far as known."""
        return tuple(ref for ref in self._tracked if ref.project_id == project_id)

    def forget(self, ref: RunRef) -> None:
        """Drop a run that has ended without a final event."""
        self._drop(ref)

    def add_observed(self, project: Project, observations: Iterable[Observation]) -> None:
        """Add runs that REST reports as running. Runs known from events stay as they are."""
        for observation in observations:
            ref = observation.ref
            if ref not in self._tracked and ref not in self._ended:
                run = Run(
                    *ref,
                    state=observation.state,
                    name=observation.name or ref.id,
                    started_at=observation.started_at,
                )
                self._track(_TrackedRun(run, project, self._label(run)))

    def record_event(self, event: Event, project: Project) -> Callable[[], list[DisplayLine]]:
        """Update the run of ``event``, and return a function that makes its lines; none for a duplicate.

        The function may run in any thread, since a long event takes time.
        """
        ref = run_ref(event)
        if ref is None:
            return lambda: [_line(event, None, project)]
        known = self._tracked.get(ref) or self._ended.get(ref)
        run = advance(known.run if known else None, event)
        if known and run is known.run:
            return list
        label = known.label if known and known.run.name == run.name else self._label(run)
        message = known.message if known else ""
        if isinstance(event, TaskStepProgressEvent):
            message = "" if _repeats(text := formats.one_line(event.message or "", MAX_MESSAGE), event) else text
        self._store(_TrackedRun(run, project, label, message))
        more: list[DisplayLine] = []
        if self._is_full and not self._full_notice_shown:
            self._full_notice_shown = True
            more.append(DisplayLine(event.timestamp, project, Severity.WARNING, FULL_NOTICE))
        return lambda: [_line(event, run, project, label=label), *more]

    def _store(self, tracked: _TrackedRun) -> None:
        ref = tracked.run.ref
        if tracked.run.state not in TERMINAL_STATES:
            self._ended.pop(ref, None)
            self._track(tracked)
            return
        self._drop(ref)
        self._ended[ref] = replace(tracked, run=replace(tracked.run, output_tail=""))
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _track(self, tracked: _TrackedRun) -> None:
        ref = tracked.run.ref
        self._tracked[ref] = tracked
        self._by_last_event.pop(ref, None)
        self._by_last_event[ref] = None
        if len(self._tracked) > self._max_tracked:
            self._drop(next(iter(self._by_last_event)))
            self._is_full = True

    def _drop(self, ref: RunRef) -> None:
        self._tracked.pop(ref, None)
        self._by_last_event.pop(ref, None)

    def _label(self, run: Run) -> str:
        """The run's name, marked if another run in progress has the same name or looks the same when shortened."""
        in_use = {shorten_label(tracked.label) for ref, tracked in self._tracked.items() if ref != run.ref}
        return unique_label(formats.one_line(run.name or run.id, MAX_LABEL), run.id, in_use.__contains__)


def output_lines(text: str) -> list[str]:
    """``text`` as lines that are safe to print: without escape sequences, control characters and secrets."""
    return [line.expandtabs(8).rstrip() for line in formats.sanitize(text).rstrip("\n").split("\n")]


def _line(event: Event, run: Run | None, project: Project, *, label: str = "") -> DisplayLine:
    subject = redact_event_context((event, run, project))
    event, run, project = subject[0], subject[1], subject[2] or project
    moment, severity = event.timestamp, default_texts.severity(event)
    if isinstance(event, TaskOutputEvent):
        first, *further = output_lines(event.output)
        return DisplayLine(moment, project, severity, first, tuple(further), label, is_output=True)
    facts = {field.name: field.value for field in default_texts.fields(subject)}
    title = default_texts.title((event, run and replace(run, name=label), project))
    if isinstance(event, TaskStepProgressEvent):
        message = formats.one_line(event.message or "", MAX_MESSAGE)
        text = ", ".join(filter(None, (title, facts.get("Progress"))))
        suffix = "" if _repeats(message, event) else f": {message}"
        return DisplayLine(moment, project, severity, text + suffix, label=label, is_step=True)
    if run is not None and event.type in OPENING_TYPES and run.id != run.name:
        title += f" ({formats.one_line(run.id, MAX_MESSAGE)})"
    if "Duration" in facts and run is not None and run.state in TERMINAL_STATES:
        title += f" after {facts['Duration']}"
    exit_code = facts.get("Exit code")
    more = (facts.get("Size"), facts.get("Image"), exit_code and f"exit code {exit_code}")
    text = ", ".join([title, *filter(None, more)])
    return DisplayLine(moment, project, severity, text, _details(default_texts.body(subject)), label)


def _repeats(message: str, event: TaskStepProgressEvent) -> bool:
    """Whether the message only repeats the step's name and status."""
    return message in ("", f"{event.step}: {event.status}", event.step, event.status)


def _details(body: str) -> tuple[str, ...]:
    """The first and the last lines of an event's body."""
    lines = output_lines(body) if body.strip() else []
    if len(lines) > DETAIL_LINES:
        head = DETAIL_LINES // 3
        left_out = len(lines) - DETAIL_LINES + 1
        lines = [*lines[:head], f"[… {left_out} more lines]", *lines[head + left_out :]]
    return tuple(lines)
