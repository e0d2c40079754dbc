"""The table of REST calls: a function for each method and path. Bodies and responses are JSON values.

``app`` checks tokens, causes faults and turns errors into responses. A call raises ApiError to refuse a request.
"""

from collections.abc import Mapping
from typing import Any, Final

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import ApiRequest
from aintandem_notify.simulator.api.routes import Calls, route_registrar
from aintandem_notify.simulator.api.sandbox_calls import SANDBOX_CALLS
from aintandem_notify.simulator.api.workflow_calls import WORKFLOW_CALLS
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.tasks import TaskRecord, TaskStatus
from aintandem_notify.simulator.world.tokens import TokenPair
from aintandem_notify.simulator.world.world import iso, not_found

CALLS: Final[Calls] = {**WORKFLOW_CALLS, **SANDBOX_CALLS}
"""Every call of the API, by method and path without ``/api``."""

OPEN_CALLS: Final = frozenset({("POST", "/auth/login"), ("POST", "/auth/refresh"), ("POST", "/auth/verify")}) | {
    ("GET", "/health")
}
"""The calls that need no token."""

STATUSES: Final[Mapping[tuple[str, str], int]] = {
    ("POST", "/projects/{projectId}/tasks"): 201,
    ("POST", "/projects/{projectId}/tasks/adhoc"): 201,
    ("POST", "/flexy"): 201,
    ("POST", "/workflows/{workflowId}/executions"): 202,
    ("POST", "/flexy/{id}/start-async"): 202,
    ("POST", "/flexy/{id}/stop-async"): 202,
    ("POST", "/flexy/{id}/restart-async"): 202,
    ("DELETE", "/flexy/{id}/async"): 202,
}
"""The HTTP status of success where it is not 200, from the orchestrator's API description."""

DEFAULT_PARENT: Final = "default"
"""The id of the only organization and of its only workspace, which hold all projects."""

_call = route_registrar(CALLS)


def _token_response(pair: TokenPair, user: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"success": True, "token": pair.token, "refreshToken": pair.refresh_token}
    return answer | ({"user": {"id": "1", "username": Simulator.username}} if user else {})


@_call("POST", "/auth/login")
async def _login(request: ApiRequest) -> Any:
    simulator = request.simulator
    credentials = (request.required("username"), request.required("password"))
    if simulator.faults.take_refused_login() or credentials != (simulator.username, simulator.password):
        raise ApiError("invalid username or password", status=401, code="AUTHENTICATION_FAILED")
    return _token_response(simulator.tokens.login(simulator.username), user=True)


@_call("POST", "/auth/refresh")
async def _refresh(request: ApiRequest) -> Any:
    if (pair := request.simulator.tokens.refresh(request.required("refreshToken"))) is None:
        raise ApiError("unknown or used refresh token", status=401, code="AUTHENTICATION_FAILED")
    return _token_response(pair, user=False)


@_call("POST", "/auth/verify")
async def _verify(request: ApiRequest) -> Any:
    user = request.simulator.tokens.user_of(request.required("token"))
    return {"success": True, "user": {"id": "1", "username": user}} if user else {"success": False}


@_call("GET", "/auth/verify")
async def _verify_own(request: ApiRequest) -> Any:
    # The application has already checked the token.
    return {
        "success": True,
        "user": {"id": "1", "username": request.simulator.tokens.user_of(request.token or "")},
    }


@_call("POST", "/auth/logout")
async def _logout(request: ApiRequest) -> Any:
    request.simulator.tokens.logout(request.token or "")
    return {"success": True, "message": "Logged out"}


@_call("GET", "/health")
async def _health(request: ApiRequest) -> Any:
    world = request.simulator.world
    return {"status": "ok", "uptime": round((world.clock.now() - request.simulator.started_at).total_seconds(), 3)}


def _parent_json(request: ApiRequest, kind: str) -> dict[str, Any]:
    """The organization or workspace. Raises ApiError (404) if the path names another one."""
    if (parent_id := request.path.get("id", DEFAULT_PARENT)) != DEFAULT_PARENT:
        raise not_found(kind, parent_id)
    return {
        "id": DEFAULT_PARENT,
        "name": DEFAULT_PARENT.capitalize(),
        "createdAt": iso(request.simulator.started_at),
    }


def _organization(request: ApiRequest) -> dict[str, Any]:
    return _parent_json(request, "organization")


def _workspace(request: ApiRequest) -> dict[str, Any]:
    return _parent_json(request, "workspace") | {"organizationId": DEFAULT_PARENT}


@_call("GET", "/organizations")
async def _organizations(request: ApiRequest) -> Any:
    return [_organization(request)]


@_call("GET", "/organizations/{id}")
async def _one_organization(request: ApiRequest) -> Any:
    return _organization(request)


@_call("GET", "/organizations/{id}/workspaces")
async def _workspaces_of(request: ApiRequest) -> Any:
    _organization(request)
    return [_workspace(request)]


@_call("GET", "/workspaces")
async def _workspaces(request: ApiRequest) -> Any:
    return [_workspace(request)]


@_call("GET", "/workspaces/{id}")
async def _one_workspace(request: ApiRequest) -> Any:
    return _workspace(request)


@_call("GET", "/workspaces/{id}/projects")
async def _projects_of(request: ApiRequest) -> Any:
    _workspace(request)
    return await _projects(request)


@_call("GET", "/projects")
async def _projects(request: ApiRequest) -> Any:
    return [project.as_json() for project in request.simulator.world.projects.values()]


@_call("GET", "/projects/{projectId}")
async def _project(request: ApiRequest) -> Any:
    return request.simulator.world.project(request.path["projectId"]).as_json()


def _submit(request: ApiRequest, title: str | None) -> Any:
    record = request.simulator.tasks.submit(
        request.path["projectId"],
        title=title,
        inputs=request.object("input"),
        outcome=request.outcome(),
        seconds=request.number("seconds"),
    )
    return {"taskId": record.id, "message": "Task queued"}


@_call("POST", "/projects/{projectId}/tasks")
async def _execute_task(request: ApiRequest) -> Any:
    title = request.text("task") or request.text("prompt") or request.text("stepId")
    if title is None:
        raise ApiError("one of task, prompt, stepId is required", status=400, code="MISSING_REQUIRED_FIELD")
    return _submit(request, title)


@_call("POST", "/projects/{projectId}/tasks/adhoc")
async def _adhoc_task(request: ApiRequest) -> Any:
    prompt = request.required("prompt")
    return _submit(request, request.text("title") or prompt)


@_call("GET", "/projects/{projectId}/tasks")
async def _task_history(request: ApiRequest) -> Any:
    statuses, since, until = request.all("status"), request.moment("startDate"), request.moment("endDate")
    for status in statuses:
        if status not in set(TaskStatus):
            raise ApiError(f"no such status: {status}", status=400, code="INVALID_STATUS")

    def matches(record: TaskRecord) -> bool:
        return (
            (not statuses or record.status in statuses)
            and (since is None or record.created_at >= since)
            and (until is None or record.created_at <= until)
        )

    matching = [record for record in request.simulator.tasks.of(request.path["projectId"]) if matches(record)]
    limit, offset = request.whole("limit", 50), request.whole("offset", 0)
    page = [record.as_json() for record in matching[offset : offset + limit]]
    return {"tasks": page, "total": len(matching), "limit": limit, "offset": offset}


@_call("GET", "/projects/{projectId}/tasks/{taskId}")
async def _task(request: ApiRequest) -> Any:
    return request.simulator.tasks.get(request.path["projectId"], request.path["taskId"]).as_json()


@_call("POST", "/projects/{projectId}/tasks/{taskId}/cancel")
async def _cancel_task(request: ApiRequest) -> Any:
    record = request.simulator.tasks.cancel(request.path["projectId"], request.path["taskId"])
    return {"message": "Task cancelled", "taskId": record.id}


@_call("GET", "/projects/{projectId}/task-queue-status")
async def _queue_status(request: ApiRequest) -> Any:
    project_id = request.path["projectId"]
    counts = request.simulator.tasks.counts(project_id)
    return {**counts, "projectId": project_id, "sandboxId": _main_sandbox(project_id)}


@_call("POST", "/projects/{projectId}/task-limits")
async def _task_limits(request: ApiRequest) -> Any:
    project_id, limit = request.path["projectId"], request.number("limit")
    if limit is None:
        raise ApiError("limit is required", status=400, code="MISSING_REQUIRED_FIELD")
    request.simulator.tasks.set_limit(project_id, int(limit))
    return {"message": "Task limit updated", "limit": int(limit), "sandboxId": _main_sandbox(project_id)}


def _main_sandbox(project_id: str) -> str:
    """Id of the sandbox that the project's tasks run in. It is not listed in ``/flexy`` and has no events."""
    return f"sandbox-{project_id}"
