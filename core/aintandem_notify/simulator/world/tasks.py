"""The tasks of the world: queues them by project, runs them through their steps, ends or cancels them."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.world.plans import OutcomeOrName, PlannedOutcome, PlannedStep, TaskPlan, plan_task
from aintandem_notify.simulator.world.world import World, iso, not_found, wrong_state

DEFAULT_LIMIT: Final = 3
"""Tasks of a project that run at the same time; our choice."""

LINES_PER_CHUNK: Final = 2
"""Lines in an output event. More than one, as terminals send several lines at once."""


class TaskStatus(StrEnum):
    """The status of a task, as in REST."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED_STATUSES: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


@dataclass(slots=True)
class TaskRecord:
    """One task. ``output`` is everything that it printed, ``result`` the result of a completed task.

    ``ended`` is set once the task has ended.
    """

    id: str
    project_id: str
    plan: TaskPlan
    input: dict[str, Any] | None
    created_at: datetime
    status: TaskStatus = TaskStatus.QUEUED
    started_at: datetime | None = None
    completed_at: datetime | None = None
    step: str | None = None
    progress: float = 0.0
    output: str = ""
    result: str | None = None
    error: str | None = None
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    def as_json(self) -> dict[str, Any]:
        """The record in REST's form."""
        return {
            "id": self.id,
            "taskId": self.id,
            "projectId": self.project_id,
            "task": self.plan.title,
            "status": self.status,
            "createdAt": iso(self.created_at),
            "startedAt": iso(self.started_at),
            "completedAt": iso(self.completed_at),
            "currentStep": self.step,
            "progress": self.progress,
            "input": self.input,
            "output": self.result if self.result is not None else self.output or None,
            "artifacts": self.artifacts,
            "error": self.error,
        }


class Tasks:
    """All tasks of all projects."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._records: dict[str, TaskRecord] = {}
        self._waiting: dict[str, deque[TaskRecord]] = {}
        self._active: dict[str, set[str]] = {}
        self._limits: dict[str, int] = {}

    def submit(
        self,
        project_id: str,
        *,
        title: str | None = None,
        inputs: dict[str, Any] | None = None,
        outcome: OutcomeOrName | None = None,
        seconds: float | None = None,
        plan: TaskPlan | None = None,
    ) -> TaskRecord:
        """Queue a task, which starts as soon as the limit allows. Arguments that are None are drawn at random.

        ``plan`` replaces ``title``, ``outcome`` and ``seconds``.
        """
        self._world.project(project_id)
        plan = plan or plan_task(self._world.chance(project_id), title=title, outcome=outcome, seconds=seconds)
        task_id = self._world.new_id("task")
        created = self._world.emit(project_id, "task_queued", taskId=task_id, task=plan.title, input=inputs)
        record = self._records[task_id] = TaskRecord(task_id, project_id, plan, inputs, created)
        self._waiting.setdefault(project_id, deque()).append(record)
        self._start_waiting(project_id)
        return record

    def get(self, project_id: str, task_id: str) -> TaskRecord:
        """The task. Raises ApiError (404)."""
        record = self._records.get(task_id)
        if record is None or record.project_id != project_id:
            raise not_found("task", task_id)
        return record

    def of(self, project_id: str) -> list[TaskRecord]:
        """The project's tasks, newest first."""
        return [record for record in reversed(self._records.values()) if record.project_id == project_id]

    def cancel(self, project_id: str, task_id: str) -> TaskRecord:
        """Cancel a task that has not ended. Raises ApiError (404, 409)."""
        record = self.get(project_id, task_id)
        if record.status in ENDED_STATUSES:
            raise wrong_state("task", task_id, record.status, "cancel")
        if record in self._waiting[project_id]:
            self._waiting[project_id].remove(record)
        record.scope.cancel()
        record.status = TaskStatus.CANCELLED
        record.completed_at = self._emit(record, "task_cancelled", task=record.plan.title)
        record.ended.set()
        return record

    def rerun(
        self, project_id: str, task_id: str, *, outcome: OutcomeOrName | None = None, seconds: float | None = None
    ) -> TaskRecord:
        """Queue an ended task again under the same id. Raises ApiError (404, 409).

        REST no longer shows the earlier end; ``created_at`` stays.
        """
        record = self.get(project_id, task_id)
        if record.status not in ENDED_STATUSES:
            raise wrong_state("task", task_id, record.status, "run again")
        title = record.plan.title
        plan = plan_task(self._world.chance(project_id), title=title, outcome=outcome, seconds=seconds)
        rerun = TaskRecord(task_id, project_id, plan, record.input, record.created_at)
        self._records[task_id] = rerun
        self._emit(rerun, "task_queued", task=title, input=rerun.input)
        self._waiting.setdefault(project_id, deque()).append(rerun)
        self._start_waiting(project_id)
        return rerun

    def counts(self, project_id: str) -> dict[str, int]:
        """The number of tasks that are pending, running, completed and failed."""
        statuses = [record.status for record in self.of(project_id)]
        return {
            "pending": statuses.count(TaskStatus.PENDING) + statuses.count(TaskStatus.QUEUED),
            "running": statuses.count(TaskStatus.RUNNING),
            "completed": statuses.count(TaskStatus.COMPLETED),
            "failed": statuses.count(TaskStatus.FAILED),
        }

    def set_limit(self, project_id: str, limit: int) -> None:
        """Limit the project's tasks that run at the same time. Running tasks continue."""
        if limit < 1:
            raise ApiError("limit must be at least 1", status=400, code="INVALID_VALUE")
        self._limits[project_id] = limit
        self._start_waiting(project_id)

    def _start_waiting(self, project_id: str) -> None:
        waiting = self._waiting.setdefault(project_id, deque())
        active = self._active.setdefault(project_id, set())
        while waiting and len(active) < self._limits.get(project_id, DEFAULT_LIMIT):
            record = waiting.popleft()
            active.add(record.id)
            self._world.spawn(self._run, record)

    async def _run(self, record: TaskRecord) -> None:
        with record.scope:
            await self._run_plan(record)
        self._active[record.project_id].discard(record.id)
        self._start_waiting(record.project_id)

    async def _run_plan(self, record: TaskRecord) -> None:
        plan = record.plan
        await self._world.pause(plan.wait)
        record.status = TaskStatus.RUNNING
        record.started_at = self._emit(record, "task_started", task=plan.title)
        for index, step in enumerate(plan.steps):
            fails = plan.outcome is PlannedOutcome.FAILED and index == len(plan.steps) - 1
            await self._run_step(record, index, step, fails=fails)
        if plan.artifact is not None:
            path, kind, size = plan.artifact
            record.artifacts.append({"path": path, "type": kind, "size": size})
            self._emit(record, "artifact", artifact=record.artifacts[-1])
        self._finish(record)

    async def _run_step(self, record: TaskRecord, index: int, step: PlannedStep, *, fails: bool) -> None:
        record.step = step.name
        self._report_step(record, step, "running", index)
        chunks = list(_chunks(step.lines))
        for chunk in chunks:
            await self._world.pause(step.seconds / len(chunks))
            record.output += chunk
            self._emit(record, "output", stepId=step.id, output=chunk)
        self._report_step(record, step, "failed" if fails else "completed", index + (not fails))

    def _report_step(self, record: TaskRecord, step: PlannedStep, status: str, steps_done: int) -> None:
        record.progress = round(100 * steps_done / record.plan.total_steps)
        self._emit(
            record,
            "step_progress",
            stepId=step.id,
            step=step.name,
            status=status,
            message=f"{step.name}: {status}",
            progress=record.progress,
        )

    def _finish(self, record: TaskRecord) -> None:
        plan = record.plan
        if plan.outcome is PlannedOutcome.FAILED:
            record.status, record.error = TaskStatus.FAILED, plan.error
            record.completed_at = self._emit(
                record, "task_failed", task=plan.title, error=plan.error, output=record.output
            )
        else:
            record.status, record.result = TaskStatus.COMPLETED, plan.result
            record.completed_at = self._emit(
                record,
                "task_completed",
                task=plan.title,
                output=plan.result,
                duration=milliseconds(record.started_at, self._world.clock.now()),
            )
        record.ended.set()

    def _emit(self, record: TaskRecord, event_type: str, **fields: Any) -> datetime:
        return self._world.emit(record.project_id, event_type, taskId=record.id, **fields)


def milliseconds(start: datetime | None, end: datetime) -> int:
    """Milliseconds from ``start`` to ``end``; 0 without a start."""
    return 0 if start is None else max(0, round((end - start).total_seconds() * 1000))


def _chunks(lines: Iterable[str]) -> Iterable[str]:
    pending = list(lines)
    while pending:
        yield "".join(f"{line}\n" for line in pending[:LINES_PER_CHUNK])
        pending = pending[LINES_PER_CHUNK:]
