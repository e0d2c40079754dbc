"""The REST calls about workflows and their executions."""

from itertools import pairwise
from typing import Any, Final

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import Asked
from aintandem_notify.simulator.api.routes import Calls, registrar
from aintandem_notify.simulator.world.vocabulary import PROCESSES, Process
from aintandem_notify.simulator.world.workflows import ExecutionRecord, ExecutionStatus
from aintandem_notify.simulator.world.world import iso, not_found

WORKFLOW_CALLS: Final[Calls] = {}

STATUS: Final = "published"
"""What all workflows of the simulator are; there are no drafts."""

_EXECUTION: Final = "/workflows/executions/{id}"

_call = registrar(WORKFLOW_CALLS)


def _workflow_json(process: Process, asked: Asked) -> dict[str, Any]:
    phases = [
        {"id": f"phase-{number}", "title": name, "description": output, "color": "#4f46e5", "steps": []}
        for number, (name, output) in enumerate(process.phases, start=1)
    ]
    between = [{"from": before["id"], "to": after["id"], "type": "forward"} for before, after in pairwise(phases)]
    return {
        "id": process.workflow_id,
        "name": process.name,
        "description": " → ".join(name for name, _ in process.phases),
        "definition": {"phases": phases, "transitions": between},
        "status": STATUS,
        "version": 1,
        "createdAt": iso(asked.simulator.started_at),
    }


@_call("GET", "/workflows")
async def _workflows(asked: Asked) -> Any:
    wanted = asked.all("status")
    return [_workflow_json(process, asked) for process in PROCESSES if not wanted or STATUS in wanted]


@_call("GET", "/workflows/{id}")
async def _workflow(asked: Asked) -> Any:
    wanted = asked.path["id"]
    for process in PROCESSES:
        if process.workflow_id == wanted:
            return _workflow_json(process, asked)
    raise not_found("workflow", wanted)


@_call("POST", "/workflows/{workflowId}/executions")
async def _create(asked: Asked) -> Any:
    metadata = asked.object("metadata")
    inputs = asked.object("input")
    if inputs is None and metadata is not None:
        inputs = Asked.value(metadata, "inputParameters", dict)
    record = asked.simulator.workflows.create(
        asked.required("projectId"),
        asked.path["workflowId"],
        inputs=inputs,
        metadata=metadata,
        outcome=asked.outcome(),
        pauses=asked.flag("pauses"),
        seconds=asked.number("seconds"),
    )
    return _told(record, "created")


@_call("GET", "/workflows/{workflowId}/executions")
async def _executions_of_workflow(asked: Asked) -> Any:
    wanted = asked.path["workflowId"]
    return [record.as_json() for record in asked.simulator.workflows.all() if record.plan.workflow_id == wanted]


@_call("POST", f"{_EXECUTION}/start")
async def _start(asked: Asked) -> Any:
    return _told(asked.simulator.workflows.start(asked.path["id"]), "started")


@_call("POST", f"{_EXECUTION}/pause")
async def _pause(asked: Asked) -> Any:
    return _told(asked.simulator.workflows.pause(asked.path["id"]), "paused")


@_call("POST", f"{_EXECUTION}/resume")
async def _resume(asked: Asked) -> Any:
    return _told(asked.simulator.workflows.resume(asked.path["id"]), "resumed")


@_call("POST", f"{_EXECUTION}/cancel")
async def _cancel(asked: Asked) -> Any:
    return _told(asked.simulator.workflows.cancel(asked.path["id"]), "cancelled")


@_call("GET", _EXECUTION)
async def _execution(asked: Asked) -> Any:
    return asked.simulator.workflows.get(asked.path["id"]).as_json()


@_call("GET", "/workflows/projects/{projectId}/executions")
async def _executions(asked: Asked) -> Any:
    statuses = asked.all("status")
    for status in statuses:
        if status not in set(ExecutionStatus) | {"initializing"}:
            raise ApiError(f"no such status: {status}", status=400, code="INVALID_STATUS")
    found = asked.simulator.workflows.of(asked.path["projectId"])
    return {"executions": [record.as_json() for record in found if not statuses or record.status in statuses]}


def _told(record: ExecutionRecord, done: str) -> dict[str, Any]:
    return record.as_json() | {"message": f"Workflow execution {done}"}
