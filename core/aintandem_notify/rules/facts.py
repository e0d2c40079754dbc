"""The short named facts of a notification, each computed from the event, its run and its project."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.events import Event, field_names
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.foundation.clock import iso_seconds
from aintandem_notify.rules import formats


def event_field(event: Event, name: str) -> Any:
    """The field called ``name`` of ``event``; None if its type has no such field.

    Extra fields from the wire are ignored: their values may be anything.
    """
    return getattr(event, name) if name in field_names(type(event)) else None


def run_name(event: Event, run: Run | None) -> str:
    """The name of the run; without one, that of the task or the run's id."""
    return (run and run.name) or event_field(event, "task") or event.run_id or ""


def project_name(event: Event, project: Project | None) -> str:
    """The name of the project, or its id; empty if the event is about no project."""
    return project.name if project is not None else event.project_id or ""


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{min(max(value, 0.0), 100.0):.0f}%"


def artifact_fact(name: str, to_text: Callable[[Any], str] = str) -> Callable[[EventContext], str | None]:
    """A fact about the file that a task created: the attribute ``name`` of ``event.artifact``."""

    def fact(context: EventContext) -> str | None:
        value = getattr(event_field(context[0], "artifact"), name, None)
        return None if value is None else to_text(value)

    return fact


def _field_text(name: str) -> Callable[[EventContext], str | None]:
    def fact(context: EventContext) -> str | None:
        value = event_field(context[0], name)
        return None if value is None else str(value)

    return fact


def _field_time(name: str) -> Callable[[EventContext], str | None]:
    def fact(context: EventContext) -> str | None:
        value = event_field(context[0], name)
        return None if value is None else f"{iso_seconds(value)} UTC"

    return fact


def _run_fact(to_text: Callable[[Run], str | None]) -> Callable[[EventContext], str | None]:
    return lambda context: None if context[1] is None else to_text(context[1])


def _group(context: EventContext) -> str | None:
    """The common values of a group, unless the project, which is shown anyway, is all of it."""
    event, _, project = context
    label: str | None = event_field(event, "label")
    if event_field(event, "held_by") != "group" or label == project_name(event, project):
        return None
    return label


FACTS: Final[Mapping[str, Callable[[EventContext], str | None]]] = {
    "Project": lambda context: project_name(context[0], context[2]),
    "Workflow": lambda context: (
        None if (workflow := event_field(context[0], "workflow_id")) == run_name(*context[:2]) else workflow
    ),
    "Duration": _run_fact(lambda run: None if run.duration is None else formats.duration(run.duration)),
    "Step": _run_fact(lambda run: run.step),
    "Phase": _run_fact(lambda run: run.step),
    "Progress": lambda context: _percent(event_field(context[0], "progress")),
    "Attempt": _run_fact(lambda run: str(run.attempt) if run.attempt > 1 else None),
    "Artifact": artifact_fact("path"),
    "Type": artifact_fact("type"),
    "Size": artifact_fact("size", formats.size),
    "Image": _field_text("image"),
    "Exit code": _field_text("exit_code"),
    "Close code": _field_text("code"),
    "Version": _field_text("version"),
    "Not heard from": _field_time("blind_from"),
    "Heard again": _field_time("blind_until"),
    "Group": _group,
    "Ends": _field_time("expires_at"),
    "Owner": _field_text("owner"),
    "Watch": _field_text("watch"),
    "Oldest": _field_time("oldest"),
    "Newest": _field_time("newest"),
    "Happened": lambda context: (
        f"{iso_seconds(context[0].timestamp)[:-3]} UTC, seen after a gap" if context[0].caught_up else None
    ),
}
"""The facts by name; one that is None or empty is left out."""
