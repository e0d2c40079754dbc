"""The REST calls about sandboxes (``/flexy``) and what is done to them in the background."""

from typing import Any, Final

from aintandem_notify.simulator.api.request_parsing import Asked
from aintandem_notify.simulator.api.routes import Call, Calls, registrar
from aintandem_notify.simulator.world.sandboxes import OperationKind

SANDBOX_CALLS: Final[Calls] = {}

DEFAULT_PROJECT: Final = "default"
"""Whose a sandbox is that was made for no project: its events have to go somewhere."""

_call = registrar(SANDBOX_CALLS)


@_call("GET", "/flexy")
async def _sandboxes(asked: Asked) -> Any:
    return [record.as_json() for record in asked.simulator.sandboxes.all(asked.query.get("projectId"))]


@_call("POST", "/flexy")
async def _create(asked: Asked) -> Any:
    record = asked.simulator.sandboxes.create(
        asked.text("projectId") or DEFAULT_PROJECT,
        name=asked.text("name"),
        image=asked.text("imageName") or asked.text("image"),
        breaks=asked.flag("breaks"),
    )
    return record.as_json()


@_call("GET", "/flexy/{id}")
async def _sandbox(asked: Asked) -> Any:
    return asked.simulator.sandboxes.get(asked.path["id"]).as_json()


@_call("POST", "/flexy/{id}/start")
async def _start(asked: Asked) -> Any:
    return asked.simulator.sandboxes.start(asked.path["id"]).as_json()


@_call("POST", "/flexy/{id}/stop")
async def _stop(asked: Asked) -> Any:
    return asked.simulator.sandboxes.stop(asked.path["id"]).as_json()


@_call("POST", "/flexy/{id}/restart")
async def _restart(asked: Asked) -> Any:
    return asked.simulator.sandboxes.restart(asked.path["id"]).as_json()


@_call("DELETE", "/flexy/{id}")
async def _remove(asked: Asked) -> Any:
    asked.simulator.sandboxes.remove(asked.path["id"])
    return {"message": "Sandbox removed"}


def _begins(kind: OperationKind) -> Call:
    async def begin(asked: Asked) -> Any:
        operation = asked.simulator.sandboxes.begin(asked.path["id"], kind)
        return operation.as_json() | {"message": f"Sandbox {kind} operation queued"}

    return begin


for _kind in (OperationKind.START, OperationKind.STOP, OperationKind.RESTART):
    _call("POST", f"/flexy/{{id}}/{_kind}-async")(_begins(_kind))
_call("DELETE", "/flexy/{id}/async")(_begins(OperationKind.DELETE))


@_call("GET", "/flexy/operations/{id}")
async def _operation(asked: Asked) -> Any:
    return asked.simulator.sandboxes.operation(asked.path["id"]).as_json()


@_call("POST", "/flexy/operations/{id}/cancel")
async def _cancel_operation(asked: Asked) -> Any:
    return asked.simulator.sandboxes.cancel(asked.path["id"]).as_json() | {"message": "Operation cancelled"}


@_call("GET", "/flexy/projects/{projectId}/operations")
async def _operations(asked: Asked) -> Any:
    statuses = asked.all("status")
    found = asked.simulator.sandboxes.operations_of(asked.path["projectId"])
    return {"operations": [record.as_json() for record in found if not statuses or record.status in statuses]}
