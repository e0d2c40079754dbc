"""The REST calls about workflows and their executions."""

from itertools import pairwise
from typing import Any, Final

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import ApiRequest
from aintandem_notify.simulator.api.routes import Calls, route_registrar
from aintandem_notify.simulator.world.texts import PROCESSES, Process
from aintandem_notify.simulator.world.workflows import ExecutionRecord, ExecutionStatus
from aintandem_notify.simulator.world.world import iso, not_found

WORKFLOW_CALLS: Final[Calls] = {}

STATUS: Final = "published"
"""The status of every workflow; the simulator has no drafts."""

_EXECUTION: Final = "/workflows/executions/{id}"

_call = route_registrar(WORKFLOW_CALLS)


def _workflow_json(process: Process, request: ApiRequest) -> dict[str, Any]:
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
        "createdAt": iso(request.simulator.started_at),
    }


@_call("GET", "/workflows")
async def _workflows(request: ApiRequest) -> Any:
    statuses = request.all("status")
    return [_workflow_json(process, request) for process in PROCESSES if not statuses or STATUS in statuses]


@_call("GET", "/workflows/{id}")
async def _workflow(request: ApiRequest) -> Any:
    workflow_id = request.path["id"]
    for process in PROCESSES:
        if process.workflow_id == workflow_id:
            return _workflow_json(process, request)
    raise not_found("workflow", workflow_id)


@_call("POST", "/workflows/{workflowId}/executions")
async def _create(request: ApiRequest) -> Any:
    metadata = request.object("metadata")
    inputs = request.object("input")
    if inputs is None and metadata is not None:
        inputs = ApiRequest.value(metadata, "inputParameters", dict)
    record = request.simulator.workflows.create(
        request.required("projectId"),
        request.path["workflowId"],
        inputs=inputs,
        metadata=metadata,
        outcome=request.outcome(),
        pauses=request.flag("pauses"),
        seconds=request.number("seconds"),
    )
    return _execution_response(record, "created")


@_call("GET", "/workflows/{workflowId}/executions")
async def _executions_of_workflow(request: ApiRequest) -> Any:
    workflow_id = request.path["workflowId"]
    return [
        record.as_json() for record in request.simulator.workflows.all() if record.plan.workflow_id == workflow_id
    ]


@_call("POST", f"{_EXECUTION}/start")
async def _start(request: ApiRequest) -> Any:
    return _execution_response(request.simulator.workflows.start(request.path["id"]), "started")


@_call("POST", f"{_EXECUTION}/pause")
async def _pause(request: ApiRequest) -> Any:
    return _execution_response(request.simulator.workflows.pause(request.path["id"]), "paused")


@_call("POST", f"{_EXECUTION}/resume")
async def _resume(request: ApiRequest) -> Any:
    return _execution_response(request.simulator.workflows.resume(request.path["id"]), "resumed")


@_call("POST", f"{_EXECUTION}/cancel")
async def _cancel(request: ApiRequest) -> Any:
    return _execution_response(request.simulator.workflows.cancel(request.path["id"]), "cancelled")


@_call("GET", _EXECUTION)
async def _execution(request: ApiRequest) -> Any:
    return request.simulator.workflows.get(request.path["id"]).as_json()


@_call("GET", "/workflows/projects/{projectId}/executions")
async def _executions(request: ApiRequest) -> Any:
    statuses = request.all("status")
    for status in statuses:
        if status not in set(ExecutionStatus) | {"initializing"}:
            raise ApiError(f"no such status: {status}", status=400, code="INVALID_STATUS")
    matching = request.simulator.workflows.of(request.path["projectId"])
    return {"executions": [record.as_json() for record in matching if not statuses or record.status in statuses]}


def _execution_response(record: ExecutionRecord, done: str) -> dict[str, Any]:
    return record.as_json() | {"message": f"Workflow execution {done}"}
