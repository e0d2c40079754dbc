"""Describes the steps of a scenario in words. Pure."""

from aintandem_notify.config import format_duration
from aintandem_notify.domain.events import Event
from aintandem_notify.rules import formats
from aintandem_notify.scenarios.scenario import (
    Happening,
    LinkChange,
    Reload,
    Restart,
    SilenceBegins,
    SilenceEnds,
    Step,
)

MAX_NAME_CHARACTERS = 60
"""Characters of a run's name."""


def describe(step: Step) -> str:
    """The step in a few words: ``task_failed train-1 in Sales``."""
    match step:
        case Happening(events=(event,)):
            return f"{event.type}{_about(event)}{_in_project(step)}"
        case Happening(events=events):
            return f"{len(events)} × {events[0].type}{_about(events[0])} to{_about(events[-1])}{_in_project(step)}"
        case SilenceBegins(silence=silence):
            matchers = ", ".join(f"{name} {glob}" for name, glob in silence.matchers.items())
            length = format_duration((silence.expires_at - silence.begins_at).total_seconds())
            return f"silence {silence.id} for {length}: {matchers}"
        case SilenceEnds():
            return f"silence {step.silence_id} is ended"
        case Reload():
            return "reload"
        case Restart():
            down_s = (step.until - step.at).total_seconds()
            return f"restart, the agent does not run for {format_duration(down_s)}" if down_s else "restart"
        case LinkChange():
            return f"link {'up' if step.is_up else 'down'}: {step.project.name}"
        case _:
            raise TypeError(type(step).__name__)


def _about(event: Event) -> str:
    name = getattr(event, "task", None) or getattr(event, "workflow_id", None) or event.run_id or ""
    about = name or getattr(event, "instance", "")
    return f" {formats.one_line(about, MAX_NAME_CHARACTERS)}" if about else ""


def _in_project(step: Happening) -> str:
    return "" if step.project is None else f" in {formats.one_line(step.project.name, MAX_NAME_CHARACTERS)}"
