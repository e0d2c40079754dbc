"""What runs now, and what there is to say of each event: values in, values out. No clock, no screen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from aintandem_notify.domain.event_redaction import redact_event_context
from aintandem_notify.domain.events import Event, Family, TaskOutputEvent, TaskStepProgressEvent
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import OPENING_TYPES, TERMINAL_STATES, Run, RunRef, RunState, advance, run_ref
from aintandem_notify.foundation.printable import strip
from aintandem_notify.rules import default_texts, formats

MAX_LABEL: Final = 100
"""Characters of a run's name, its mark included; a task may be called by its whole prompt."""
MAX_STEP: Final = 60
"""Characters of a step's name beside a bar."""
MAX_MESSAGE: Final = 200
"""Characters of a step's message; more never fits beside a bar."""
DETAIL_LINES: Final = 12
"""Lines of an error or a result that are shown below how a run ended."""
MAX_TRACKED: Final = 2000
"""Runs under way that are known at a time, those that moved longest ago dropped first; at most 10 MB or so."""
FULL_NOTICE: Final = (
    f"More than {MAX_TRACKED:,} runs are under way: those that moved longest ago have no bar any more, and nobody"
    " asks about them after a lost connection"
)
MAX_ENDED: Final = 1000
"""Ended runs that are remembered, so that a straggler brings no bar back."""
ID_MARK: Final = " …"
"""What stands between a name and the end of its id, where the name alone could be another run's, too."""
_ID_TAIL: Final = 4
ID_MARK_LENGTH: Final = len(ID_MARK) + _ID_TAIL
"""Characters of the mark and the end of the id."""


@dataclass(frozen=True, slots=True)
class DisplayLine:
    """One thing to say. All of it is safe to print.

    ``details`` are further lines that belong to it. ``label`` names the run, as ``text`` does; ``is_output`` says
    that the lines are what the run wrote. ``is_step``: a step moved, of which a bar tells where there is one.
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
    """A running task. ``percent`` is None where nobody says how far it is; ``since`` is when it started."""

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
    """The runs that are under way, over all projects."""

    def __init__(self) -> None:
        self._tracked: dict[RunRef, _TrackedRun] = {}
        self._moved: dict[RunRef, None] = {}
        """The same runs, the one that moved longest ago first; bars keep the order in which runs began."""
        self._is_full = self._full_notice_shown = False
        self._ended: dict[RunRef, _TrackedRun] = {}

    def bars(self) -> tuple[TaskBar, ...]:
        """One for each running task, the oldest first."""
        return tuple(
            TaskBar(
                label=one.label,
                project=one.project,
                percent=None if one.run.progress is None else min(100.0, max(0.0, one.run.progress)),
                step=formats.one_line(one.run.step or "", MAX_STEP),
                message=one.message,
                since=one.run.started_at,
            )
            for one in self._tracked.values()
            if one.run.kind is Family.TASK and one.run.state is RunState.RUNNING
        )

    def unfinished_runs(self, project_id: str) -> tuple[RunRef, ...]:
        """The project's runs that are thought to be under way."""
        return tuple(ref for ref in self._tracked if ref.project_id == project_id)

    def forget(self, ref: RunRef) -> None:
        """The run is under way no more, and no event will say so."""
        self._drop(ref)

    def add_observed(self, project: Project, seen: Iterable[Observation]) -> None:
        """Tasks that run already, as REST tells; what is known by its events is left as it is."""
        for one in seen:
            if one.ref not in self._tracked and one.ref not in self._ended:
                run = Run(*one.ref, state=one.state, name=one.name or one.ref.id, started_at=one.started_at)
                self._track(_TrackedRun(run, project, self._label(run)))

    def lines_for(self, event: Event, project: Project) -> list[DisplayLine]:
        """What to say of ``event``, the oldest line first; nothing for a repetition."""
        return self.record_event(event, project)()

    def record_event(self, event: Event, project: Project) -> Callable[[], list[DisplayLine]]:
        """As ``lines_for``; what it gives makes the lines, in any thread, for a long event takes its time."""
        ref = run_ref(event)
        if ref is None:
            return lambda: [_line(event, None, project)]
        known = self._tracked.get(ref) or self._ended.get(ref)
        run, repeated = advance(known.run if known else None, event)
        if repeated:
            return list
        label = known.label if known and known.run.name == run.name else self._label(run)
        message = known.message if known else ""
        if isinstance(event, TaskStepProgressEvent):
            message = "" if _repeats(said := formats.one_line(event.message or "", MAX_MESSAGE), event) else said
        self._store(_TrackedRun(run, project, label, message))
        more: list[DisplayLine] = []
        if self._is_full and not self._full_notice_shown:
            self._full_notice_shown = True
            more.append(DisplayLine(event.timestamp, project, Severity.WARNING, FULL_NOTICE))
        return lambda: [_line(event, run, project, label=label), *more]

    def _store(self, one: _TrackedRun) -> None:
        ref = one.run.ref
        if one.run.state not in TERMINAL_STATES:
            self._ended.pop(ref, None)
            self._track(one)
            return
        self._drop(ref)
        self._ended[ref] = replace(one, run=replace(one.run, output_tail=""))
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _track(self, one: _TrackedRun) -> None:
        ref = one.run.ref
        self._tracked[ref] = one
        self._moved.pop(ref, None)
        self._moved[ref] = None
        if len(self._tracked) > MAX_TRACKED:
            self._drop(next(iter(self._moved)))
            self._is_full = True

    def _drop(self, ref: RunRef) -> None:
        self._tracked.pop(ref, None)
        self._moved.pop(ref, None)

    def _label(self, run: Run) -> str:
        """Its name, with the end of its id where another one under way has the same."""
        name = formats.one_line(run.name or run.id, MAX_LABEL)
        same = any(one.label == name and one.run.ref != run.ref for one in self._tracked.values())
        if not same:
            return name
        return f"{name[: MAX_LABEL - ID_MARK_LENGTH]}{ID_MARK}{strip(run.id)[-_ID_TAIL:]}"


def output_lines(text: str) -> list[str]:
    """``text`` as lines that are safe to print: without escape sequences, control characters and secrets."""
    return [line.expandtabs(8).rstrip() for line in formats.sanitize(text).rstrip("\n").split("\n")]


def _line(event: Event, run: Run | None, project: Project, *, label: str = "") -> DisplayLine:
    subject = redact_event_context((event, run, project))
    event, run, project = subject[0], subject[1], subject[2] or project
    moment, severity = event.timestamp, default_texts.severity(event)
    if isinstance(event, TaskOutputEvent):
        first, *rest = output_lines(event.output)
        return DisplayLine(moment, project, severity, first, tuple(rest), label, is_output=True)
    facts = {field.name: field.value for field in default_texts.fields(subject)}
    title = default_texts.title((event, run and replace(run, name=label), project))
    if isinstance(event, TaskStepProgressEvent):
        message = formats.one_line(event.message or "", MAX_MESSAGE)
        text = ", ".join(filter(None, (title, facts.get("Progress"))))
        said = "" if _repeats(message, event) else f": {message}"
        return DisplayLine(moment, project, severity, text + said, label=label, is_step=True)
    if run is not None and event.type in OPENING_TYPES and run.id != run.name:
        title += f" ({formats.one_line(run.id, MAX_MESSAGE)})"
    if "Duration" in facts and run is not None and run.state in TERMINAL_STATES:
        title += f" after {facts['Duration']}"
    exit_code = facts.get("Exit code")
    more = (facts.get("Size"), facts.get("Image"), exit_code and f"exit code {exit_code}")
    text = ", ".join([title, *filter(None, more)])
    return DisplayLine(moment, project, severity, text, _details(default_texts.body(subject)), label)


def _repeats(message: str, event: TaskStepProgressEvent) -> bool:
    """Whether the message says no more than the step's name and status do."""
    return message in ("", f"{event.step}: {event.status}", event.step, event.status)


def _details(body: str) -> tuple[str, ...]:
    """The first lines and the last of what an event says beyond its title."""
    lines = output_lines(body) if body.strip() else []
    if len(lines) > DETAIL_LINES:
        head = DETAIL_LINES // 3
        left_out = len(lines) - DETAIL_LINES + 1
        lines = [*lines[:head], f"[… {left_out} more lines]", *lines[head + left_out :]]
    return tuple(lines)
