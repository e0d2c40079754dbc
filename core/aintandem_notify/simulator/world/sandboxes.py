"""The sandboxes of the world (``/flexy``): starts, stops, breaks and removes them, at once or as operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.world.plans import SandboxPlan, plan_sandbox
from aintandem_notify.simulator.world.tasks import milliseconds
from aintandem_notify.simulator.world.texts import IMAGE_ERROR
from aintandem_notify.simulator.world.world import World, iso, not_found, progress_json, wrong_state

MISSING_TAG: Final = ":missing"
"""An image with this tag cannot be pulled: its operations fail."""


class SandboxStatus(StrEnum):
    """The status of a sandbox, as in REST."""

    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class OperationKind(StrEnum):
    """The kind of an operation."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DELETE = "delete"


STAGES: Final[Mapping[OperationKind, tuple[str, ...]]] = {
    OperationKind.START: ("in_progress", "pulling_image", "creating_sandbox", "starting_sandbox"),
    OperationKind.STOP: ("in_progress", "stopping_sandbox"),
    OperationKind.RESTART: ("in_progress", "stopping_sandbox", "starting_sandbox"),
    OperationKind.DELETE: ("in_progress", "stopping_sandbox"),
}
"""The statuses that an operation goes through before it is completed, failed or cancelled."""

STARTABLE: Final = frozenset({SandboxStatus.CREATED, SandboxStatus.STOPPED, SandboxStatus.ERROR})


@dataclass(slots=True)
class SandboxRecord:
    """One sandbox. Cancelling ``watch`` prevents its planned breakdown."""

    id: str
    project_id: str
    name: str
    plan: SandboxPlan
    created_at: datetime
    status: SandboxStatus = SandboxStatus.CREATED
    error: str | None = None
    watch: trio.CancelScope = field(default_factory=trio.CancelScope)

    def as_json(self) -> dict[str, Any]:
        """The record in REST's form."""
        return {
            "id": self.id,
            "sandboxId": self.id,
            "containerId": self.id,
            "projectId": self.project_id,
            "name": self.name,
            "image": self.plan.image,
            "status": self.status,
            "createdAt": iso(self.created_at),
            "error": self.error,
        }


@dataclass(slots=True)
class OperationRecord:
    """An operation on a sandbox. ``stages_done`` is a count; ``ended`` is set once the operation has ended."""

    id: str
    kind: OperationKind
    sandbox: SandboxRecord
    created_at: datetime
    status: str = "pending"
    stages_done: int = 0
    completed_at: datetime | None = None
    error: str | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    def as_json(self) -> dict[str, Any]:
        """The record in REST's form."""
        stages = STAGES[self.kind]
        return {
            "id": self.id,
            "operationId": self.id,
            "type": self.kind,
            "sandboxId": self.sandbox.id,
            "sandboxName": self.sandbox.name,
            "projectId": self.sandbox.project_id,
            "status": self.status,
            "progress": progress_json(self.stages_done, len(stages), "steps"),
            "steps": [
                {"id": f"{self.id}-{stage}", "name": stage, "status": self._step_status(index)}
                for index, stage in enumerate(stages)
            ],
            "createdAt": iso(self.created_at),
            "completedAt": iso(self.completed_at),
            "startTime": iso(self.created_at),
            "endTime": iso(self.completed_at),
            "duration": milliseconds(self.created_at, self.completed_at) if self.completed_at else None,
            "error": self.error,
        }

    def end(self, status: str, moment: datetime, error: str | None = None) -> None:
        """Note the end of the operation."""
        self.status, self.completed_at, self.error = status, moment, error
        self.ended.set()

    def _step_status(self, index: int) -> str:
        if index < self.stages_done:
            return "completed"
        if index > self.stages_done or self.status == "pending":
            return "pending"
        return "failed" if self.status in {"failed", "cancelled"} else "running"


class Sandboxes:
    """All sandboxes of all projects. Every method that takes an id raises ApiError (404, 409)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._records: dict[str, SandboxRecord] = {}
        self._operations: dict[str, OperationRecord] = {}

    def create(
        self, project_id: str, *, name: str | None = None, image: str | None = None, breaks: bool | None = None
    ) -> SandboxRecord:
        """Create a sandbox without starting it. Arguments that are None are drawn at random."""
        self._world.project(project_id)
        plan = plan_sandbox(self._world.chance(project_id), image=image, breaks=breaks)
        sandbox_id = self._world.new_id("sandbox")
        created = self._world.emit(project_id, "sandbox_created", sandboxId=sandbox_id, image=plan.image)
        record = SandboxRecord(sandbox_id, project_id, name or sandbox_id, plan, created)
        self._records[sandbox_id] = record
        return record

    def get(self, sandbox_id: str) -> SandboxRecord:
        """The sandbox."""
        if (record := self._records.get(sandbox_id)) is None:
            raise not_found("sandbox", sandbox_id)
        return record

    def all(self, project_id: str | None = None) -> list[SandboxRecord]:
        """The sandboxes of one project or of all, newest first."""
        return [r for r in reversed(self._records.values()) if project_id in (None, r.project_id)]

    def start(self, sandbox_id: str) -> SandboxRecord:
        """Start the sandbox."""
        record = self.get(sandbox_id)
        if record.status not in STARTABLE:
            raise wrong_state("sandbox", sandbox_id, record.status, "start")
        if record.plan.image.endswith(MISSING_TAG):
            self.break_down(sandbox_id, IMAGE_ERROR)
            raise ApiError(IMAGE_ERROR, status=500, code="OPERATION_FAILED")
        record.status, record.error = SandboxStatus.RUNNING, None
        self._emit(record, "sandbox_started")
        if record.plan.breaks_after is not None:
            record.watch = trio.CancelScope()
            self._world.spawn(self._break_later, record, record.plan.breaks_after)
        return record

    def stop(self, sandbox_id: str, *, exit_code: int = 0) -> SandboxRecord:
        """Stop the sandbox."""
        record = self.get(sandbox_id)
        if record.status is not SandboxStatus.RUNNING:
            raise wrong_state("sandbox", sandbox_id, record.status, "stop")
        record.watch.cancel()
        record.status = SandboxStatus.STOPPED
        self._emit(record, "sandbox_stopped", exitCode=exit_code)
        return record

    def restart(self, sandbox_id: str) -> SandboxRecord:
        """Stop the sandbox if it runs, and start it."""
        if self.get(sandbox_id).status is SandboxStatus.RUNNING:
            self.stop(sandbox_id)
        return self.start(sandbox_id)

    def break_down(self, sandbox_id: str, error: str | None = None) -> SandboxRecord:
        """End the sandbox with an error, by default the planned one."""
        record = self.get(sandbox_id)
        record.watch.cancel()
        record.status, record.error = SandboxStatus.ERROR, error or record.plan.error
        self._emit(record, "sandbox_error", error=record.error)
        return record

    def remove(self, sandbox_id: str) -> None:
        """Remove the sandbox; a running one is stopped first."""
        if self.get(sandbox_id).status is SandboxStatus.RUNNING:
            self.stop(sandbox_id, exit_code=137)
        del self._records[sandbox_id]

    def begin(self, sandbox_id: str, kind: OperationKind) -> OperationRecord:
        """Begin an operation in the background."""
        record = self.get(sandbox_id)
        operation = OperationRecord(self._world.new_id("op"), kind, record, self._world.now())
        self._operations[operation.id] = operation
        self._world.spawn(self._operate, operation)
        return operation

    def operation(self, operation_id: str) -> OperationRecord:
        """The operation."""
        if (operation := self._operations.get(operation_id)) is None:
            raise not_found("operation", operation_id)
        return operation

    def cancel(self, operation_id: str) -> OperationRecord:
        """Cancel an operation that has not ended. The sandbox stays as it is."""
        operation = self.operation(operation_id)
        if operation.ended.is_set():
            raise wrong_state("operation", operation_id, operation.status, "cancel")
        operation.scope.cancel()
        operation.end("cancelled", self._world.now())
        return operation

    def operations_of(self, project_id: str) -> list[OperationRecord]:
        """The project's operations, newest first."""
        return [o for o in reversed(self._operations.values()) if o.sandbox.project_id == project_id]

    async def _operate(self, operation: OperationRecord) -> None:
        plan = operation.sandbox.plan
        lengths = {"pulling_image": plan.pull, "creating_sandbox": plan.boot / 2, "starting_sandbox": plan.boot}
        with operation.scope:
            for stage in STAGES[operation.kind]:
                operation.status = stage
                await self._world.pause(lengths.get(stage, 0.3))
                operation.stages_done += 1
            try:
                self._perform(operation)
            except ApiError as error:
                operation.stages_done -= 1
                operation.end("failed", self._world.now(), error.message)
            else:
                operation.end("completed", self._world.now())

    def _perform(self, operation: OperationRecord) -> None:
        actions = {
            OperationKind.START: self.start,
            OperationKind.STOP: self.stop,
            OperationKind.RESTART: self.restart,
            OperationKind.DELETE: self.remove,
        }
        actions[operation.kind](operation.sandbox.id)

    async def _break_later(self, record: SandboxRecord, seconds: float) -> None:
        with record.watch:
            await self._world.pause(seconds)
            self.break_down(record.id)

    def _emit(self, record: SandboxRecord, event_type: str, **fields: Any) -> datetime:
        return self._world.emit(record.project_id, event_type, sandboxId=record.id, **fields)
