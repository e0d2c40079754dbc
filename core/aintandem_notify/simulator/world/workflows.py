"""The workflow executions of the world: starts them, runs their phases, pauses, resumes and ends them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import trio

from aintandem_notify.simulator.world.plans import (
    OutcomeOrName,
    PlannedOutcome,
    PlannedPhase,
    WorkflowPlan,
    plan_workflow,
)
from aintandem_notify.simulator.world.tasks import milliseconds
from aintandem_notify.simulator.world.world import World, iso, not_found, progress_json, wrong_state

PHASE_SLICES: Final = 10
"""Parts of a phase; an execution can be paused between two of them."""


class ExecutionStatus(StrEnum):
    """The status of an execution, as in REST."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED_STATUSES: Final = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})


def _set_event() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@dataclass(slots=True)
class ExecutionRecord:
    """One execution.

    ``phases_done`` is a count. ``unpaused`` is set unless the execution is paused, ``ended`` once it is over.
    """

    id: str
    project_id: str
    plan: WorkflowPlan
    input: dict[str, Any] | None
    metadata: dict[str, Any] | None
    created_at: datetime
    status: ExecutionStatus = ExecutionStatus.PENDING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    phases_done: int = 0
    error: str | None = None
    unpaused: trio.Event = field(default_factory=_set_event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    def as_json(self) -> dict[str, Any]:
        """The record in REST's form."""
        plan = self.plan
        answer = {
            "id": self.id,
            "executionId": self.id,
            "workflowId": plan.workflow_id,
            "workflowName": plan.name,
            "projectId": self.project_id,
            "status": self.status,
            "phases": [self._phase_json(index) for index in range(len(plan.phases))],
            "currentPhase": min(self.phases_done + 1, plan.total_phases),
            "totalPhases": plan.total_phases,
            "progress": progress_json(self.phases_done, plan.total_phases, "phases"),
            "input": self.input,
            "metadata": self.metadata,
            "createdAt": iso(self.created_at),
            "startTime": iso(self.started_at),
            "endTime": iso(self.ended_at),
            "duration": milliseconds(self.started_at, self.ended_at) if self.ended_at else None,
            "error": self.error,
        }
        return {name: value for name, value in answer.items() if value is not None}

    def _phase_json(self, index: int) -> dict[str, Any]:
        phase, done = self.plan.phases[index], index < self.phases_done
        return {
            "id": f"{self.id}-{phase.id}",
            "phaseId": phase.id,
            "name": phase.name,
            "status": self._phase_status(index),
            "steps": [],
            "currentStep": 0,
            "progress": progress_json(int(done), 1, "phases"),
        }

    def _phase_status(self, index: int) -> str:
        if index < self.phases_done:
            return "completed"
        if self.status in ENDED_STATUSES and self.status is not ExecutionStatus.FAILED:
            return "skipped"
        if index > self.phases_done or self.status is ExecutionStatus.PENDING:
            return "pending"
        # A phase has no status "paused"; only the execution has.
        return "failed" if self.status is ExecutionStatus.FAILED else "running"


class Workflows:
    """All executions of all projects."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._records: dict[str, ExecutionRecord] = {}

    def create(
        self,
        project_id: str,
        workflow_id: str | None = None,
        *,
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        outcome: OutcomeOrName | None = None,
        pauses: bool | None = None,
        seconds: float | None = None,
    ) -> ExecutionRecord:
        """Create an execution, which waits for ``start``. Arguments that are None are drawn at random."""
        self._world.project(project_id)
        plan = plan_workflow(
            self._world.chance(project_id),
            workflow_id=workflow_id,
            outcome=outcome,
            pauses=pauses,
            seconds=seconds,
        )
        execution_id = self._world.new_id("exec")
        record = ExecutionRecord(execution_id, project_id, plan, inputs, metadata, self._world.clock.now())
        self._records[execution_id] = record
        record.created_at = self._emit(record, "workflow_execution_created", input=inputs)
        return record

    def get(self, execution_id: str) -> ExecutionRecord:
        """The execution. Raises ApiError (404)."""
        if (record := self._records.get(execution_id)) is None:
            raise not_found("execution", execution_id)
        return record

    def all(self) -> list[ExecutionRecord]:
        """The executions of all projects, newest first."""
        return list(reversed(self._records.values()))

    def of(self, project_id: str) -> list[ExecutionRecord]:
        """The project's executions, newest first."""
        return [record for record in self.all() if record.project_id == project_id]

    def start(self, execution_id: str) -> ExecutionRecord:
        """Start a new execution. Raises ApiError (404, 409), as do ``pause``, ``resume`` and ``cancel``."""
        record = self._expect(execution_id, {ExecutionStatus.PENDING}, "start")
        record.status = ExecutionStatus.RUNNING
        record.started_at = self._emit(record, "workflow_execution_started")
        self._world.spawn(self._run, record)
        return record

    def pause(self, execution_id: str) -> ExecutionRecord:
        """Pause a running execution, also within a phase."""
        record = self._expect(execution_id, {ExecutionStatus.RUNNING}, "pause")
        record.status, record.unpaused = ExecutionStatus.PAUSED, trio.Event()
        self._emit(record, "workflow_execution_paused")
        return record

    def resume(self, execution_id: str) -> ExecutionRecord:
        """Resume a paused execution."""
        record = self._expect(execution_id, {ExecutionStatus.PAUSED}, "resume")
        record.status = ExecutionStatus.RUNNING
        self._emit(record, "workflow_execution_resumed")
        record.unpaused.set()
        return record

    def cancel(self, execution_id: str) -> ExecutionRecord:
        """Cancel an execution that has not ended. There is no event for it; only REST shows it."""
        record = self._expect(execution_id, set(ExecutionStatus) - ENDED_STATUSES, "cancel")
        record.status, record.ended_at = ExecutionStatus.CANCELLED, self._world.now()
        record.scope.cancel()
        record.ended.set()
        return record

    def _expect(self, execution_id: str, statuses: set[ExecutionStatus], action: str) -> ExecutionRecord:
        record = self.get(execution_id)
        if record.status not in statuses:
            raise wrong_state("execution", execution_id, record.status, action)
        return record

    async def _run(self, record: ExecutionRecord) -> None:
        with record.scope:
            for phase in record.plan.phases:
                await self._run_phase(record, phase)
                if record.status is ExecutionStatus.FAILED:
                    record.ended.set()
                    return
            record.status = ExecutionStatus.COMPLETED
            record.ended_at = self._emit(
                record,
                "workflow_execution_completed",
                output=record.plan.result,
                duration=milliseconds(record.started_at, self._world.clock.now()),
            )
            record.ended.set()

    async def _run_phase(self, record: ExecutionRecord, phase: PlannedPhase) -> None:
        plan = record.plan
        if phase.pause:
            await self._wait_for_approval(record, phase.pause)
        await record.unpaused.wait()
        self._emit(record, "workflow_phase_started", phaseId=phase.id, phase=phase.name)
        for _ in range(PHASE_SLICES):
            await self._world.pause(phase.seconds / PHASE_SLICES)
            await record.unpaused.wait()
        if plan.outcome is PlannedOutcome.FAILED and phase is plan.phases[-1]:
            record.status, record.error = ExecutionStatus.FAILED, f"{phase.name}: {plan.error}"
            record.ended_at = self._emit(record, "workflow_execution_failed", error=record.error)
            return
        record.phases_done += 1
        self._emit(record, "workflow_phase_completed", phaseId=phase.id, phase=phase.name, output=phase.output)

    async def _wait_for_approval(self, record: ExecutionRecord, seconds: float) -> None:
        await record.unpaused.wait()
        self.pause(record.id)
        pause = record.unpaused
        await self._world.pause(seconds)
        # A user may have resumed it meanwhile, and even paused it again; that pause stays.
        if record.unpaused is pause and not pause.is_set():
            self.resume(record.id)

    def _emit(self, record: ExecutionRecord, event_type: str, **fields: Any) -> datetime:
        return self._world.emit(
            record.project_id, event_type, executionId=record.id, workflowId=record.plan.workflow_id, **fields
        )
