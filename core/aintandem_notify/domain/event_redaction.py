"""What may leave the agent of an event, its run and its project: everything but secrets, under the same identity.

The journal holds events as they came; each way out (a notification, one that is read back, a live hook) shows
them through here. Ids, types and times say what it is about, so they stay as they are, whatever they look like.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from aintandem_notify.domain.events import Event, TaskOutputEvent, restore_event
from aintandem_notify.domain.notification import Field, Notification, Project
from aintandem_notify.domain.runs import OUTPUT_TAIL_CHARACTERS, Run, RunRef, tail
from aintandem_notify.log import may_hold_secret, redact, redact_cut, redact_piece, redact_values

EventContext = tuple[Event, Run | None, Project | None]
"""An event, its run as it is after the event, and its project."""
T = TypeVar("T")

_TEXTS_OF_A_RUN: Final = ("output_tail", "name", "step", "workflow_id")
WITHHELD_BODY: Final = "What it says cannot be shown. The log of AInTandem Notify says why."
"""The body of a notification that had to do without any text from outside."""


def redact_event(event: Event, before: str = "") -> Event:
    """The event without secrets; the very same where there is none. ``before``: what its run had written."""
    instead = {}
    if isinstance(event, TaskOutputEvent) and (piece := redact_piece(event.output, before)) != event.output:
        instead["output"] = piece
    if not instead and not may_hold_secret(event.wire_json):
        return event
    told = event.map_values(redact_values, instead)
    return event if told.wire() == event.wire() else told


def redact_events(events: Iterable[Event], written: Mapping[RunRef, str]) -> Iterator[Event]:
    """Events of any runs without secrets, also without those that lie over several pieces of a run's output.

    ``written`` is what the runs had written before, at the end.
    """
    ends: dict[RunRef, str] = {}
    for event in events:
        if not isinstance(event, TaskOutputEvent):
            yield redact_event(event)
            continue
        ref = RunRef(event.project_id, event.family, event.task_id)
        before = ends.get(ref) or written.get(ref, "")
        yield redact_event(event, before)
        ends[ref] = tail(before + event.output)


def redact_event_context(context: EventContext) -> EventContext:
    """All three without secrets; the very same where there is none."""
    event, run, project = context
    before = _before(event, run)
    told = [event.wire_json]
    if run is not None:
        told += (run.output_tail, run.name, run.step or "", run.workflow_id or "")
    if project is not None:
        told.append(project.name)
    if not may_hold_secret("\n".join(told)):
        # Only what was cut can hold a part of a secret without holding one.
        if isinstance(event, TaskOutputEvent):
            event = redact_event(event, before)
        if run is not None and (end := _shown_tail(run.output_tail)) != run.output_tail:
            run = replace(run, output_tail=end)
        return context if event is context[0] and run is context[1] else (event, run, project)
    return redact_event(event, before), _if_any(redact_run, run), _if_any(redact_project, project)


def _before(event: Event, run: Run | None) -> str:
    """What is known of the run's output before that of the event; nothing where that is longer than the rest."""
    if run is None or not isinstance(event, TaskOutputEvent) or not run.output_tail.endswith(event.output):
        return ""
    return run.output_tail[: len(run.output_tail) - len(event.output)]


def _shown_tail(output: str) -> str:
    """The end of a run's output, which may begin in the midst of a line, and which may go on."""
    return redact_cut(output, start=len(output) >= OUTPUT_TAIL_CHARACTERS)


def redact_run(run: Run) -> Run:
    """The run without secrets."""
    return replace(
        run,
        output_tail=_shown_tail(run.output_tail),
        name=redact(run.name),
        step=_if_any(redact, run.step),
        workflow_id=_if_any(redact, run.workflow_id),
    )


def redact_project(project: Project) -> Project:
    """The project without secrets in its name."""
    name = redact(project.name)
    return project if name == project.name else Project(id=project.id, name=name)


def redact_notification(notification: Notification) -> Notification:
    """The notification without secrets, also those that were not known when it was made."""
    return notification.model_copy(
        update={
            "title": redact(notification.title),
            "body": redact(notification.body),
            "fields": tuple(Field(redact(one.name), redact(one.value)) for one in notification.fields),
            "url": _if_any(redact, notification.url),
            "event": redact_event(notification.event),
            "run": _if_any(redact_run, notification.run),
            "project": _if_any(redact_project, notification.project),
        }
    )


def redact_notification_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """As ``redact_notification``, for a notification as JSON values, whatever is in it."""
    told = dict(content)
    for name in ("title", "body", "fields", "url"):
        told[name] = redact_values(told.get(name))
    for name, texts in (("run", _TEXTS_OF_A_RUN), ("project", ("name",))):
        if isinstance(one := told.get(name), dict):
            told[name] = one | {text: redact_values(one[text]) for text in texts if text in one}
    if isinstance(wire := told.get("event"), dict):
        told["event"] = redact_event(restore_event(wire)).wire()
    return told


def strip_run_texts(run: Run) -> Run:
    """The run by its identity, state and times alone."""
    return replace(run, name=run.id, workflow_id=None, step=None, output_tail="")


def generic_title(event: Event) -> str:
    """What happened, in words of our own: ``Task failed``."""
    known = event.type if type(event).model_fields["type"].default == event.type else "unknown_event"
    return known.replace("_", " ").capitalize()


def strip_texts(notification: Notification) -> Notification:
    """The notification without any text from outside, for when something is wrong with those."""
    return notification.model_copy(
        update={
            "title": generic_title(notification.event),
            "body": WITHHELD_BODY,
            "fields": (),
            "url": None,
            "event": notification.event.without_texts(),
            "run": _if_any(strip_run_texts, notification.run),
            "project": _if_any(lambda project: Project(id=project.id, name=project.id), notification.project),
        }
    )


def _if_any(change: Callable[[T], Any], value: T | None) -> Any:
    return None if value is None else change(value)
