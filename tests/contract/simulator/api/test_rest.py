"""The simulator's REST API over a real port: every call, both prefixes, and the form of errors."""

import math
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify.simulator import open_simulator
from aintandem_notify.simulator.api.rest import CALLS, OPEN_CALLS
from aintandem_notify.simulator.simulation import Simulator
from support.simulated import call, login


@pytest.fixture
async def token(simulator: Simulator) -> str:
    return (await login(simulator))["token"]


@pytest.mark.parametrize("prefix", ["/api", ""])
@pytest.mark.parametrize(("method", "path"), [key for key in CALLS if key not in OPEN_CALLS])
async def test_every_call_wants_a_token(simulator: Simulator, prefix: str, method: str, path: str) -> None:
    for token in (None, "nonsense"):
        status, answer = await call(simulator, method, prefix + path, {}, token=token)
        assert (status, answer["code"], answer["statusCode"]) == (401, "UNAUTHORIZED", 401)
        assert answer["path"] == prefix + path
        assert answer["timestamp"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/projects/p/tasks/task-0", "TASK_NOT_FOUND"),
        ("POST", "/projects/p/tasks/task-0/cancel", "TASK_NOT_FOUND"),
        ("GET", "/workflows/executions/exec-0", "EXECUTION_NOT_FOUND"),
        ("POST", "/workflows/executions/exec-0/start", "EXECUTION_NOT_FOUND"),
        ("POST", "/flexy/sandbox-0/start", "SANDBOX_NOT_FOUND"),
        ("POST", "/flexy/sandbox-0/stop-async", "SANDBOX_NOT_FOUND"),
        ("DELETE", "/flexy/sandbox-0", "SANDBOX_NOT_FOUND"),
        ("GET", "/flexy/sandbox-0", "SANDBOX_NOT_FOUND"),
        ("DELETE", "/flexy/sandbox-0/async", "SANDBOX_NOT_FOUND"),
        ("GET", "/flexy/operations/op-0", "OPERATION_NOT_FOUND"),
        ("POST", "/flexy/operations/op-0/cancel", "OPERATION_NOT_FOUND"),
        ("GET", "/workflows/workflow-0", "WORKFLOW_NOT_FOUND"),
        ("GET", "/organizations/o", "ORGANIZATION_NOT_FOUND"),
        ("GET", "/organizations/o/workspaces", "ORGANIZATION_NOT_FOUND"),
        ("GET", "/workspaces/w/projects", "WORKSPACE_NOT_FOUND"),
        ("GET", "/nothing/here", "NOT_FOUND"),
    ],
)
async def test_unknown_ids_are_404(simulator: Simulator, token: str, method: str, path: str, code: str) -> None:
    status, answer = await call(simulator, method, f"/api{path}", token=token)
    assert (status, answer["code"], answer["statusCode"]) == (404, code, 404)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/projects/p/tasks", {}, "MISSING_REQUIRED_FIELD"),
        ("/projects/p/tasks", {"task": 5}, "INVALID_VALUE"),
        ("/projects/p/tasks", {"task": "x", "seconds": True}, "INVALID_VALUE"),
        ("/projects/p/tasks", {"task": "x", "outcome": "maybe"}, "INVALID_VALUE"),
        ("/projects/p/tasks", {"task": "x", "seconds": -1}, "INVALID_VALUE"),
        ("/projects/p/tasks", {"task": "cut \ud83d"}, "VALIDATION_ERROR"),
        ("/projects/p/tasks", {"task": "x", "seconds": math.nan}, "VALIDATION_ERROR"),
        ("/projects/p/tasks", [], "VALIDATION_ERROR"),
        ("/projects/p/tasks/adhoc", {"title": "x"}, "MISSING_REQUIRED_FIELD"),
        ("/projects/p/task-limits", {}, "MISSING_REQUIRED_FIELD"),
        ("/projects/p/task-limits", {"limit": 0}, "INVALID_VALUE"),
        ("/workflows/w/executions", {}, "MISSING_REQUIRED_FIELD"),
        ("/workflows/w/executions", {"projectId": "p", "metadata": {"inputParameters": 5}}, "INVALID_VALUE"),
        ("/flexy", {"projectId": {}}, "INVALID_VALUE"),
    ],
)
async def test_bad_requests(simulator: Simulator, token: str, path: str, body: Any, code: str) -> None:
    status, answer = await call(simulator, "POST", path, body, token=token)
    assert (status, answer["code"]) == (400, code)


async def test_a_body_that_is_no_json(simulator: Simulator, token: str) -> None:
    status, answer = await call(simulator, "POST", "/projects/p/tasks", raw=b"{", token=token)
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


async def test_an_endless_number_is_out_of_range(simulator: Simulator, token: str) -> None:
    body = b'{"task": "x", "seconds": 1e999}'
    status, _ = await call(simulator, "POST", "/projects/p/tasks", raw=body, token=token)
    assert status == 400


async def test_login_refresh_verify_logout(simulator: Simulator) -> None:
    status, refused = await call(simulator, "POST", "/api/auth/login", {"username": "admin", "password": "x"})
    assert (status, refused["success"], refused["code"]) == (401, False, "AUTHENTICATION_FAILED")
    first = await login(simulator)
    assert first["user"] == {"id": "1", "username": "admin"}  # type: ignore[comparison-overlap]
    status, second = await call(simulator, "POST", "/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert (status, second["success"]) == (200, True)
    status, used = await call(simulator, "POST", "/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert (status, used["success"]) == (401, False)
    assert (await call(simulator, "POST", "/auth/verify", {"token": second["token"]}))[1]["success"] is True
    assert await call(simulator, "POST", "/auth/logout", token=second["token"]) == (
        200,
        {"success": True, "message": "Logged out"},
    )
    assert await call(simulator, "POST", "/auth/verify", {"token": second["token"]}) == (200, {"success": False})


async def test_projects_come_to_life_when_they_are_used(simulator: Simulator, token: str) -> None:
    _, known = await call(simulator, "GET", "/api/projects", token=token)
    assert [project["id"] for project in known] == ["project-123", "project-456"]
    status, fresh = await call(simulator, "GET", "/api/projects/sales-eu", token=token)
    assert (status, fresh["id"], fresh["name"]) == (200, "sales-eu", "Sales eu")
    _, known = await call(simulator, "GET", "/api/projects", token=token)
    assert [project["id"] for project in known] == ["project-123", "project-456", "sales-eu"]


async def test_the_guides_task_runs_and_can_be_looked_up(simulator: Simulator, token: str) -> None:
    body = {"task": "data-analysis", "input": {"dataset": "sales-2024"}, "async": True, "outcome": "completed"}
    status, answer = await call(simulator, "POST", "/api/projects/project-123/tasks", body, token=token)
    assert (status, set(answer)) == (201, {"taskId", "message"})
    record = simulator.tasks.get("project-123", answer["taskId"])
    await record.ended.wait()
    _, task = await call(simulator, "GET", f"/api/projects/project-123/tasks/{record.id}", token=token)
    assert (task["id"], task["task"], task["status"]) == (record.id, "data-analysis", "completed")
    assert task["createdAt"] < task["completedAt"]
    assert task["input"] == {"dataset": "sales-2024"}
    _, counts = await call(simulator, "GET", "/api/projects/project-123/task-queue-status", token=token)
    assert counts.items() >= {"pending": 0, "running": 0, "completed": 1, "failed": 0}.items()


async def test_task_history_is_filtered_and_paged(simulator: Simulator, token: str) -> None:
    async def history(query: str) -> list[str]:
        status, answer = await call(simulator, "GET", f"/projects/p/tasks?{query}", token=token)
        assert status == 200
        return [task["id"] for task in answer["tasks"]]

    for prompt in ("a", "b", "c"):
        await call(simulator, "POST", "/projects/p/tasks/adhoc", {"prompt": prompt, "seconds": 9e9}, token=token)
    newest, middle, oldest = simulator.tasks.of("p")
    await call(simulator, "POST", f"/projects/p/tasks/{middle.id}/cancel", token=token)
    assert await history("") == [newest.id, middle.id, oldest.id]
    assert await history("status=cancelled") == [middle.id]
    assert await history("limit=1&offset=1") == [middle.id]
    assert await history(f"startDate={middle.as_json()['createdAt']}") == [newest.id, middle.id]
    assert await history(f"endDate={middle.as_json()['createdAt']}") == [middle.id, oldest.id]
    assert await history("status=cancelled&status=failed") == [middle.id]
    for query in ("status=odd", "status=failed&status=odd", "limit=-1", "startDate=never"):
        assert (await call(simulator, "GET", f"/projects/p/tasks?{query}", token=token))[0] == 400


async def test_a_workflow_by_hand(simulator: Simulator, token: str) -> None:
    body = {"projectId": "p", "input": {"version": "2"}, "pauses": False, "seconds": 9e9}
    _, record = await call(simulator, "POST", "/workflows/release-pipeline/executions", body, token=token)
    states = [record["status"]]
    for action in ("start", "pause", "resume", "cancel"):
        status, answer = await call(
            simulator, "POST", f"/workflows/executions/{record['id']}/{action}", token=token
        )
        assert status == 200
        states.append(answer["status"])
    assert states == ["pending", "running", "paused", "running", "cancelled"]
    status, refused = await call(simulator, "POST", f"/workflows/executions/{record['id']}/cancel", token=token)
    assert (status, refused["code"]) == (409, "CONFLICT")
    _, execution = await call(simulator, "GET", f"/workflows/executions/{record['id']}", token=token)
    _, executions = await call(simulator, "GET", "/workflows/projects/p/executions", token=token)
    assert executions == {"executions": [execution]}
    for wanted_status, returned in (("cancelled", [execution]), ("running", [])):
        path = f"/workflows/projects/p/executions?status={wanted_status}"
        assert await call(simulator, "GET", path, token=token) == (200, {"executions": returned})
    status, _ = await call(simulator, "GET", "/workflows/projects/p/executions?status=odd", token=token)
    assert status == 400
    fields = {"id", "workflowId", "workflowName", "projectId", "status", "phases", "currentPhase", "totalPhases"}
    assert fields | {"progress", "startTime", "endTime", "duration"} <= set(execution)


async def test_a_sandbox_by_hand(simulator: Simulator, token: str) -> None:
    _, record = await call(simulator, "POST", "/flexy", {"projectId": "p", "image": "mine:1"}, token=token)
    box = f"/flexy/{record['id']}"
    assert (await call(simulator, "POST", f"{box}/start", token=token))[1]["status"] == "running"
    assert (await call(simulator, "POST", f"{box}/start", token=token))[1]["code"] == "CONFLICT"
    assert (await call(simulator, "POST", f"{box}/stop", token=token))[1]["status"] == "stopped"
    _, operation = await call(simulator, "POST", f"{box}/start-async", token=token)
    _, again = await call(simulator, "GET", f"/flexy/operations/{operation['id']}", token=token)
    assert again["sandboxId"] == record["id"]
    _, listed = await call(simulator, "GET", "/flexy/projects/p/operations", token=token)
    assert [entry["id"] for entry in listed["operations"]] == [operation["id"]]
    assert (await call(simulator, "DELETE", box, token=token))[0] == 200
    assert await call(simulator, "GET", "/flexy", token=token) == (200, [])


async def test_the_status_of_responses_that_begin_something(simulator: Simulator, token: str) -> None:
    _, box = await call(simulator, "POST", "/flexy", {}, token=token)
    assert box["projectId"] == "default"
    requests = [
        ("POST", "/projects/p/tasks", {"prompt": "x"}, 201),
        ("POST", "/projects/p/tasks/adhoc", {"prompt": "x"}, 201),
        ("POST", "/flexy", {"projectId": "p"}, 201),
        ("POST", "/workflows/w/executions", {"projectId": "p"}, 202),
        ("POST", f"/flexy/{box['id']}/start-async", None, 202),
        ("DELETE", f"/flexy/{box['id']}/async", None, 202),
    ]
    for method, path, body, expected in requests:
        assert (await call(simulator, method, path, body, token=token))[0] == expected


async def test_the_user_of_a_token(simulator: Simulator, token: str) -> None:
    status, answer = await call(simulator, "GET", "/api/auth/verify", token=token)
    assert (status, answer) == (200, {"success": True, "user": {"id": "1", "username": "admin"}})


async def test_health_needs_no_token(simulator: Simulator) -> None:
    status, answer = await call(simulator, "GET", "/health")
    assert (status, answer["status"]) == (200, "ok")
    assert answer["uptime"] >= 0


async def test_requests_can_be_answered_late(simulator: Simulator, token: str) -> None:
    simulator.delay_requests(1, seconds=0.05)
    began = trio.current_time()
    status, _ = await call(simulator, "GET", "/api/projects", token=token)
    assert (status, simulator.faults.delays) == (200, 0)
    assert trio.current_time() - began >= 0.05


async def test_faults_of_requests_and_logins(simulator: Simulator, token: str) -> None:
    simulator.fail_requests(2, status=502)
    route = [(await call(simulator, "GET", "/api/projects", token=token))[0] for _ in range(3)]
    assert route == [502, 502, 200]
    simulator.refuse_logins(1)
    body = {"username": "admin", "password": "admin123"}
    route = [(await call(simulator, "POST", "/auth/login", body))[0] for _ in range(2)]
    assert route == [401, 200]
    simulator.expire_tokens()
    assert (await call(simulator, "GET", "/api/projects", token=token))[0] == 401


async def test_a_short_token_expires_by_itself() -> None:
    async with open_simulator(token_lifetime=0.0) as simulator:
        token = (await login(simulator))["token"]
        assert (await call(simulator, "GET", "/projects", token=token))[0] == 401


async def test_every_start_has_its_own_ids_and_the_seed_its_plans() -> None:
    plans, ids = [], []
    for _ in range(2):
        async with open_simulator(seed=4) as simulator:
            task = simulator.tasks.submit("p")
            plans.append(task.plan)
            ids.append(task.id)
    assert plans[0] == plans[1]
    assert ids[0] != ids[1]


async def test_a_taken_port_is_an_os_error(simulator: Simulator) -> None:
    with pytest.raises(OSError, match="in use"):
        async with open_simulator(port=simulator.port):
            pass


async def test_a_client_that_hangs_up_in_its_request_is_no_news(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(head + b'{"username"')
        await trio.testing.wait_all_tasks_blocked(0.05)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await call(simulator, "GET", "/health"))[0] == 200
    assert not caplog.records
