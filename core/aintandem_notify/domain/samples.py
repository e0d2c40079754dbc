"""Realistic events, runs and notifications: for tests, and for the test notification of ``aintandem-notify test``.

pytest loads this module in every test run (see ``testing``), so it imports nothing of weight until it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aintandem_notify.domain.events import Event
    from aintandem_notify.domain.notification import Notification
    from aintandem_notify.domain.runs import Run

SAMPLE_TIME: Final = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
"""The default time of sample events."""

SAMPLE_DURATION: Final = 42.0
"""Seconds from the start of a sample run to its event."""

_TASK: Final = {"projectId": "project-123", "taskId": "task-1"}
_EXECUTION: Final = {"projectId": "project-123", "executionId": "exec-1", "workflowId": "release-pipeline"}
_SANDBOX: Final = {"projectId": "project-123", "sandboxId": "sandbox-1"}
_PROJECT: Final = {"projectId": "project-123"}
_WATCHED: Final = {**_PROJECT, "kind": "task", "about": "task-1", "attempt": 1}
_NAME: Final = "Refactor the payment module"

SAMPLE_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "task_queued": {**_TASK, "task": _NAME, "input": {"branch": "main"}},
    "task_started": {**_TASK, "task": _NAME},
    "step_progress": {
        **_TASK,
        "stepId": "step-2",
        "step": "Run the tests",
        "status": "running",
        "message": "128 of 320 tests",
        "progress": 40,
    },
    "output": {**_TASK, "stepId": "step-2", "output": "collected 320 items\ntests/test_pay.py ....F..\n"},
    "artifact": {**_TASK, "artifact": {"path": "reports/coverage.html", "type": "text/html", "size": 48213}},
    "task_completed": {**_TASK, "task": _NAME, "output": "320 passed", "duration": SAMPLE_DURATION * 1000},
    "task_failed": {**_TASK, "task": _NAME, "error": "AssertionError: expected 200, got 502", "output": None},
    "task_cancelled": {**_TASK, "task": _NAME},
    "workflow_execution_created": {**_EXECUTION, "input": {"version": "2.4.0"}},
    "workflow_execution_started": {**_EXECUTION},
    "workflow_phase_started": {**_EXECUTION, "phaseId": "phase-2", "phase": "Deploy to staging"},
    "workflow_phase_completed": {
        **_EXECUTION,
        "phaseId": "phase-2",
        "phase": "Deploy to staging",
        "output": "3 services updated",
    },
    "workflow_execution_completed": {**_EXECUTION, "output": "released 2.4.0", "duration": SAMPLE_DURATION * 1000},
    "workflow_execution_failed": {**_EXECUTION, "error": "phase Deploy to staging: health check timed out"},
    "workflow_execution_paused": {**_EXECUTION},
    "workflow_execution_resumed": {**_EXECUTION},
    "sandbox_created": {**_SANDBOX, "image": "aintandem/flexy:2.1"},
    "sandbox_started": {**_SANDBOX},
    "sandbox_stopped": {**_SANDBOX, "exitCode": 0},
    "sandbox_error": {**_SANDBOX, "error": "container was killed: out of memory (limit 2 GiB)"},
    "connection_connected": {**_PROJECT},
    "connection_disconnected": {
        **_PROJECT,
        "code": 1006,
        "reason": "the connection was lost",
        "willReconnect": True,
    },
    "connection_error": {**_PROJECT, "error": "connection refused", "willReconnect": True},
    "agent_started": {"version": "0.1.0", "projects": 2, "plugins": 3, "reason": "watching 2 projects"},
    "agent_stopped": {"reason": "SIGTERM"},
    "agent_degraded": {
        "kind": "link",
        "subjects": ["project-123"],
        "reason": "project Sales pipeline has no link: connection refused",
        "failing": False,
        "excluded": ["webhook.ops"],
    },
    "agent_recovered": {
        "kind": "link",
        "subjects": ["project-123"],
        "reason": "project Sales pipeline has no link: connection refused",
        "seconds": 312.0,
        "begunBy": "3f9c51b2a7de40618cb4d2e5f7a90b13",
        "recipients": ["slack.team"],
    },
    "login_failed": {"reason": "the orchestrator refused the password of admin"},
    "plugin_failed": {"instance": "slack.team", "reason": "ImportError: no module named slack_sdk"},
    "destination_parked": {"instance": "slack.team", "reason": "invalid_token"},
    "destination_recovered": {"instance": "slack.team", "reason": "delivered again"},
    "store_degraded": {"reason": "the disk is full; reading and sending pause until there is room again"},
    "feed_gap": {
        **_PROJECT,
        "projectName": "Sales pipeline",
        "blindFrom": "2026-01-05T09:26:40Z",
        "blindUntil": "2026-01-05T09:29:59Z",
        "seconds": 199.0,
        "changed": 3,
        "tooOld": 0,
        "gone": 0,
        "incomplete": False,
        "repeated": False,
    },
    "digest": {
        "instance": "slack.team",
        "heldBy": "group",
        "label": "Sales pipeline",
        "count": 3,
        "types": {"task_failed": 2, "task_cancelled": 1},
        "titles": ['Task "Nightly import" failed', 'Task "Refactor the payment module" failed'],
        "unlisted": 1,
        "rules": ["failures"],
        "projects": ["project-123"],
        "failedRuns": 2,
        "openRuns": 1,
        "oldest": "2026-01-05T07:12:00Z",
        "newest": "2026-01-05T09:20:00Z",
    },
    "silence_ending": {
        "silence": "3f9a2b1c",
        "count": 12,
        "seconds": 720.0,
        "expiresAt": "2026-01-05T09:42:00Z",
        "matchers": {"task": "train-*"},
        "owner": "ana",
        "reason": "a migration",
        "recipients": ["slack.team"],
    },
    "backlog_folded": {
        "instance": "slack.team",
        "count": 3,
        "runs": 3,
        "types": {"task_completed": 2, "task_started": 1},
        "names": ["Nightly import", "Refactor the payment module"],
        "oldest": "2026-01-05T07:12:00Z",
        "newest": "2026-01-05T09:20:00Z",
    },
    "run_stalled": {**_WATCHED, "watch": "hung tasks", "seconds": 900.0, "step": "Run the tests", "progress": 40},
    "run_overdue": {
        **_WATCHED,
        "watch": "slow tasks",
        "seconds": 7200.0,
        "allowed": 7200.0,
        "usual": 1260.0,
        "step": "Run the tests",
        "progress": 40,
    },
    "run_waiting": {**_WATCHED, "watch": "long queue", "state": "queued", "seconds": 600.0},
    "run_missing": {
        **_PROJECT,
        "watch": "nightly import",
        "kind": "task",
        "pattern": "nightly-import*",
        "expectedAt": "2026-01-05T09:00:00Z",
        "lastAt": "2026-01-04T09:00:04Z",
        "missed": 1,
    },
    "run_too_fast": {**_WATCHED, "watch": "empty runs", "seconds": 2.0, "allowed": 5.0, "usual": 1260.0},
    "run_moving": {**_WATCHED, "watch": "hung tasks", "trouble": "run_stalled", "seconds": 312.0},
    "run_arrived": {
        **_WATCHED,
        "watch": "nightly import",
        "pattern": "nightly-import*",
        "expectedAt": "2026-01-05T09:00:00Z",
        "seconds": 1800.0,
    },
}
"""Realistic fields of each known type, in the wire's camelCase."""

_PROBLEMS: Final = ("failed", "error", "parked", "degraded", "missing")


def sample_event(event_type: str = "task_completed", /, **fields: Any) -> Event:
    """A realistic event of the given type; an unknown type gives an ``UnknownEvent``.

    ``fields`` replace or add fields, named as in Python or as on the wire (``task_id``, ``taskId``); None
    leaves a field out. ``timestamp`` may be an aware datetime or text. The same call gives the same event
    (and key): pass another ``task_id`` for another run.
    """
    from pydantic.alias_generators import to_camel

    from aintandem_notify.domain.events import restore_event

    wire: dict[str, Any] = {"type": event_type, "timestamp": SAMPLE_TIME}
    wire |= SAMPLE_FIELDS.get(event_type, _PROJECT)
    wire |= {to_camel(name) if "_" in name else name: value for name, value in fields.items()}
    if isinstance(wire["timestamp"], datetime):
        wire["timestamp"] = wire["timestamp"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return restore_event({name: value for name, value in wire.items() if value is not None})


def sample_run(event: Event) -> Run | None:
    """The run right after ``event``, started ``SAMPLE_DURATION`` before it; None for events about no run."""
    from aintandem_notify.domain.events import Family
    from aintandem_notify.domain.runs import OPENING_TYPES, about_ref, advance, run_ref

    if event.family is Family.WATCH:
        ref = about_ref(event)
        if ref is None or ref.kind is not Family.TASK:
            return None
        before = event.timestamp - timedelta(seconds=SAMPLE_DURATION)
        earlier = "task_completed" if event.type == "run_too_fast" else "step_progress"
        return sample_run(sample_event(earlier, project_id=ref.project_id, task_id=ref.id, timestamp=before))
    if run_ref(event) is None:
        return None
    if event.type in OPENING_TYPES:
        return advance(None, event)
    history = {
        Family.TASK: ("task_started", "step_progress", "output"),
        Family.WORKFLOW: ("workflow_execution_started", "workflow_phase_started"),
        Family.SANDBOX: ("sandbox_started",),
    }[event.family]
    identity = {
        name: value
        for name, value in event.wire().items()
        if name in ("projectId", "taskId", "executionId", "workflowId", "sandboxId", "containerId")
    }
    before = event.timestamp - timedelta(seconds=SAMPLE_DURATION)
    run = None
    for earlier in history:
        run = advance(run, sample_event(earlier, **identity, timestamp=before))
    return advance(run, event)


def sample_notification(event: Event | str = "task_completed", /, **changes: Any) -> Notification:
    """A realistic notification for an event, or for a sample event of the given type.

    ``changes`` that are fields of ``Notification`` replace those, the others go to the sample event:
    ``sample_notification("task_failed", error="disk full", severity=Severity.CRITICAL, previous={"ts": "1"})``.
    """
    from aintandem_notify.domain.notification import Notification, Project

    overrides = {name: changes.pop(name) for name in list(changes) if name in Notification.model_fields}
    if isinstance(event, str):
        event = sample_event(event, **changes)
    elif changes:
        raise TypeError(f"{', '.join(changes)}: not a field of Notification, and the event exists already")
    rule = overrides.get("rule", "everything")
    run = sample_run(event)
    fields: dict[str, Any] = {
        "id": f"ntf_{blake2b((event.key + rule).encode(), digest_size=16).hexdigest()}",
        "thread": run.thread if run is not None else _thread(event),
        "severity": _severity(event.type),
        "title": _title(event, run),
        "body": getattr(event, "error", None) or getattr(event, "reason", None) or "",
        "fields": (("Project", "Sales pipeline"),) if event.project_id else (),
        "event": event,
        "run": run,
        "project": Project(id=event.project_id, name="Sales pipeline") if event.project_id else None,
        "rule": rule,
        "created_at": event.timestamp,
    }
    return Notification.model_validate(fields | overrides)


def _thread(event: Event) -> str:
    from aintandem_notify.domain.events import Family
    from aintandem_notify.domain.notification import STORE_THREAD

    if event.family is not Family.AGENT:
        return f"project/{event.project_id}"
    if event.type == "store_degraded":
        return STORE_THREAD
    about = getattr(event, "instance", "") or event.project_id
    return f"agent/{about}" if about else "agent"


def _severity(event_type: str) -> str:
    if event_type.endswith(_PROBLEMS):
        return "error"
    return "success" if event_type.endswith("completed") else "info"


def _title(event: Event, run: Run | None) -> str:
    subject = run.name if run is not None else event.project_id or "Agent"
    return f"{subject}: {event.type.replace('_', ' ')}"
