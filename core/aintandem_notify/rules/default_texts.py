"""The default text of every event type: one table of severity, title, body and facts.

Used where a rule has no title or body of its own. A person reads the text in a chat, perhaps at night, so it names
the event, its run, its project, and the error itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.health import ReasonId
from aintandem_notify.domain.notification import Field, Severity
from aintandem_notify.rules import formats
from aintandem_notify.rules.facts import FACTS, artifact_fact, event_field, project_name, run_name
from aintandem_notify.rules.texts.watches import late_fact, watch_body, watch_title

MAX_NAME_CHARACTERS: Final = 100
"""Characters of a task's name in a title; some tasks are named by their whole prompt."""
MAX_BODY_CHARACTERS: Final = 4000
"""Characters of a default body; as many as Slack shows without folding."""

MAX_FACT_CHARACTERS: Final = 300
"""Characters of one field."""


@dataclass(frozen=True, slots=True)
class DefaultText:
    """The default text of one event type.

    ``title`` takes the names of ``_TITLE_NAMES``, ``facts`` are keys of ``FACTS``.
    """

    severity: Severity
    title: str
    body: Callable[[EventContext], str] = lambda _context: ""
    facts: tuple[str, ...] = ()


def _error(context: EventContext) -> str:
    """The error; without one, the last lines of output."""
    event, run, _ = context
    return formats.as_text(event_field(event, "error")) or _output(context) or (run.output_tail if run else "")


def _output(context: EventContext) -> str:
    return formats.as_text(event_field(context[0], "output"))


def _message(context: EventContext) -> str:
    return formats.as_text(event_field(context[0], "message")) or _output(context)


def _reason(context: EventContext) -> str:
    return formats.as_text(event_field(context[0], "reason"))


def _link_trouble(context: EventContext) -> str:
    event = context[0]
    reason = event_field(event, "reason") or event_field(event, "error") or ""
    next_step = "Trying again automatically." if event_field(event, "will_reconnect") else "Not trying again."
    return "\n".join(filter(None, (reason, next_step)))


def _held_back(context: EventContext) -> str:
    return "\n".join(filter(None, (_reason(context), "Notifications are kept, and sent once it works again.")))


def _watch_counts(context: EventContext) -> str:
    event = context[0]
    projects, plugins = event_field(event, "projects") or 0, event_field(event, "plugins") or 0
    return f"{_plural(projects, 'project')} to watch, {_plural(plugins, 'plugin')}."


def _gap_summary(context: EventContext) -> str:
    event = context[0]
    changed, too_old = event_field(event, "changed") or 0, event_field(event, "too_old") or 0
    lines = [f"{_plural(changed, 'run')} changed meanwhile; missed events are reported now."] if changed else []
    if too_old:
        lines.append(f"{_plural(too_old, 'run')} ended too long ago to be reported.")
    if gone_runs := event_field(event, "gone") or 0:
        lines.append(f"No longer known to the orchestrator, so their end is unknown: {_plural(gone_runs, 'run')}.")
    if event_field(event, "incomplete"):
        lines.append(f"Not everything could be looked up: {_reason(context) or 'no reason is known'}")
    return "\n".join(lines or ["No run changed meanwhile."])


def _backlog_summary(context: EventContext) -> str:
    event = context[0]
    types, names, runs = (
        event_field(event, "types") or {},
        event_field(event, "names") or (),
        event_field(event, "runs") or 0,
    )
    kinds = ", ".join(f"{count} × {name}" for name, count in types.items())
    more = f" and {runs - len(names)} more" if runs > len(names) else ""
    about = f"About {', '.join(names)}{more}." if names else ""
    waited = "They waited while this destination was out of reach. Errors are sent one by one."
    return "\n".join(filter(None, (kinds, about, waited)))


def _silence_body(context: EventContext) -> str:
    event = context[0]
    globs = ", ".join(f"{name} {glob}" for name, glob in (event_field(event, "matchers") or {}).items())
    lines = [_reason(context), f"It silences {globs}." if globs else ""]
    lines.append("When it ends, each destination gets one message about all that it held.")
    if silence := event_field(event, "silence"):
        lines.append(f"To end it now: aintandem-notify silences end {silence}")
    return "\n".join(filter(None, lines))


_DIGEST_TITLES: Final[Mapping[str, str]] = {
    "throttle": "More: {counts}",
    "quiet": "During {label}: {counts}",
    "silence": "While silenced: {counts}",
    "held_back_by": "Held back until now: {counts}",
}
_MAX_PHRASES: Final = 3


def _digest_title(context: EventContext) -> str:
    event, _, project = context
    types = list((event_field(event, "types") or {}).items())
    phrases = [_counted(name, count) for name, count in types]
    if len(phrases) > _MAX_PHRASES:
        phrases[_MAX_PHRASES - 1 :] = [_plural(sum(count for _, count in types[_MAX_PHRASES - 1 :]), "other")]
    projects = event_field(event, "projects") or ()
    place = f" in {len(projects)} projects" if len(projects) > 1 else f" in {project.name}" if project else ""
    template = _DIGEST_TITLES.get(event_field(event, "held_by") or "", "{counts}")
    return template.format(
        counts=(", ".join(phrases) or "several notifications") + place,
        label=event_field(event, "label") or "quiet hours",
    )


def _counted(event_type: str, count: int) -> str:
    """The number of events of a type in words: ``12 tasks failed``."""
    for noun, prefix in (("task", "task_"), ("workflow", "workflow_execution_"), ("sandbox", "sandbox_")):
        verb = event_type.removeprefix(prefix)
        if verb in _PAST_VERBS and event_type.startswith(prefix):
            nouns = noun if count == 1 else "sandboxes" if noun == "sandbox" else f"{noun}s"
            return f"{count} {nouns} {_PAST_VERBS[verb]}"
    return f"{count} × {event_type.replace('_', ' ')}"


_PAST_VERBS: Final[Mapping[str, str]] = {
    **{verb: verb for verb in ("failed", "completed", "cancelled", "started", "queued", "created", "stopped")},
    **{verb: verb for verb in ("paused", "resumed")},
    "error": "with an error",
}


def _digest_body(context: EventContext) -> str:
    event = context[0]
    failed, still_open = event_field(event, "failed_runs") or 0, event_field(event, "open_runs") or 0
    # First, because a desktop and a phone show only the beginning.
    lines = [_still_open(failed, still_open)] if failed else []
    lines += [f"• {title}" for title in event_field(event, "titles") or ()]
    if unlisted := event_field(event, "unlisted") or 0:
        lines.append(f"… and {unlisted} more")
    return "\n".join(lines)


def _still_open(failed: int, still_open: int) -> str:
    if failed == 1:
        return f"The failed run has {'not ' if still_open else ''}succeeded since."
    if not still_open:
        return f"{'Both' if failed == 2 else f'All {failed}'} failed runs have succeeded since."
    if still_open == failed:
        return f"{'Neither' if failed == 2 else 'None'} of the {failed} failed runs has succeeded since."
    return f"{still_open} of {failed} failed runs {'has' if still_open == 1 else 'have'} not succeeded since."


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _whole_event(context: EventContext) -> str:
    return formats.as_text(context[0].model_extra)


_TASK_FACTS = ("Project", "Attempt", "Happened")
_TASK_END_FACTS = ("Project", "Duration", "Attempt", "Happened")
_TASK_TROUBLE_FACTS = ("Project", "Duration", "Step", "Attempt", "Happened")
_STEP_FACTS = ("Project", "Progress", "Attempt", "Happened")
_WORKFLOW_FACTS = ("Project", "Workflow", "Attempt", "Happened")
_WORKFLOW_END_FACTS = ("Project", "Workflow", "Duration", "Attempt", "Happened")
_WORKFLOW_TROUBLE_FACTS = ("Project", "Workflow", "Phase", "Duration", "Attempt", "Happened")
_LINK_FACTS = ("Close code", "Happened")
_WATCH_FACTS = ("Watch", "Attempt", "Noticed")

_INFO, _SUCCESS, _WARNING = Severity.INFO, Severity.SUCCESS, Severity.WARNING
_ERROR, _CRITICAL = Severity.ERROR, Severity.CRITICAL

DEFAULT_TEXTS: Final[Mapping[str, DefaultText]] = {
    "task_queued": DefaultText(_INFO, 'Task "{run}" is queued', facts=_TASK_FACTS),
    "task_started": DefaultText(_INFO, 'Task "{run}" started', facts=_TASK_FACTS),
    "step_progress": DefaultText(_INFO, 'Task "{run}": {step}', _message, _STEP_FACTS),
    "output": DefaultText(_INFO, 'Output of task "{run}"', _output, _TASK_FACTS),
    "artifact": DefaultText(
        _INFO, 'Task "{run}" made {artifact}', facts=("Project", "Artifact", "Type", "Size", "Attempt", "Happened")
    ),
    "task_completed": DefaultText(_SUCCESS, 'Task "{run}" completed', _output, _TASK_END_FACTS),
    "task_failed": DefaultText(_ERROR, 'Task "{run}" failed', _error, _TASK_TROUBLE_FACTS),
    "task_cancelled": DefaultText(_WARNING, 'Task "{run}" was cancelled', facts=_TASK_TROUBLE_FACTS),
    "workflow_execution_created": DefaultText(_INFO, 'Workflow "{run}" is about to run', facts=_WORKFLOW_FACTS),
    "workflow_execution_started": DefaultText(_INFO, 'Workflow "{run}" started', facts=_WORKFLOW_FACTS),
    "workflow_phase_started": DefaultText(_INFO, 'Workflow "{run}": phase {phase} started', facts=_WORKFLOW_FACTS),
    "workflow_phase_completed": DefaultText(
        _INFO, 'Workflow "{run}": phase {phase} completed', _output, _WORKFLOW_FACTS
    ),
    "workflow_execution_completed": DefaultText(
        _SUCCESS, 'Workflow "{run}" completed', _output, _WORKFLOW_END_FACTS
    ),
    "workflow_execution_failed": DefaultText(_ERROR, 'Workflow "{run}" failed', _error, _WORKFLOW_TROUBLE_FACTS),
    "workflow_execution_paused": DefaultText(
        _WARNING, 'Workflow "{run}" is paused', facts=("Project", "Workflow", "Phase", "Attempt", "Happened")
    ),
    "workflow_execution_resumed": DefaultText(_INFO, 'Workflow "{run}" resumed', facts=_WORKFLOW_FACTS),
    "sandbox_created": DefaultText(
        _INFO, 'Sandbox "{run}" was created', facts=("Project", "Image", "Attempt", "Happened")
    ),
    "sandbox_started": DefaultText(_INFO, 'Sandbox "{run}" started', facts=_TASK_FACTS),
    "sandbox_stopped": DefaultText(
        _INFO, 'Sandbox "{run}" stopped', facts=("Project", "Exit code", "Duration", "Attempt", "Happened")
    ),
    "sandbox_error": DefaultText(_ERROR, 'Sandbox "{run}" has an error', _error, _TASK_END_FACTS),
    "connection_connected": DefaultText(_INFO, "Connected to project {project}", facts=_LINK_FACTS),
    "connection_disconnected": DefaultText(
        _WARNING, "Connection to project {project} lost", _link_trouble, _LINK_FACTS
    ),
    "connection_error": DefaultText(_WARNING, "No connection to project {project}", _link_trouble, _LINK_FACTS),
    "agent_started": DefaultText(_INFO, "AInTandem Notify is running", _watch_counts, ("Version",)),
    "agent_stopped": DefaultText(_INFO, "AInTandem Notify has stopped", _reason),
    # Critical if the agent is failing: see ``severity``.
    "agent_degraded": DefaultText(_WARNING, "{trouble}", _reason),
    "agent_recovered": DefaultText(_SUCCESS, "Over after {lasted}: {trouble}", _reason),
    "login_failed": DefaultText(_CRITICAL, "Login to the orchestrator failed", _reason),
    "plugin_failed": DefaultText(_ERROR, "Plugin {instance} does not work", _reason),
    "destination_parked": DefaultText(_ERROR, "Notifications to {instance} are held back", _held_back),
    "destination_recovered": DefaultText(_SUCCESS, "Notifications to {instance} work again", _reason),
    "store_degraded": DefaultText(_ERROR, "AInTandem Notify has trouble with its store", _reason),
    "backlog_folded": DefaultText(_INFO, "{count} notifications in one", _backlog_summary, ("Oldest", "Newest")),
    "silence_ending": DefaultText(
        _INFO, "A silence ends in {lasted} and holds {held}", _silence_body, ("Ends", "Owner")
    ),
    # The notification has the highest severity of those that it stands for.
    "digest": DefaultText(_INFO, "{digest}", _digest_body, ("Group", "Oldest", "Newest")),
    # A warning at the most: see ``severity``.
    "feed_gap": DefaultText(
        _WARNING,
        "Nothing was heard of project {project} for {blind}",
        _gap_summary,
        ("Not heard from", "Heard again"),
    ),
    "run_stalled": DefaultText(_WARNING, "{watched}", watch_body, ("Project", "Step", "Progress", *_WATCH_FACTS)),
    "run_overdue": DefaultText(_WARNING, "{watched}", watch_body, ("Project", "Step", "Progress", *_WATCH_FACTS)),
    "run_waiting": DefaultText(_WARNING, "{watched}", watch_body, ("Project", *_WATCH_FACTS)),
    "run_missing": DefaultText(_ERROR, "{watched}", watch_body, ("Project", *_WATCH_FACTS)),
    "run_too_fast": DefaultText(_WARNING, "{watched}", watch_body, ("Project", *_WATCH_FACTS)),
    "run_moving": DefaultText(_INFO, "{watched}", watch_body, ("Project", "Step", *_WATCH_FACTS)),
    "run_arrived": DefaultText(_INFO, "{watched}", watch_body, ("Project", *_WATCH_FACTS)),
}
"""Every known type; ``UNKNOWN_TEXT`` is for all others."""

UNKNOWN_TEXT: Final = DefaultText(_INFO, "Unknown event {type}", _whole_event, ("Project", "Happened"))


_FACTS: Final = {**FACTS, "Noticed": late_fact}


def default_text(event: Event) -> DefaultText:
    """The default text of ``event``'s type."""
    if event.family is Family.UNKNOWN:  # also when its type is the name of one of our own events
        return UNKNOWN_TEXT
    return DEFAULT_TEXTS.get(event.type, UNKNOWN_TEXT)


def severity(event: Event) -> Severity:
    """The default severity of ``event``: that of its type.

    It is lower for a ``feed_gap`` that lost nothing, and higher for an agent that is failing.
    """
    if event.type == "feed_gap" and not (event_field(event, "too_old") or event_field(event, "gone")):
        # A lookup that always fails is reported as a warning once, not after each gap.
        is_news = event_field(event, "incomplete") and not event_field(event, "repeated")
        return default_text(event).severity if is_news else Severity.INFO
    if event.type == "agent_degraded" and event_field(event, "failing"):
        return Severity.CRITICAL
    return default_text(event).severity


def title(context: EventContext) -> str:
    """One line that names the event and its run or project; marked if the event was caught up after a gap."""
    event = context[0]
    line = default_text(event).title.format_map(_TitleNames(context))
    return f"{line} (caught up)" if event.caught_up else line


def body(context: EventContext) -> str:
    """The error, the output or the message; empty if the title is enough."""
    return formats.cut_middle(default_text(context[0]).body(context), MAX_BODY_CHARACTERS).strip("\n")


def fields(context: EventContext) -> tuple[Field, ...]:
    """The facts of the event that have a value."""
    return tuple(
        [
            Field(name, formats.one_line(value, MAX_FACT_CHARACTERS))
            for name in default_text(context[0]).facts
            if (value := _FACTS[name](context))
        ]
    )


def _step_and_status(event: Event) -> str:
    """The step and its status: ``Load data completed``. Unknown parts have a placeholder."""
    step = event_field(event, "step") or event_field(event, "step_id") or "a step"
    status = (event_field(event, "status") or "moved").replace("-", " ").replace("_", " ")
    return f"{step} is {status}" if status in ("pending", "running", "in progress") else f"{step} {status}"


_TROUBLE_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    ReasonId.LOGIN: ("The orchestrator refuses the login", ""),
    ReasonId.ORCHESTRATOR: ("The orchestrator cannot be reached", ""),
    ReasonId.DISCOVERY: ("New projects cannot be found", ""),
    ReasonId.NOTHING_WATCHED: ("Projects that should be watched are missing", ""),
    ReasonId.LINK: ("No link to project {subject}", "No link to {count} projects"),
    ReasonId.CAPACITY: ("Projects that no agent watches", ""),
    ReasonId.DESTINATION: ("Notifications to {subject} are held back", "{count} destinations do not work"),
    ReasonId.GIVEN_UP: ("Notifications to {subject} were given up", "{count} destinations gave up notifications"),
    ReasonId.NO_DESTINATION: ("No destination works", ""),
    ReasonId.PLUGIN: ("Plugin {subject} does not work", "{count} plugins do not work"),
    ReasonId.RELOAD: ("The changed config is not in use", ""),
    ReasonId.STORE: ("AInTandem Notify has trouble with its store", ""),
    ReasonId.LOOP: ("AInTandem Notify was blocked", ""),
}
"""The title of a notice for each kind of reason: about one subject or none, and about several."""


def _trouble_title(context: EventContext) -> str:
    event = context[0]
    about_one, about_several = _TROUBLE_TITLES.get(event_field(event, "kind") or "", ("The agent is not well", ""))
    subjects = event_field(event, "subjects") or ()
    if len(subjects) > 1 and about_several:
        return about_several.format(count=len(subjects))
    return about_one.format(subject=subjects[0] if subjects else "")


_TITLE_NAMES: Final[Mapping[str, Callable[[EventContext], str]]] = {
    "run": lambda context: run_name(*context[:2]),
    "project": lambda context: project_name(context[0], context[2]),
    "blind": lambda context: formats.duration(event_field(context[0], "seconds") or 0.0),
    "instance": lambda context: event_field(context[0], "instance") or "",
    "trouble": _trouble_title,
    "lasted": lambda context: formats.duration(event_field(context[0], "seconds") or 0.0),
    "type": lambda context: context[0].type,
    "count": lambda context: str(event_field(context[0], "count") or 0),
    "digest": _digest_title,
    "watched": watch_title,
    "held": lambda context: _plural(event_field(context[0], "count") or 0, "notification"),
    "step": lambda context: _step_and_status(context[0]),
    "artifact": lambda context: PurePosixPath(artifact_fact("path")(context) or "").name or "a file",
    "phase": lambda context: event_field(context[0], "phase") or event_field(context[0], "phase_id") or "",
}
"""The names that a title in ``DEFAULT_TEXTS`` can use."""


class _TitleNames(Mapping[str, str]):
    """The title names of one event, each computed when the title uses it."""

    def __init__(self, context: EventContext) -> None:
        self._context = context

    def __getitem__(self, name: str) -> str:
        return formats.one_line(_TITLE_NAMES[name](self._context), MAX_NAME_CHARACTERS)

    def __iter__(self) -> Iterator[str]:
        return iter(_TITLE_NAMES)

    def __len__(self) -> int:
        return len(_TITLE_NAMES)
