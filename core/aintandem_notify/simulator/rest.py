"""The REST calls, as a table: method and path → what answers. Bodies and answers are JSON values.

Guarding, faults and errors are the application's; a call raises ApiError for what it refuses.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.asked import Asked
from aintandem_notify.simulator.sandboxes import OperationKind
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.tasks import TaskRecord, TaskStatus
from aintandem_notify.simulator.tokens import TokenPair

Call = Callable[[Asked], Awaitable[Any]]

CALLS: Final[dict[tuple[str, str], Call]] = {}
"""Every call of the API, by method and path without ``/api``."""

OPEN_CALLS: Final = frozenset({("POST", "/auth/login"), ("POST", "/auth/refresh"), ("POST", "/auth/verify")}) | {
    ("GET", "/health")
}
"""The calls that need no token."""


def _call(method: str, path: str) -> Callable[[Call], Call]:
    def register(call: Call) -> Call:
        CALLS[method, path] = call
        return call

    return register


def _pair(pair: TokenPair, user: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"success": True, "token": pair.token, "refreshToken": pair.refresh_token}
    return answer | ({"user": {"id": "1", "username": Simulator.username}} if user else {})


@_call("POST", "/auth/login")
async def _login(asked: Asked) -> Any:
    simulator = asked.simulator
    given = (asked.required("username"), asked.required("password"))
    if simulator.faults.take_refused_login() or given != (simulator.username, simulator.password):
        raise ApiError("invalid username or password", status=401, code="AUTHENTICATION_FAILED")
    return _pair(simulator.tokens.login(simulator.username), user=True)


@_call("POST", "/auth/refresh")
async def _refresh(asked: Asked) -> Any:
    if (pair := asked.simulator.tokens.refresh(asked.required("refreshToken"))) is None:
        raise ApiError("unknown or used refresh token", status=401, code="AUTHENTICATION_FAILED")
    return _pair(pair, user=False)


@_call("POST", "/auth/verify")
async def _verify(asked: Asked) -> Any:
    user = asked.simulator.tokens.user_of(asked.required("token"))
    return {"success": True, "user": {"id": "1", "username": user}} if user else {"success": False}


@_call("POST", "/auth/logout")
async def _logout(asked: Asked) -> Any:
    asked.simulator.tokens.logout(asked.token or "")
    return {"success": True}


@_call("GET", "/health")
async def _health(asked: Asked) -> Any:
    world = asked.simulator.world
    return {"status": "ok", "uptime": round((world.clock.now() - asked.simulator.started_at).total_seconds(), 3)}


@_call("GET", "/projects")
async def _projects(asked: Asked) -> Any:
    return [project.as_json() for project in asked.simulator.world.projects.values()]


@_call("GET", "/projects/{projectId}")
async def _project(asked: Asked) -> Any:
    return asked.simulator.world.project(asked.path["projectId"]).as_json()


def _submit(asked: Asked, title: str | None) -> Any:
    record = asked.simulator.tasks.submit(
        asked.path["projectId"],
        title=title,
        inputs=asked.object("input"),
        outcome=asked.outcome(),
        seconds=asked.number("seconds"),
    )
    return {"taskId": record.id, "message": "Task queued"}


@_call("POST", "/projects/{projectId}/tasks")
async def _execute_task(asked: Asked) -> Any:
    title = asked.text("task") or asked.text("prompt") or asked.text("stepId")
    if title is None:
        raise ApiError("one of task, prompt, stepId is required", status=400, code="MISSING_REQUIRED_FIELD")
    return _submit(asked, title)


@_call("POST", "/projects/{projectId}/tasks/adhoc")
async def _adhoc_task(asked: Asked) -> Any:
    prompt = asked.required("prompt")
    return _submit(asked, asked.text("title") or prompt)


@_call("GET", "/projects/{projectId}/tasks")
async def _task_history(asked: Asked) -> Any:
    status, since, until = asked.query.get("status"), asked.moment("startDate"), asked.moment("endDate")
    if status is not None and status not in set(TaskStatus):
        raise ApiError(f"no such status: {status}", status=400, code="INVALID_STATUS")

    def wanted(record: TaskRecord) -> bool:
        return (
            status in (None, record.status)
            and (since is None or record.created_at >= since)
            and (until is None or record.created_at <= until)
        )

    found = [record for record in asked.simulator.tasks.of(asked.path["projectId"]) if wanted(record)]
    limit, offset = asked.whole("limit", 50), asked.whole("offset", 0)
    page = [record.as_json() for record in found[offset : offset + limit]]
    return {"tasks": page, "total": len(found), "limit": limit, "offset": offset}


@_call("GET", "/projects/{projectId}/tasks/{taskId}")
async def _task(asked: Asked) -> Any:
    return asked.simulator.tasks.get(asked.path["projectId"], asked.path["taskId"]).as_json()


@_call("POST", "/projects/{projectId}/tasks/{taskId}/cancel")
async def _cancel_task(asked: Asked) -> Any:
    asked.simulator.tasks.cancel(asked.path["projectId"], asked.path["taskId"])
    return {}


@_call("GET", "/projects/{projectId}/task-queue-status")
async def _queue_status(asked: Asked) -> Any:
    return asked.simulator.tasks.counts(asked.path["projectId"])


@_call("POST", "/projects/{projectId}/task-limits")
async def _task_limits(asked: Asked) -> Any:
    project_id, limit = asked.path["projectId"], asked.number("limit")
    if limit is None:
        raise ApiError("limit is required", status=400, code="MISSING_REQUIRED_FIELD")
    asked.simulator.tasks.set_limit(project_id, int(limit))
    return {"message": "Task limit updated", "limit": int(limit), "sandboxId": f"sandbox-{project_id}"}


@_call("POST", "/workflows/{workflowId}/executions")
async def _create_execution(asked: Asked) -> Any:
    record = asked.simulator.workflows.create(
        asked.required("projectId"),
        asked.path["workflowId"],
        inputs=asked.object("input"),
        outcome=asked.outcome(),
        pauses=asked.flag("pauses"),
        seconds=asked.number("seconds"),
    )
    return record.as_json()


@_call("POST", "/workflows/executions/{id}/start")
async def _start_execution(asked: Asked) -> Any:
    return asked.simulator.workflows.start(asked.path["id"]).as_json()


@_call("POST", "/workflows/executions/{id}/pause")
async def _pause_execution(asked: Asked) -> Any:
    return asked.simulator.workflows.pause(asked.path["id"]).as_json()


@_call("POST", "/workflows/executions/{id}/resume")
async def _resume_execution(asked: Asked) -> Any:
    return asked.simulator.workflows.resume(asked.path["id"]).as_json()


@_call("POST", "/workflows/executions/{id}/cancel")
async def _cancel_execution(asked: Asked) -> Any:
    return asked.simulator.workflows.cancel(asked.path["id"]).as_json()


@_call("GET", "/workflows/projects/{projectId}/executions")
async def _executions(asked: Asked) -> Any:
    return [record.as_json() for record in asked.simulator.workflows.of(asked.path["projectId"])]


@_call("GET", "/workflows/executions/{id}")
async def _execution(asked: Asked) -> Any:
    return asked.simulator.workflows.get(asked.path["id"]).as_json()


@_call("GET", "/flexy")
async def _sandboxes(asked: Asked) -> Any:
    return [record.as_json() for record in asked.simulator.sandboxes.all(asked.query.get("projectId"))]


@_call("POST", "/flexy")
async def _create_sandbox(asked: Asked) -> Any:
    record = asked.simulator.sandboxes.create(
        asked.required("projectId"),
        name=asked.text("name"),
        image=asked.text("image"),
        breaks=asked.flag("breaks"),
    )
    return record.as_json()


@_call("POST", "/flexy/{id}/start")
async def _start_sandbox(asked: Asked) -> Any:
    return asked.simulator.sandboxes.start(asked.path["id"]).as_json()


@_call("POST", "/flexy/{id}/stop")
async def _stop_sandbox(asked: Asked) -> Any:
    return asked.simulator.sandboxes.stop(asked.path["id"]).as_json()


@_call("DELETE", "/flexy/{id}")
async def _remove_sandbox(asked: Asked) -> Any:
    asked.simulator.sandboxes.remove(asked.path["id"])
    return {"message": "Sandbox removed"}


def _operation_call(kind: OperationKind) -> Call:
    async def begin(asked: Asked) -> Any:
        return asked.simulator.sandboxes.begin(asked.path["id"], kind).as_json()

    return begin


for _kind in OperationKind:
    CALLS["POST", f"/flexy/{{id}}/{_kind}-async"] = _operation_call(_kind)


@_call("GET", "/flexy/operations/{id}")
async def _operation(asked: Asked) -> Any:
    return asked.simulator.sandboxes.operation(asked.path["id"]).as_json()


@_call("GET", "/flexy/projects/{projectId}/operations")
async def _operations(asked: Asked) -> Any:
    return [record.as_json() for record in asked.simulator.sandboxes.operations_of(asked.path["projectId"])]
