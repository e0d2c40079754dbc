"""How a task or a workflow execution ended, as REST tells it: for whoever was not there to hear it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from aintandem_notify.client.interest import Interest
from aintandem_notify.events import Event, Family, event_from
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.records import ExecutionRecord, TaskRecord

_TASK_ENDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "completed": ("task_completed", ("output",)),
    "failed": ("task_failed", ("error", "output")),
    "cancelled": ("task_cancelled", ()),
}
_EXECUTION_ENDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "completed": ("workflow_execution_completed", ("output", "duration")),
    "failed": ("workflow_execution_failed", ("error",)),
}
"""The event of each end, and what it says. A cancelled execution has none on the wire, so nobody waits for one."""


def task_end(record: TaskRecord, project_id: str, now: datetime) -> Event | None:
    """The event that a live listener would have got, ``caught_up``; None while the task has not ended."""
    end = _TASK_ENDS.get((record.status or "").lower())
    names = {"taskId": record.id, "task": record.task}
    said = {"output": record.output, "error": record.error}
    return None if end is None else _event(*end, names, said, project_id, record.completed_at or now)


def execution_end(record: ExecutionRecord, project_id: str, now: datetime) -> Event | None:
    """As ``task_end``, for a workflow execution."""
    end = _EXECUTION_ENDS.get((record.status or "").lower())
    names = {"executionId": record.id, "workflowId": record.workflow_id or record.workflow_name or record.id}
    said = {"output": record.output, "error": record.error, "duration": record.duration}
    return None if end is None else _event(*end, names, said, project_id, record.end_time or now)


def _event(
    event_type: str,
    fields: tuple[str, ...],
    names: Mapping[str, Any],
    said: Mapping[str, Any],
    project_id: str,
    moment: datetime,
) -> Event | None:
    wire = {"type": event_type, "projectId": project_id, "timestamp": moment.isoformat(), "caughtUp": True}
    told = {**names} | {name: said[name] for name in fields}
    event = event_from(
        wire | {name: value for name, value in told.items() if value is not None}, project_id, moment
    )
    return event if isinstance(event, Event) else None


async def look_up_end(api: OrchestratorApi, interest: Interest, project_id: str, now: datetime) -> Event | None:
    """How the run ended; None while it goes on. Raises ApiError (NotFound) or HttpFailed."""
    run_id = interest.run_id or ""
    if interest.family is Family.TASK:
        return task_end(await api.task(project_id, run_id), project_id, now)
    return execution_end(await api.execution(run_id), project_id, now)
