"""Formats a notification as one line of JSON without control characters. Pure."""

import json
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from aintandem_notify.api import Notification, Run, escape_json


def json_line(notification: Notification) -> bytes:
    """The line in UTF-8, ended by its only line break; safe to show in a terminal."""
    values = record(notification)
    try:
        line = to_json(values, inf_nan_mode="null")
    except ValueError:  # a lone surrogate, which UTF-8 cannot encode but JSON can escape
        line = json.dumps(values, separators=(",", ":")).encode("ascii")
    if line.isascii() and b"\x7f" not in line:  # nearly always true, and a hundred times as fast as escaping
        return line + b"\n"
    return escape_json(line.decode()).encode() + b"\n"


def record(notification: Notification) -> dict[str, Any]:
    """The notification as JSON values; ``time`` is the event's, in UTC with milliseconds."""
    project = notification.project
    return {
        "time": _utc(notification.occurred_at),
        "id": notification.id,
        "rule": notification.rule,
        "severity": notification.severity.value,
        "title": notification.title,
        "body": notification.body,
        "project": None if project is None else {"id": project.id, "name": project.name},
        "run": None if notification.run is None else _run(notification.run),
        "event": notification.event.wire(),
    }


def _run(run: Run) -> dict[str, Any]:
    """The run without its output tail, which the events contain."""
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind.value,
        "attempt": run.attempt,
        "state": run.state.value,
        "duration": run.duration,
        "workflow_id": run.workflow_id,
        "step": run.step,
        "progress": run.progress,
        "created_at": _utc(run.created_at),
        "started_at": _utc(run.started_at),
        "ended_at": _utc(run.ended_at),
    }


def _utc(moment: datetime | None) -> str | None:
    # Our times are in UTC, so the offset is always +00:00.
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
