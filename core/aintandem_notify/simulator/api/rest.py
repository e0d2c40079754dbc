"""The REST calls, as a table: method and path → what answers. Bodies and answers are JSON values.

Guarding, faults and errors are the application's; a call raises ApiError for what it refuses.
"""

from collections.abc import Mapping
from typing import Any, Final

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import Asked
from aintandem_notify.simulator.api.routes import Calls, registrar
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
"""The HTTP status of a good answer, as the orchestrator's API description has it, where it is not 200."""

ABOVE: Final = "default"
"""The id of the one organization, and of its one workspace, that all projects are in."""

_call = registrar(CALLS)


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


@_call("GET", "/auth/verify")
async def _verify_own(asked: Asked) -> Any:
    # Whoever gets here has shown a good token.
    return {"success": True, "user": {"id": "1", "username": asked.simulator.tokens.user_of(asked.token or "")}}


@_call("POST", "/auth/logout")
async def _logout(asked: Asked) -> Any:
    asked.simulator.tokens.logout(asked.token or "")
    return {"success": True, "message": "Logged out"}


@_call("GET", "/health")
async def _health(asked: Asked) -> Any:
    world = asked.simulator.world
    return {"status": "ok", "uptime": round((world.clock.now() - asked.simulator.started_at).total_seconds(), 3)}


def _above(asked: Asked, kind: str) -> dict[str, Any]:
    """The organization or workspace, which is also the one that the path names; raises ApiError (404)."""
    if (wanted := asked.path.get("id", ABOVE)) != ABOVE:
        raise not_found(kind, wanted)
    return {"id": ABOVE, "name": ABOVE.capitalize(), "createdAt": iso(asked.simulator.started_at)}


def _organization(asked: Asked) -> dict[str, Any]:
    return _above(asked, "organization")


def _workspace(asked: Asked) -> dict[str, Any]:
    return _above(asked, "workspace") | {"organizationId": ABOVE}


@_call("GET", "/organizations")
async def _organizations(asked: Asked) -> Any:
    return [_organization(asked)]


@_call("GET", "/organizations/{id}")
async def _one_organization(asked: Asked) -> Any:
    return _organization(asked)


@_call("GET", "/organizations/{id}/workspaces")
async def _workspaces_of(asked: Asked) -> Any:
    _organization(asked)
    return [_workspace(asked)]


@_call("GET", "/workspaces")
async def _workspaces(asked: Asked) -> Any:
    return [_workspace(asked)]


@_call("GET", "/workspaces/{id}")
async def _one_workspace(asked: Asked) -> Any:
    return _workspace(asked)


@_call("GET", "/workspaces/{id}/projects")
async def _projects_of(asked: Asked) -> Any:
    _workspace(asked)
    return await _projects(asked)


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
    statuses, since, until = asked.all("status"), asked.moment("startDate"), asked.moment("endDate")
    for status in statuses:
        if status not in set(TaskStatus):
            raise ApiError(f"no such status: {status}", status=400, code="INVALID_STATUS")

    def wanted(record: TaskRecord) -> bool:
        return (
            (not statuses or record.status in statuses)
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
    record = asked.simulator.tasks.cancel(asked.path["projectId"], asked.path["taskId"])
    return {"message": "Task cancelled", "taskId": record.id}


@_call("GET", "/projects/{projectId}/task-queue-status")
async def _queue_status(asked: Asked) -> Any:
    project_id = asked.path["projectId"]
    counts = asked.simulator.tasks.counts(project_id)
    return {**counts, "projectId": project_id, "sandboxId": _main_sandbox(project_id)}


@_call("POST", "/projects/{projectId}/task-limits")
async def _task_limits(asked: Asked) -> Any:
    project_id, limit = asked.path["projectId"], asked.number("limit")
    if limit is None:
        raise ApiError("limit is required", status=400, code="MISSING_REQUIRED_FIELD")
    asked.simulator.tasks.set_limit(project_id, int(limit))
    return {"message": "Task limit updated", "limit": int(limit), "sandboxId": _main_sandbox(project_id)}


def _main_sandbox(project_id: str) -> str:
    """Where the project's tasks run; it is not one of ``/flexy``, and nothing happens to it."""
    return f"sandbox-{project_id}"
