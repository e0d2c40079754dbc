"""One event of every type, with its run and project."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aintandem_notify.domain.events import EVENT_TYPES, Event, Family, UnknownEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run, about_ref

NOW = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
SALES = Project(id="p1", name="Sales pipeline")

_BY_FAMILY: dict[Family, dict[str, Any]] = {
    Family.TASK: {"projectId": "p1", "taskId": "t-1"},
    Family.WORKFLOW: {"projectId": "p1", "executionId": "x-1", "workflowId": "nightly-report"},
    Family.SANDBOX: {"projectId": "p1", "sandboxId": "sb-1"},
    Family.CONNECTION: {"projectId": "p1"},
    Family.AGENT: {},
    Family.WATCH: {"projectId": "p1", "watch": "hung", "kind": "task", "about": "t-1", "attempt": 2},
}
_BY_TYPE: dict[str, dict[str, Any]] = {
    "task_queued": {"task": "data-analysis", "input": {"dataset": "sales-2024"}},
    "step_progress": {
        "step": "Load data",
        "status": "in-progress",
        "progress": 40,
        "message": "reading a.csv",
    },
    "output": {"output": "row 1\nrow 2\n"},
    "artifact": {"artifact": {"path": "out/report.pdf", "type": "application/pdf", "size": 1_234_567}},
    "task_completed": {"output": {"rows": 12}},
    "task_failed": {"error": "KeyError: 'region'"},
    "workflow_phase_started": {"phaseId": "ph1", "phase": "build"},
    "workflow_phase_completed": {"phaseId": "ph1", "output": "ok"},
    "workflow_execution_failed": {"error": "phase build failed"},
    "sandbox_created": {"image": "python:3.12"},
    "sandbox_stopped": {"exitCode": 137},
    "sandbox_error": {"error": "out of memory"},
    "connection_disconnected": {"code": 1006, "reason": "no heartbeat"},
    "connection_error": {"error": "connection refused", "willReconnect": False},
    "agent_started": {"version": "1.0", "projects": 2, "plugins": 1},
    "agent_stopped": {"reason": "asked to by SIGTERM"},
    "agent_degraded": {"kind": "link", "subjects": ["p1"], "reason": "p1 has no link: connection refused"},
    "agent_recovered": {
        "kind": "link",
        "subjects": ["p1"],
        "reason": "p1 has no link: connection refused",
        "seconds": 312,
        "recipients": ["slack.team"],
    },
    "login_failed": {"reason": "wrong username or password"},
    "plugin_failed": {"instance": "slack.team", "reason": "no module named foo"},
    "destination_parked": {"instance": "slack.team", "reason": "token_revoked"},
    "destination_recovered": {"instance": "slack.team"},
    "store_degraded": {"reason": "the disk is full"},
    "feed_gap": {
        "projectId": "p1",
        "blindFrom": "2026-01-05T23:58:00Z",
        "blindUntil": "2026-01-06T00:00:10Z",
        "seconds": 130,
        "changed": 3,
        "tooOld": 1,
    },
    "backlog_folded": {
        "instance": "slack.team",
        "count": 12,
        "runs": 3,
        "types": {"task_completed": 10, "task_started": 2},
        "names": ["data-analysis", "nightly-report"],
        "oldest": "2026-01-05T22:00:00Z",
        "newest": "2026-01-05T23:58:00Z",
    },
    "silence_ending": {
        "silence": "3f9a2b1c",
        "count": 12,
        "seconds": 720,
        "expiresAt": "2026-01-06T00:12:00Z",
        "matchers": {"task": "train-*"},
        "owner": "ana",
        "reason": "a migration",
        "recipients": ["slack.team"],
    },
    "digest": {
        "instance": "slack.team",
        "heldBy": "group",
        "label": "Sales pipeline, train",
        "count": 12,
        "types": {"task_failed": 10, "sandbox_error": 1, "gpu_warmed": 1},
        "titles": ['Task "train" failed', 'Task "test" failed'],
        "unlisted": 10,
        "rules": ["failures"],
        "projects": ["p1"],
        "failedRuns": 11,
        "openRuns": 2,
        "oldest": "2026-01-05T22:00:00Z",
        "newest": "2026-01-05T23:58:00Z",
    },
    "run_stalled": {"seconds": 900, "step": "Load data", "progress": 40, "usual": 130},
    "run_overdue": {"seconds": 7200, "allowed": 7200, "lateBy": 3600},
    "run_waiting": {"state": "queued", "seconds": 600, "reminder": 1},
    "run_missing": {
        "about": "",
        "pattern": "nightly-*",
        "expectedAt": "2026-01-05T23:30:00Z",
        "lastAt": "2026-01-04T23:30:10Z",
        "missed": 2,
    },
    "run_too_fast": {"seconds": 2, "allowed": 5, "usual": 130},
    "run_moving": {"trouble": "run_stalled", "seconds": 312},
    "run_arrived": {"pattern": "nightly-*", "expectedAt": "2026-01-05T23:30:00Z", "seconds": 1800},
}
_NAMES = {Family.TASK: "data-analysis", Family.WORKFLOW: "nightly-report", Family.SANDBOX: "sb-1"}


def happening(event_type: str, **fields: Any) -> Event:
    """An event of that type; ``fields``, in the wire's names, replace or add fields."""
    model = EVENT_TYPES.get(event_type, UnknownEvent)
    usual = _BY_FAMILY.get(model.family, {"projectId": "p1"}) | _BY_TYPE.get(event_type, {})
    return model.from_wire({"type": event_type} | usual | fields, NOW)


def run_of(event: Event, **facts: Any) -> Run | None:
    """The run that ``event`` is about, a second attempt that took 130 seconds; None if it is about none."""
    ref = about_ref(event)
    if ref is None:
        return None
    usual: dict[str, Any] = {
        "name": _NAMES[ref.kind],
        "attempt": 2,
        "step": "build" if ref.kind is Family.WORKFLOW else "Load data",
        "started_at": NOW - timedelta(seconds=130),
        "ended_at": NOW,
        "workflow_id": "nightly-report" if ref.kind is Family.WORKFLOW else None,
    }
    return Run(*ref, **(usual | facts))


def project_of(event: Event) -> Project | None:
    """The project that ``event`` is about."""
    return None if event.project_id is None else SALES
