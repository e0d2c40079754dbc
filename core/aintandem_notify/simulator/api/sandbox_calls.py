"""The REST calls about sandboxes (``/flexy``) and about operations on them in the background."""

from typing import Any, Final

from aintandem_notify.simulator.api.request_parsing import ApiRequest
from aintandem_notify.simulator.api.routes import Call, Calls, route_registrar
from aintandem_notify.simulator.world.sandboxes import OperationKind

SANDBOX_CALLS: Final[Calls] = {}

DEFAULT_PROJECT: Final = "default"
"""The project of a sandbox that was created without one: its events need a project."""

_call = route_registrar(SANDBOX_CALLS)


@_call("GET", "/flexy")
async def _sandboxes(request: ApiRequest) -> Any:
    return [record.as_json() for record in request.simulator.sandboxes.all(request.query.get("projectId"))]


@_call("POST", "/flexy")
async def _create(request: ApiRequest) -> Any:
    record = request.simulator.sandboxes.create(
        request.text("projectId") or DEFAULT_PROJECT,
        name=request.text("name"),
        image=request.text("imageName") or request.text("image"),
        breaks=request.flag("breaks"),
    )
    return record.as_json()


@_call("GET", "/flexy/{id}")
async def _sandbox(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.get(request.path["id"]).as_json()


@_call("POST", "/flexy/{id}/start")
async def _start(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.start(request.path["id"]).as_json()


@_call("POST", "/flexy/{id}/stop")
async def _stop(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.stop(request.path["id"]).as_json()


@_call("POST", "/flexy/{id}/restart")
async def _restart(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.restart(request.path["id"]).as_json()


@_call("DELETE", "/flexy/{id}")
async def _remove(request: ApiRequest) -> Any:
    request.simulator.sandboxes.remove(request.path["id"])
    return {"message": "Sandbox removed"}


def _operation_call(kind: OperationKind) -> Call:
    async def begin(request: ApiRequest) -> Any:
        operation = request.simulator.sandboxes.begin(request.path["id"], kind)
        return operation.as_json() | {"message": f"Sandbox {kind} operation queued"}

    return begin


for _kind in (OperationKind.START, OperationKind.STOP, OperationKind.RESTART):
    _call("POST", f"/flexy/{{id}}/{_kind}-async")(_operation_call(_kind))
_call("DELETE", "/flexy/{id}/async")(_operation_call(OperationKind.DELETE))


@_call("GET", "/flexy/operations/{id}")
async def _operation(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.operation(request.path["id"]).as_json()


@_call("POST", "/flexy/operations/{id}/cancel")
async def _cancel_operation(request: ApiRequest) -> Any:
    return request.simulator.sandboxes.cancel(request.path["id"]).as_json() | {"message": "Operation cancelled"}


@_call("GET", "/flexy/projects/{projectId}/operations")
async def _operations(request: ApiRequest) -> Any:
    statuses = request.all("status")
    matching = request.simulator.sandboxes.operations_of(request.path["projectId"])
    return {"operations": [record.as_json() for record in matching if not statuses or record.status in statuses]}
