"""Encodes a notification as the body of a webhook: ``{type, timestamp, data}``, with our keys in snake_case."""

import json
from datetime import datetime
from typing import Any, Final

import msgspec

from aintandem_notify.api import Notification, Run

MAX_PLAIN_VALUE_CHARACTERS: Final = 1000
"""Characters of JSON that a value of the event may have in the last attempt."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(notification: Notification) -> bytes:
    """The body, exactly as it is signed and sent."""
    body = {
        "type": notification.event.type,
        "timestamp": _time(notification.occurred_at),
        "data": notification_values(notification),
    }
    try:
        return msgspec.json.encode(body)  # takes a tenth of the time of Python's own
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate cannot be sent; a question mark in its place can. An integer may have any size.
        return _ENCODER.encode(body).encode("utf-8", "replace")


def notification_values(notification: Notification) -> dict[str, Any]:
    """The notification as JSON values; ``event`` is in the orchestrator's own form."""
    project, event = notification.project, notification.event.wire()
    return {
        "id": notification.id,
        "thread": notification.thread,
        "severity": notification.severity.value,
        "title": notification.title,
        "body": notification.body,
        "fields": [{"name": field.name, "value": field.value} for field in notification.fields],
        "url": notification.url,
        "mentions": list(notification.mentions),
        "rule": notification.rule,
        "created_at": _time(notification.created_at),
        "caught_up": notification.event.caught_up,
        "project": None if project is None else {"id": project.id, "name": project.name},
        "run": None if notification.run is None else _run_values(notification.run),
        "plain": notification.plain,
        "instead_of": notification.instead_of,
        "event": _without_long_values(event) if notification.plain else event,
    }


def _without_long_values(event: dict[str, Any]) -> dict[str, Any]:
    """The event without its long values, in case that its size was the reason of the rejection."""
    return {name: value for name, value in event.items() if len(json.dumps(value)) <= MAX_PLAIN_VALUE_CHARACTERS}


def _run_values(run: Run) -> dict[str, Any]:
    return {
        "project_id": run.project_id,
        "kind": run.kind.value,
        "id": run.id,
        "attempt": run.attempt,
        "state": run.state.value,
        "name": run.name,
        "workflow_id": run.workflow_id,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
        "duration": run.duration,
        "step": run.step,
        "progress": run.progress,
        "output_tail": run.output_tail,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
