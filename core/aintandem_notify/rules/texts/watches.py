"""Titles and bodies of the events of watches. ``default_texts`` has the other texts."""

from collections.abc import Callable, Mapping
from typing import Final

from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.foundation.clock import iso_seconds
from aintandem_notify.rules import formats
from aintandem_notify.rules.facts import event_field, run_name

LATE_FROM_S: Final = 60.0
"""Seconds from which the text says that an event of a watch comes late."""

_NOUNS: Final = {"task": "Task", "workflow": "Workflow", "sandbox": "Sandbox"}


def watch_title(context: EventContext) -> str:
    """One line about the run and its trouble."""
    render = _TITLES.get(context[0].type)
    return "" if render is None else render(context)


def _stalled(context: EventContext) -> str:
    kind = "has made no progress" if event_field(context[0], "no_progress") else "has been silent"
    return f"{_run(context)} {kind} for {_seconds(context)}"


def _waiting(context: EventContext) -> str:
    event = context[0]
    state = event_field(event, "state") or "waiting"
    words = f"is still {state}, after" if event_field(event, "reminder") else f"has been {state} for"
    return f"{_run(context)} {words} {_seconds(context)}"


def _missing(context: EventContext) -> str:
    event = context[0]
    missed = event_field(event, "missed") or 1
    times = f" {missed} times" if missed > 1 else ""
    return f"{_pattern(context)} did not start as expected{times}"


def _moving(context: EventContext) -> str:
    return f"{_run(context)} is moving again"


def _arrived(context: EventContext) -> str:
    return f"{_run(context)} has started, {_seconds(context)} late"


_TITLES: Final[Mapping[str, Callable[[EventContext], str]]] = {
    "run_stalled": _stalled,
    "run_overdue": lambda context: f"{_run(context)} has been running for {_seconds(context)}",
    "run_waiting": _waiting,
    "run_missing": _missing,
    "run_too_fast": lambda context: f"{_run(context)} completed after only {_seconds(context)}",
    "run_moving": _moving,
    "run_arrived": _arrived,
}


def watch_body(context: EventContext) -> str:
    """The facts of the watch that people compare with: how long it usually takes, when it was expected."""
    event = context[0]
    lines = []
    if (usual := event_field(event, "usual")) is not None:
        lines.append(f"Usually it takes {formats.duration(usual)}.")
    if (expected := event_field(event, "expected_at")) is not None and event.type == "run_missing":
        last = event_field(event, "last_at")
        since = "none has been seen before" if last is None else f"the last one started at {iso_seconds(last)} UTC"
        lines.append(f"Expected at {iso_seconds(expected)} UTC; {since}.")
    return "\n".join(lines)


def late_fact(context: EventContext) -> str | None:
    """The time by which the event is late, and the reason; None if it is in time."""
    late_by = event_field(context[0], "late_by") or 0.0
    if late_by < LATE_FROM_S:
        return None
    return f"{formats.duration(late_by)} late: nothing could be heard when it was due"


def _run(context: EventContext) -> str:
    event, run, _ = context
    noun = _NOUNS.get(event_field(event, "kind") or "", "Run")
    name = run_name(event, run) or event_field(event, "about") or ""
    return f'{noun} "{formats.one_line(name, _MAX_NAME_CHARACTERS)}"'


_MAX_NAME_CHARACTERS: Final = 60


def _pattern(context: EventContext) -> str:
    event = context[0]
    noun = _NOUNS.get(event_field(event, "kind") or "", "Run")
    pattern = event_field(event, "pattern") or ""
    return f'{noun} "{formats.one_line(pattern, _MAX_NAME_CHARACTERS)}"' if pattern else f"A {noun.lower()}"


def _seconds(context: EventContext) -> str:
    return formats.duration(event_field(context[0], "seconds") or 0.0)
