"""The official SDK calls the simulator, which understands its requests and answers as its types promise."""

from typing import Any

import pytest

from aintandem_notify.simulator.simulation import Simulator
from support.sdk import Sdk, SdkError, logged_in, open_sdk

PREFIXES = pytest.mark.parametrize("prefix", ["/api", ""])
P = "project-123"


def has(answer: Any, promised: str) -> bool:
    """Whether the answer has a value for each of the names."""
    return all(answer.get(name) is not None for name in promised.split())


@PREFIXES
async def test_it_logs_in_refreshes_verifies_and_logs_out(simulator: Simulator, prefix: str) -> None:
    async with open_sdk(simulator.url + prefix) as sdk:
        assert await sdk.call("auth", "isAuthenticated") is False
        login = await sdk.call("auth", "login", given=({"username": "admin", "password": "admin123"},))
        assert login["success"] is True
        assert has(login, "token refreshToken user")
        assert await sdk.call("auth", "isAuthenticated") is True
        assert await sdk.call("auth", "verify") is True
        refreshed = await sdk.call("auth", "refresh")
        assert refreshed["token"] != login["token"]
        assert await sdk.call("auth", "getToken") == refreshed["token"]
        simulator.expire_tokens()
        assert await sdk.call("auth", "verify") is False
        await sdk.call("auth", "logout")
        assert await sdk.call("auth", "isAuthenticated") is False


async def test_it_understands_why_it_is_refused(simulator: Simulator) -> None:
    async with open_sdk(simulator.url) as sdk:
        with pytest.raises(SdkError, match="invalid username or password") as login:
            await sdk.call("auth", "login", given=({"username": "admin", "password": "wrong"},))
        with pytest.raises(SdkError, match="token") as call:
            await sdk.call("tasks", "listTaskHistory", given=(P,))
    assert (login.value.name, call.value.name, call.value.status) == ("AuthError", "AuthError", 401)


async def test_errors_arrive_with_their_code(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        with pytest.raises(SdkError, match="not found") as missing:
            await sdk.call("tasks", "getTask", given=(P, "task-0"))
        with pytest.raises(SdkError, match="required") as incomplete:
            await sdk.call("tasks", "executeAdhocTask", given=(P, {"title": "no prompt"}))
    assert (missing.value.name, missing.value.status, missing.value.code) == ("ApiError", 404, "TASK_NOT_FOUND")
    assert (incomplete.value.status, incomplete.value.code) == (400, "MISSING_REQUIRED_FIELD")


async def test_it_tries_again_while_the_server_has_trouble(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        simulator.fail_requests(2)
        assert (await sdk.call("workspaces", "getProject", given=(P,)))["id"] == P
        assert sdk.timers[-2:] == [1000, 2000]


@PREFIXES
async def test_it_finds_the_projects_by_the_tree_above_them(simulator: Simulator, prefix: str) -> None:
    async with logged_in(simulator.url + prefix) as sdk:
        (organization,) = await sdk.call("workspaces", "listOrganizations")
        (workspace,) = await sdk.call("workspaces", "listWorkspaces", given=(organization["id"],))
        assert await sdk.call("workspaces", "getOrganization", given=(organization["id"],)) == organization
        assert await sdk.call("workspaces", "getWorkspace", given=(workspace["id"],)) == workspace
        projects = await sdk.call("workspaces", "listProjects", given=(workspace["id"],))
        assert [project["id"] for project in projects] == ["project-123", "project-456"]
        assert await sdk.call("getHttpClient()", "get", given=("/projects",)) == projects
        assert await sdk.call("workspaces", "getProject", given=(P,)) == projects[0]
        with pytest.raises(SdkError, match="not found"):
            await sdk.call("workspaces", "listProjects", given=("elsewhere",))


@PREFIXES
async def test_it_runs_tasks(simulator: Simulator, prefix: str) -> None:
    async with logged_in(simulator.url + prefix) as sdk:
        guide = await sdk.call(
            "tasks", "executeTask", given=(P, {"task": "data-analysis", "input": {"dataset": "sales-2024"}})
        )
        typed = await sdk.call("tasks", "executeTask", given=(P, {"stepId": "step-1", "prompt": "Do it"}))
        adhoc = await sdk.call(
            "tasks",
            "executeAdhocTask",
            given=(P, {"title": "Greet", "prompt": "Say hello", "outcome": "completed"}),
        )
        for submitted in (guide, typed, adhoc):
            assert has(submitted, "taskId message")
            await simulator.tasks.get(P, submitted["taskId"]).ended.wait()
        task = await sdk.call("tasks", "getTask", given=(P, adhoc["taskId"]))
        assert has(task, "id taskId projectId createdAt completedAt output")
        assert (task["status"], task["task"]) == ("completed", "Greet")
        status = await sdk.call("tasks", "getTaskStatus", given=(P, guide["taskId"]))
        assert (status["task"], status["input"]) == ("data-analysis", {"dataset": "sales-2024"})


async def test_it_lists_limits_and_cancels_tasks(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        limit = await sdk.call("tasks", "setTaskLimit", given=(P, {"limit": 1}))
        assert has(limit, "message limit sandboxId")
        prompts = ("first", "second", "third")
        task_ids = [
            (await sdk.call("tasks", "executeAdhocTask", given=(P, {"title": t, "prompt": t, "seconds": 9e9})))[
                "taskId"
            ]
            for t in prompts
        ]
        queue = await sdk.call("tasks", "getQueueStatus", given=(P,))
        assert has(queue, "pending running projectId sandboxId")
        assert queue["projectId"] == P
        cancelled = await sdk.call("tasks", "cancelTask", given=(P, task_ids[1]))
        assert has(cancelled, "message taskId")
        assert cancelled["taskId"] == task_ids[1]
        page = await sdk.call("tasks", "listTaskHistory", given=(P, {"limit": 1, "offset": 1}))
        assert [task["id"] for task in page["tasks"]] == [task_ids[1]]
        response = await sdk.call("tasks", "listTaskHistory", given=(P, {"status": "cancelled"}))
        assert [task["id"] for task in response["tasks"]] == [task_ids[1]]
        later = {"startDate": response["tasks"][0]["createdAt"]}
        assert len((await sdk.call("tasks", "listTaskHistory", given=(P, later)))["tasks"]) == 2


async def execution(sdk: Sdk, **body: Any) -> str:
    created = await sdk.call("workflows", "createExecution", given=("release-pipeline", {"projectId": P, **body}))
    assert has(created, "executionId status message")
    identity: str = created["executionId"]
    return identity


@PREFIXES
async def test_it_leads_a_workflow_by_hand(simulator: Simulator, prefix: str) -> None:
    async with logged_in(simulator.url + prefix) as sdk:
        identity = await execution(sdk, pauses=False, seconds=9e9)
        states = []
        for action in ("start", "pause", "resume", "cancel"):
            answer = await sdk.call("workflows", f"{action}Execution", given=(identity,))
            assert has(answer, "executionId status message")
            states.append(answer["status"])
        assert states == ["running", "paused", "running", "cancelled"]
        response = await sdk.call("workflows", "getExecution", given=(identity,))
        assert has(response, "id executionId workflowId workflowName projectId status phases currentPhase")
        assert has(response["progress"], "message percentage total current")
        listed = await sdk.call("workflows", "listExecutions", given=("release-pipeline",))
        assert [entry["executionId"] for entry in listed] == [identity]
        assert await sdk.call("workflows", "listExecutions", given=("onboarding",)) == []


PHASE_STATES = {"pending", "initializing", "running", "completed", "failed", "skipped"}


async def test_phases_have_the_form_of_its_types(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        metadata = {"inputParameters": {"version": "2"}, "triggeredBy": "api"}
        identity = await execution(sdk, pauses=False, seconds=9e9, metadata=metadata)
        statuses = set()
        for action in ("get", "start", "pause", "resume", "cancel"):
            await sdk.call("workflows", f"{action}Execution", given=(identity,))
            response = await sdk.call("workflows", "getExecution", given=(identity,))
            for phase in response["phases"]:
                assert has(phase, "id phaseId name status steps currentStep progress")
                statuses.add(phase["status"])
        assert statuses <= PHASE_STATES
        assert response["metadata"] == metadata
        assert simulator.workflows.get(identity).input == {"version": "2"}


async def test_it_finds_workflows_and_the_executions_of_a_project(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        workflows = await sdk.call("workflows", "listWorkflows", given=("published",))
        assert "release-pipeline" in [workflow["id"] for workflow in workflows]
        for workflow in workflows:
            assert has(workflow, "id name description definition status version createdAt")
        assert await sdk.call("workflows", "listWorkflows", given=("archived",)) == []
        assert await sdk.call("workflows", "getWorkflow", given=(workflows[0]["id"],)) == workflows[0]
        with pytest.raises(SdkError, match="not found"):
            await sdk.call("workflows", "getWorkflow", given=("nobody-made-this",))
        first, second = await execution(sdk), await execution(sdk)
        await sdk.call("workflows", "cancelExecution", given=(first,))
        path = f"/workflows/projects/{P}/executions"
        response = await sdk.call("getHttpClient()", "get", given=(path,))
        assert [entry["id"] for entry in response["executions"]] == [second, first]
        response = await sdk.call("getHttpClient()", "get", given=(f"{path}?status=cancelled&status=failed",))
        assert [entry["id"] for entry in response["executions"]] == [first]


@PREFIXES
async def test_it_manages_sandboxes(simulator: Simulator, prefix: str) -> None:
    async with logged_in(simulator.url + prefix) as sdk:
        created = await sdk.call("sandboxes", "createSandbox", given=({"projectId": P, "imageName": "mine:1"},))
        assert has(created, "id name image projectId")
        assert created["image"] == "mine:1"
        box = created["id"]
        await sdk.call("sandboxes", "startSandbox", given=(box,))
        assert await sdk.call("sandboxes", "isRunning", given=(box,)) is True
        await sdk.call("sandboxes", "restartSandbox", given=(box,))
        await sdk.call("sandboxes", "stopSandbox", given=(box,))
        stopped = await sdk.call("sandboxes", "waitForState", given=(box, "stopped"))
        assert has(stopped, "sandboxId name image status createdAt")
        assert [entry["sandboxId"] for entry in await sdk.call("sandboxes", "listSandboxes")] == [box]
        await sdk.call("sandboxes", "deleteSandbox", given=(box,))
        assert await sdk.call("sandboxes", "listSandboxes") == []
        with pytest.raises(SdkError, match="not found"):
            await sdk.call("sandboxes", "getSandbox", given=(box,))
    kinds = [frame["type"] for frame in simulator.world.history]
    assert kinds == [f"sandbox_{kind}" for kind in ("created", "started", "stopped", "started", "stopped")]


async def test_it_does_things_to_sandboxes_in_the_background(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        box = (await sdk.call("sandboxes", "createSandbox", given=({"name": "mine"},)))["id"]
        project = simulator.sandboxes.get(box).project_id
        done = []
        for action in ("start", "restart", "stop", "delete"):
            operation = await sdk.call("sandboxes", f"{action}SandboxAsync", given=(box,))
            assert has(operation, "operationId status message")
            done.append(operation["operationId"])
            await simulator.sandboxes.operation(operation["operationId"]).ended.wait()
            response = await sdk.call("sandboxes", "getOperationStatus", given=(operation["operationId"],))
            assert has(response, "id type status sandboxId sandboxName projectId progress startTime endTime steps")
            assert has(response["progress"], "message percentage total current")
            assert (response["type"], response["status"]) == (action, "completed")
            assert {step["status"] for step in response["steps"]} == {"completed"}
        assert await sdk.call("sandboxes", "listSandboxes") == []
        response = await sdk.call("sandboxes", "getProjectOperations", given=(project,))
        assert [entry["id"] for entry in response["operations"]] == done[::-1]
        for statuses, count in ((["completed"], 4), (["failed", "cancelled"], 0)):
            response = await sdk.call("sandboxes", "getProjectOperations", given=(project, statuses))
            assert len(response["operations"]) == count


async def test_it_cancels_an_operation(simulator: Simulator) -> None:
    simulator.world.speed = 1e-9
    async with logged_in(simulator.url) as sdk:
        box = (await sdk.call("sandboxes", "createSandbox", given=({"projectId": P},)))["id"]
        operation = (await sdk.call("sandboxes", "startSandboxAsync", given=(box,)))["operationId"]
        cancelled = await sdk.call("sandboxes", "cancelOperation", given=(operation,))
        assert has(cancelled, "operationId message")
        assert (await sdk.call("tasks", "getAsyncOperation", given=(operation,)))["status"] == "cancelled"
        assert await sdk.call("sandboxes", "isRunning", given=(box,)) is False
        with pytest.raises(SdkError, match="cannot cancel it"):
            await sdk.call("tasks", "cancelAsyncOperation", given=(operation,))
