"""The body of ``POST /explain``: an event that has not happened, as JSON values."""

from collections.abc import Mapping
from typing import Any, Final

from aintandem_notify.control.delivery_filters import text_of, time_of
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.made_up import MadeUpEvent

MAX_DURATION_S: Final = 10 * 365 * 86400
"""Seconds that the run of an event may have run; our limit."""
KEYS: Final = frozenset({"event", "sample", "project", "at", "duration"})


def body_of(made_up: MadeUpEvent) -> dict[str, Any]:
    """Returns the body that ``made_up_from_body`` reads."""
    body: dict[str, Any] = {"event": dict(made_up.fields), "sample": made_up.is_sample}
    if made_up.project is not None:
        body["project"] = made_up.project
    if made_up.at is not None:
        body["at"] = made_up.at.isoformat()
    if made_up.duration_s is not None:
        body["duration"] = made_up.duration_s
    return body


def made_up_from_body(body: Mapping[str, Any]) -> MadeUpEvent:
    """Returns the event in a body. Raises RequestRefused for wrong values."""
    if unknown := body.keys() - KEYS:
        raise RequestRefused(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(KEYS))}")
    event, is_sample = body.get("event"), body.get("sample", True)
    if not isinstance(event, dict):
        raise RequestRefused('event should be an object, as {"type": "task_failed", "taskId": "task-1"}')
    if not isinstance(is_sample, bool):
        raise RequestRefused("sample should be true or false: whether missing fields are made up")
    duration = body.get("duration")
    if duration is not None and (isinstance(duration, bool) or not _is_seconds(duration)):
        raise RequestRefused(f"duration should be a number of seconds, at most {MAX_DURATION_S}")
    return MadeUpEvent(event, is_sample, text_of(body, "project"), time_of(body, "at"), duration)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= MAX_DURATION_S
