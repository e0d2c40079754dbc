"""A notification as the body of a webhook: ``{type, timestamp, data}``, all our own keys in snake_case."""

import json
from datetime import datetime
from typing import Any, Final

from aintandem_notify.api import Notification, Run

LONGEST_PLAIN_VALUE: Final = 1000
"""Characters of JSON that a value of the event may have at a last try."""


def encode(notification: Notification) -> bytes:
    """The body's bytes, which are what is signed and sent."""
    body = {
        "type": notification.event.type,
        "timestamp": _time(notification.occurred_at),
        "data": describe(notification),
    }
    # A lone surrogate cannot be sent; a question mark in its place can.
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def describe(notification: Notification) -> dict[str, Any]:
    """The notification as JSON values; ``event`` in the orchestrator's own form."""
    project = notification.project
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
        "run": None if notification.run is None else _describe_run(notification.run),
        "plain": notification.plain,
        "instead_of": notification.instead_of,
        "event": _short(notification.event.wire()) if notification.plain else notification.event.wire(),
    }


def _short(event: dict[str, Any]) -> dict[str, Any]:
    """The event without its long values, for a receiver that may have found it too large."""
    return {name: value for name, value in event.items() if len(json.dumps(value)) <= LONGEST_PLAIN_VALUE}


def _describe_run(run: Run) -> dict[str, Any]:
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
