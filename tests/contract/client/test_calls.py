"""The library's REST calls: with the simulator, and with bare sockets for odd responses."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from aintandem_notify import AInTandemClient, ApiError, Conflict, InvalidRequest, NotFound, ServerTrouble
from aintandem_notify.simulator.simulation import Simulator
from support.clients import logged_in
from support.raw_http import HttpRequest, RestAnswer
from support.raw_orchestrator import RawOrchestrator

P = "project-123"
SLOWLY = 0.001
"""A speed of the simulator at which no run ends by itself during a test."""


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AInTandemClient]:
    async with logged_in(simulator) as record:
        yield record


async def test_projects(client: AInTandemClient) -> None:
    assert [project.id for project in await client.projects.list()] == [P, "project-456"]
    assert (await client.projects.get(P)).name == "Project 123"


async def test_a_task_from_its_submission_to_its_end(client: AInTandemClient, simulator: Simulator) -> None:
    submitted = await client.tasks.execute_task(P, "data-analysis", {"dataset": "sales-2024"})
    assert submitted.message == "Task queued"
    await simulator.tasks.get(P, submitted.task_id).ended.wait()
    task = await client.tasks.get_task(P, submitted.task_id)
    assert (task.id, task.task, task.project_id) == (submitted.task_id, "data-analysis", P)
    assert task.status in {"completed", "failed"}
    assert task.created_at is not None
    assert task.model_extra is not None
    assert task.model_extra["input"] == {"dataset": "sales-2024"}, "what we do not know is kept"
    with pytest.raises(Conflict):
        await client.tasks.cancel_task(P, task.id)


async def test_an_adhoc_task_is_cancelled(client: AInTandemClient, simulator: Simulator) -> None:
    simulator.tasks.set_limit(P, 1)
    simulator.tasks.submit(P, seconds=10_000)
    submitted = await client.tasks.execute_adhoc_task(P, "Summarise the sales", title="Summary")
    await client.tasks.cancel_task(P, submitted.task_id)
    task = await client.tasks.get_task(P, submitted.task_id)
    assert (task.task, task.status) == ("Summary", "cancelled")
    status = await client.tasks.queue_status(P)
    assert (status.completed, status.failed) == (0, 0)


async def test_the_task_limit(client: AInTandemClient) -> None:
    limit = await client.tasks.set_task_limit(P, 5)
    assert (limit.limit, limit.sandbox_id) == (5, f"sandbox-{P}")
    with pytest.raises(InvalidRequest, match="at least 1"):
        await client.tasks.set_task_limit(P, 0)


async def test_unknown_attributes(client: AInTandemClient) -> None:
    for call in (
        client.tasks.get_task(P, "nothing"),
        client.tasks.cancel_task(P, "nothing"),
        client.workflows.get_execution("nothing"),
        client.workflows.start("nothing"),
        client.sandboxes.start("nothing"),
        client.sandboxes.delete("nothing"),
        client.sandboxes.operation("nothing"),
    ):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(InvalidRequest, match="one of task, prompt, stepId is required"):
        await client.tasks.execute_task(P)


async def test_an_execution(client: AInTandemClient, simulator: Simulator) -> None:
    simulator.world.speed = SLOWLY
    created = await client.workflows.create_execution("nightly-report", P, {"day": "monday"})
    assert (created.status, created.workflow_id, created.project_id) == ("pending", "nightly-report", P)
    assert (await client.workflows.start(created.id)).status == "running"
    paused = await client.workflows.pause(created.id)
    assert paused.status == "paused"
    assert paused.progress is not None
    assert paused.progress.total == paused.total_phases
    assert len(paused.phases) >= 1
    assert (await client.workflows.resume(created.id)).status == "running"
    assert (await client.workflows.cancel(created.id)).status == "cancelled"
    with pytest.raises(Conflict):
        await client.workflows.pause(created.id)
    assert [execution.id for execution in await client.workflows.list_executions(P)] == [created.id]
    assert (await client.workflows.get_execution(created.id)).status == "cancelled"


async def test_a_sandbox(client: AInTandemClient, simulator: Simulator) -> None:
    other = await client.sandboxes.create("project-456", name="other")
    created = await client.sandboxes.create(P, name="scratch", image="python:3.12", breaks=False)
    assert (created.name, created.image, created.status) == ("scratch", "python:3.12", "created")
    assert (await client.sandboxes.start(created.id)).status == "running"
    assert (await client.sandboxes.stop(created.id)).status == "stopped"
    assert [sandbox.id for sandbox in await client.sandboxes.list(P)] == [created.id]
    assert {sandbox.id for sandbox in await client.sandboxes.list()} == {created.id, other.id}
    await client.sandboxes.delete(created.id)
    assert await client.sandboxes.list(P) == []


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([], ["ours"]),
        (RestAnswer({"error": "no such route"}, 404), ["ours"]),
        (
            [
                {"id": "o1", "sandboxId": "worked-on", "projectId": P},
                {"id": "o2", "sandboxId": "worked-on-too"},
                {"id": "o3", "sandboxId": "unsaid", "projectId": "q"},
                {"id": "o4", "sandboxId": "theirs"},
                {"id": "o5"},
            ],
            ["ours", "worked-on", "worked-on-too"],
        ),
    ],
)
async def test_sandboxes_without_a_project(raw: RawOrchestrator, operations: object, expected: list[str]) -> None:
    """The official SDK's type of a listed sandbox has no project."""
    rows = [{"sandboxId": name} for name in ("worked-on", "worked-on-too", "unsaid")]
    raw.rest["GET /api/flexy"] = [
        {"sandboxId": "ours", "projectId": P},
        {"sandboxId": "theirs", "projectId": "q"},
        *rows,
    ]
    raw.rest[f"GET /api/flexy/projects/{P}/operations"] = {"operations": operations, "total": 5}
    if isinstance(operations, RestAnswer):
        raw.rest[f"GET /api/flexy/projects/{P}/operations"] = operations
    async with logged_in(raw) as client:
        assert sorted(record.id for record in await client.sandboxes.list(P)) == expected
        assert len(await client.sandboxes.list()) == 5


async def test_operations_are_requested_only_for_sandboxes_without_a_project(raw: RawOrchestrator) -> None:
    raw.rest["GET /api/flexy"] = [{"sandboxId": "ours", "projectId": P}]
    async with logged_in(raw) as client:
        assert [record.id for record in await client.sandboxes.list(P)] == ["ours"]
    assert [request.path for request in raw.requests] == ["/api/auth/login", "/api/flexy"]


async def test_operations_on_a_sandbox(client: AInTandemClient) -> None:
    sandbox = await client.sandboxes.create(P, breaks=False)
    for begin, kind in (
        (client.sandboxes.start_async, "start"),
        (client.sandboxes.restart_async, "restart"),
        (client.sandboxes.stop_async, "stop"),
    ):
        operation = await begin(sandbox.id)
        assert (operation.kind, operation.sandbox_id, operation.project_id) == (kind, sandbox.id, P)
        while operation.status not in {"completed", "failed"}:
            operation = await client.sandboxes.operation(operation.id)
            await trio.lowlevel.checkpoint()
        assert (operation.status, operation.error) == ("completed", None)
    assert [record.kind for record in await client.sandboxes.operations(P)] == ["stop", "restart", "start"]


@pytest.mark.parametrize(
    ("wrong", "error"), [("", ValueError), ("..", ValueError), ("a\ud800", ValueError), (5, TypeError)]
)
async def test_an_id_leads_nowhere_else(client: AInTandemClient, wrong: Any, error: type[Exception]) -> None:
    for ask in (
        lambda: client.projects.get(wrong),
        lambda: client.tasks.get_task("project-123", wrong),
        lambda: client.tasks.cancel_task(wrong, "t"),
        lambda: anext(client.tasks.list_tasks(wrong)),
        lambda: client.workflows.get_execution(wrong),
        lambda: client.workflows.start(wrong),
        lambda: client.sandboxes.delete(wrong),
        lambda: client.sandboxes.operation(wrong),
    ):
        with pytest.raises(error, match="the id "):
            await ask()


async def test_a_path_begins_with_a_slash(client: AInTandemClient) -> None:
    with pytest.raises(ValueError, match="path should begin with a slash: '/health'"):
        await client.call("GET", "health")


async def test_any_other_call(client: AInTandemClient) -> None:
    assert (await client.call("GET", "/health"))["status"] == "ok"


# Pages.


async def ids(client: AInTandemClient, **how: Any) -> list[str]:
    return [task.id async for task in client.tasks.list_tasks(P, **how)]


async def test_tasks_come_page_by_page(client: AInTandemClient, simulator: Simulator) -> None:
    simulator.tasks.set_limit(P, 1)
    task_ids = [simulator.tasks.submit(P, seconds=10_000).id for _ in range(7)]
    for size in (1, 3, 7, 100):
        assert await ids(client, page_size=size) == task_ids[::-1]
    simulator.tasks.cancel(P, task_ids[3])
    assert await ids(client, status="cancelled", page_size=2) == [task_ids[3]]
    now = datetime.now(UTC)
    assert await ids(client, created_from=now + timedelta(hours=1)) == []
    assert len(await ids(client, created_until=now + timedelta(hours=1))) == 7


async def test_invalid_arguments_for_a_list_of_tasks(client: AInTandemClient) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # a naive time is refused
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"created_from": naive}, "created_from should say its zone"),
        ({"created_until": naive}, "created_until should say its zone"),
        ({"page_size": 0}, "page_size should be at least 1"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ValueError, match=message):
            client.tasks.list_tasks(P, **wrong)
    with pytest.raises(InvalidRequest, match="no such status: bogus"):
        await ids(client, status="bogus")


async def test_a_server_that_knows_no_pages_gives_all_once(raw: RawOrchestrator) -> None:
    raw.rest[f"GET /api/projects/{P}/tasks"] = {"history": [{"taskId": f"t{n}"} for n in range(250)]}
    async with logged_in(raw) as client:
        assert await ids(client, page_size=10) == [f"t{n}" for n in range(250)]
    assert len(raw.requests) == 3


async def test_a_server_with_smaller_pages_of_its_own(raw: RawOrchestrator) -> None:
    def page(request: HttpRequest) -> RestAnswer:
        start = int(request.query["offset"])
        return RestAnswer([{"id": f"t{n}"} for n in range(start, min(start + 4, 10))])

    raw.rest[f"GET /api/projects/{P}/tasks"] = page
    async with logged_in(raw) as client:
        assert await ids(client, page_size=100) == [f"t{n}" for n in range(10)]


async def test_pages_are_requested_on_demand(raw: RawOrchestrator) -> None:
    raw.rest[f"GET /api/projects/{P}/tasks"] = [{"id": "t1"}, {"id": "t2"}]
    async with logged_in(raw) as client:
        async for task in client.tasks.list_tasks(P):
            assert task.id == "t1"
            break
    assert len(raw.requests) == 2


# Bodies and odd responses.


async def test_bodies_hold_the_arguments_under_their_wire_names(raw: RawOrchestrator) -> None:
    raw.rest["POST /api/projects/a%2Fb/tasks"] = {"taskId": 7}
    raw.rest["POST /api/projects/a%2Fb/tasks/adhoc"] = {"task": {"id": "t8"}}
    raw.rest["POST /api/workflows/w%2F1/executions"] = {"execution": {"executionId": "x"}}
    async with logged_in(raw) as client:
        task = await client.tasks.execute_task("a/b", step_id="s", parameters={"depth": 2}, run_async=False)
        assert task.task_id == "7"
        assert raw.requests[-1].json() == {"stepId": "s", "parameters": {"depth": 2}, "async": False}
        await client.tasks.execute_task("a/b", prompt="do")
        assert raw.requests[-1].json() == {"prompt": "do"}
        adhoc = await client.tasks.execute_adhoc_task("a/b", "do", {"a": 1}, description="d")
        assert adhoc.task_id == "t8"
        assert raw.requests[-1].json() == {"title": "do", "prompt": "do", "input": {"a": 1}, "description": "d"}
        await client.tasks.execute_adhoc_task("a/b", f"\n{'x' * 200}\nand more")
        assert raw.requests[-1].json()["title"] == "x" * 100
        assert (await client.workflows.create_execution("w/1", "p")).id == "x"
        assert raw.requests[-1].json() == {"projectId": "p"}
        await client.workflows.create_execution("w/1", "p", {"a": 1})
        assert raw.requests[-1].json() == {"projectId": "p", "metadata": {"inputParameters": {"a": 1}}}


async def test_a_task_without_an_id_is_an_error(raw: RawOrchestrator) -> None:
    raw.rest[f"POST /api/projects/{P}/tasks"] = {"message": "thanks"}
    async with logged_in(raw) as client:
        with pytest.raises(ApiError, match="the answer holds no task"):
            await client.tasks.execute_task(P, "x")


@pytest.mark.parametrize("answer", [None, {"success": True}, "started", []])
async def test_a_response_without_a_record(raw: RawOrchestrator, answer: object) -> None:
    raw.rest["POST /api/workflows/executions/x/start"] = answer
    raw.rest["POST /api/flexy/s/start"] = answer
    raw.rest["POST /api/projects/p/task-limits"] = answer
    raw.rest["GET /api/projects/p/task-queue-status"] = answer
    async with logged_in(raw) as client:
        assert (await client.workflows.start("x")).id == "x"
        assert (await client.sandboxes.start("s")).id == "s"
        assert (await client.tasks.set_task_limit("p", 4)).limit == 4
        assert (await client.tasks.queue_status("p")).pending is None


async def test_a_task_is_not_submitted_twice(raw: RawOrchestrator) -> None:
    raw.rest[f"POST /api/projects/{P}/tasks"] = RestAnswer({"error": "busy"}, 503)
    async with logged_in(raw) as client:
        with pytest.raises(ServerTrouble):
            await client.tasks.execute_task(P, "x")
    assert [request.path for request in raw.requests].count(f"/api/projects/{P}/tasks") == 1
