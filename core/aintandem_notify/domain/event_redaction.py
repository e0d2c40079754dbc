"""Removes secrets from events, runs, projects and notifications before they leave the agent.

The journal holds events as they came. Everything that leaves is redacted here: a new notification, one that is
read back from the store, an event for a live hook. Ids, types and times identify an event, so they are never
changed, even if they look like a secret.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from aintandem_notify.domain.events import Event, TaskOutputEvent, UnknownEvent, restore_event
from aintandem_notify.domain.notification import SECRETS_FIELD, Field, Notification, Project
from aintandem_notify.domain.runs import OUTPUT_TAIL_CHARACTERS, Run, RunRef, tail
from aintandem_notify.log import (
    CheckedTexts,
    may_be_split,
    may_hold_part,
    may_hold_secret,
    redact,
    redact_cut,
    redact_piece,
    redact_values,
)

EventContext = tuple[Event, Run | None, Project | None]
"""An event, its run as it is after the event, and its project."""
T = TypeVar("T")

_RUN_TEXTS: Final = ("output_tail", "name", "step", "workflow_id")
_checked_tails: Final = CheckedTexts()
"""The ends of the output of runs, by thread: each piece of output comes with all that was written before."""
WITHHELD_BODY: Final = "Its text cannot be shown. The log of AInTandem Notify says why."
"""The body of a notification that contains no text from outside."""


def redact_event(event: Event, before: str = "") -> Event:
    """The event without secrets; the same object if it holds none. ``before``: the run's output before it."""
    replacements = {}
    if isinstance(event, TaskOutputEvent) and (piece := redact_piece(event.output, before)) != event.output:
        replacements["output"] = piece
    if not replacements and not may_hold_secret(event.wire_json):
        return event
    redacted = event.map_values(redact_values, replacements)
    if redacted.wire() != event.wire():
        return redacted
    # A frame may repeat a key. The event has the last value, but the text of the frame has the others, too.
    return event if event.frame is None or redacted.wire_json == event.wire_json else redacted


def redact_events(events: Iterable[Event], written: Mapping[RunRef, str]) -> Iterator[Event]:
    """The events without secrets, including secrets that are split over several pieces of a run's output.

    ``written`` has the end of each run's output before the first of the events.
    """
    tails: dict[RunRef, str] = {}
    for event in events:
        if not isinstance(event, TaskOutputEvent):
            yield redact_event(event)
            continue
        ref = RunRef(event.project_id, event.family, event.task_id)
        before = tails.get(ref) or written.get(ref, "")
        yield redact_event(event, before)
        tails[ref] = tail(before + event.output)


def redact_event_context(context: EventContext) -> EventContext:
    """Event, run and project without secrets; the same object if they hold none."""
    event, run, project = context
    texts = [event.wire_json]
    if project is not None:
        texts.append(project.name)
    if run is None:
        may_hold = may_hold_secret("\n".join(texts))
    else:
        texts += (run.name, run.step or "", run.workflow_id or "")
        added = len(event.output) if isinstance(event, TaskOutputEvent) else 0
        may_hold = _checked_tails.may_hold_secret(run.thread, run.output_tail, added, "\n".join(texts))
    if may_hold:
        return redact_event(event, _before(event, run)), _if_any(redact_run, run), _if_any(redact_project, project)
    # A truncated text can hold a part of a secret without holding a whole one.
    if isinstance(event, TaskOutputEvent):
        before = _before(event, run)
        if may_hold_part(event.output, start=True) or (before and may_be_split(before, event.output)):
            event = redact_event(event, before)
    if run is not None and may_hold_part(run.output_tail, start=_is_cut(run.output_tail)):
        run = replace(run, output_tail=_redact_tail(run.output_tail))
    return context if event is context[0] and run is context[1] else (event, run, project)


def _before(event: Event, run: Run | None) -> str:
    """The known output of the run before the event's own; empty if the event's output alone fills the tail."""
    if run is None or not isinstance(event, TaskOutputEvent) or not run.output_tail.endswith(event.output):
        return ""
    return run.output_tail[: len(run.output_tail) - len(event.output)]


def _redact_tail(output: str) -> str:
    """The end of a run's output without secrets. It may begin in the middle of a line, and more may follow."""
    return redact_cut(output, start=_is_cut(output))


def _is_cut(output_tail: str) -> bool:
    return len(output_tail) >= OUTPUT_TAIL_CHARACTERS


def redact_run(run: Run) -> Run:
    """The run without secrets."""
    return replace(
        run,
        output_tail=_redact_tail(run.output_tail),
        name=redact(run.name),
        step=_if_any(redact, run.step),
        workflow_id=_if_any(redact, run.workflow_id),
    )


def redact_project(project: Project) -> Project:
    """The project without secrets in its name."""
    name = redact(project.name)
    return project if name == project.name else Project(id=project.id, name=name)


def redact_notification(notification: Notification) -> Notification:
    """The notification without secrets, including those that were not known when it was rendered."""
    return notification.model_copy(
        update={
            "title": redact(notification.title),
            "body": redact(notification.body),
            "fields": tuple(Field(redact(fact.name), redact(fact.value)) for fact in notification.fields),
            "url": _if_any(redact, notification.url),
            "event": redact_event(notification.event),
            "run": _if_any(redact_run, notification.run),
            "project": _if_any(redact_project, notification.project),
        }
    )


def redact_notification_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """As ``redact_notification``, for a notification as JSON values. Accepts values of any type."""
    redacted = {name: value for name, value in content.items() if name != SECRETS_FIELD}
    for name in ("title", "body", "fields", "url"):
        redacted[name] = redact_values(redacted.get(name))
    for name, texts in (("run", _RUN_TEXTS), ("project", ("name",))):
        if isinstance(part := redacted.get(name), dict):
            redacted[name] = part | {text: redact_values(part[text]) for text in texts if text in part}
    if isinstance(wire := redacted.get("event"), dict):
        redacted["event"] = redact_event(restore_event(wire)).wire()
    return redacted


def strip_run_texts(run: Run) -> Run:
    """The run with nothing but its identity, state and times."""
    return replace(run, name=run.id, workflow_id=None, step=None, output_tail="")


def generic_title(event: Event) -> str:
    """A title made from the event type alone: ``Task failed``."""
    known = "unknown_event" if isinstance(event, UnknownEvent) else event.type
    return known.replace("_", " ").capitalize()


def strip_texts(notification: Notification) -> Notification:
    """The notification without any text from outside, for the case that one of those texts causes a failure."""
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
