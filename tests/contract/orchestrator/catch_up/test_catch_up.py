"""Missed events are made up: real sockets and REST, real ingest, a scripted orchestrator."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from aintandem_notify.config import ProjectConfig
from aintandem_notify.orchestrator.catch_up.request_slots import MAX_REQUESTS
from support.catching_up import EXECUTIONS, TASKS, begin, now, open_bench, task
from support.raw_http import HttpRequest, RestAnswer

SANDBOXES = "GET /api/flexy"
OPERATIONS = "GET /api/flexy/projects/a/operations"


async def test_a_missed_end_is_reported_once_with_its_result() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2", "t3")
        bench.raw.rest[TASKS] = {
            "tasks": [
                task("t1", "FAILED", completedAt=now(), error="boom"),
                task("t2", "completed", completedAt=now(), output={"rows": 3}),
                task("t3", "in-progress"),
            ]
        }
        await socket.reset()
        await notified.until("feed_gap")
        assert notified.of()[3:] == [("task_failed", "t1", True), ("task_completed", "t2", True)]
        (failed, run), (completed, _) = [(e, r) for e, r in notified.notified if e.caught_up]
        assert failed.wire()["error"] == "boom"
        assert completed.wire()["output"] == {"rows": 3}
        assert run is not None
        assert run.output_tail.startswith("[output missing: not connected ")
        (gap,) = notified.gaps
        assert (gap.project_id, gap.project_name, gap.changed, gap.too_old, gap.incomplete) == (
            "a",
            "A",
            2,
            0,
            False,
        )
        # Another gap finds nothing new, and the late live event is a duplicate.
        socket = await bench.socket()
        await socket.send_event("task_failed", taskId="t1", error="boom", timestamp=now())
        await socket.reset()
        await notified.until("feed_gap", 2)
        assert len(notified.of()) == 5
        assert notified.gaps[1].changed == 0


async def test_a_live_event_before_the_response_is_reported_once() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        bench.raw.rest[TASKS] = [task("t1", "failed", completedAt=now())]
        await socket.reset()
        socket = await bench.socket()
        for _ in range(3):
            await socket.send_event("task_failed", taskId="t1", timestamp=now())
        await socket.send_event("task_started", taskId="t9", timestamp=now())
        await notified.until("task_started", 2)
        assert [name for name, _, _ in notified.of()] == ["task_started", "task_failed", "task_started"]


async def test_a_task_that_ran_again_is_reported_again() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        await socket.send_event("task_failed", taskId="t1", timestamp=now())
        await socket.send_event("task_failed", taskId="t2", timestamp=now())
        await notified.until("task_failed", 2)
        bench.raw.rest[TASKS] = [
            task("t1", "failed", createdAt=now(-9), startedAt=now(), completedAt=now()),
            task("t2", "running", createdAt=now(-9), startedAt=now()),
        ]
        await socket.reset()
        await notified.until("feed_gap")
        again = [(event.type, run.attempt) for event, run in notified.notified if event.caught_up and run]
        assert again == [("task_started", 2), ("task_failed", 2), ("task_started", 2)]


async def test_a_list_older_than_a_live_event_is_requested_again() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        await socket.send_event("task_failed", taskId="t1", timestamp=now())
        await socket.send_event("task_failed", taskId="t2", timestamp=now())
        await notified.until("task_failed", 2)
        bench.raw.rest[TASKS] = [task("t1", "running"), task("t2", "running")]
        bench.raw.rest["GET /api/projects/a/tasks/t1"] = task("t1", "failed")
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = {"task": task("t2", "running")}
        await socket.reset()
        await notified.until("feed_gap")
        assert [one for one in notified.of() if one[2]] == [("task_started", "t2", True)]


async def test_workflows_and_sandboxes() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await bench.socket()
        for name in ("e1", "e2", "e3"):
            await socket.send_event(
                "workflow_execution_started", executionId=name, workflowId="w", timestamp=now()
            )
        for name in ("b1", "b2", "b3", "b4"):
            await socket.send_event("sandbox_started", sandboxId=name, timestamp=now())
        await notified.until("sandbox_started", 4)
        await bench.first_look()
        bench.raw.rest[EXECUTIONS] = [
            {"id": "e1", "workflowId": "w", "status": "paused"},
            {"id": "e2", "workflowId": "w", "status": "failed", "endTime": now(), "error": "phase Build"},
            {"id": "e3", "workflowId": "w", "status": "cancelled", "endTime": now()},
        ]
        bench.raw.rest[SANDBOXES] = [
            {"containerId": "b1", "projectId": "a", "status": "exited"},
            {"id": "b2", "projectId": "a", "status": "stopped"},
            {"id": "x1", "projectId": "another", "status": "error", "createdAt": now()},
        ]
        bench.raw.rest[OPERATIONS] = [
            {
                "operationId": "o2",
                "sandboxId": "b2",
                "type": "start",
                "status": "failed",
                "error": "no image",
                "createdAt": now(),
                "completedAt": now(),
            },
            {"operationId": "o3", "sandboxId": "b3", "type": "stop", "status": "completed", "completedAt": now()},
        ]
        await socket.reset()
        await notified.until("feed_gap")
        assert sorted(one[:2] for one in notified.of() if one[2]) == [
            ("sandbox_error", "b2"),
            ("sandbox_stopped", "b1"),
            ("sandbox_stopped", "b3"),
            ("workflow_execution_failed", "e2"),
            ("workflow_execution_paused", "e1"),
        ]
        assert notified.gaps[0].changed == 6, "the cancelled execution, too"


async def test_a_sandbox_whose_live_events_arrive_after_the_snapshot_is_reported_once() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        created, started, failed = now(), now(0.05), now(0.1)
        bench.raw.rest[SANDBOXES] = [{"id": "b1", "projectId": "a", "status": "error", "createdAt": created}]
        await socket.reset()
        await notified.until("feed_gap")
        assert [one[0] for one in notified.of() if one[1] == "b1"][-1] == "sandbox_error"
        count = len(notified.of())
        socket = await bench.socket()
        await socket.send_event("sandbox_created", sandboxId="b1", timestamp=created)
        await socket.send_event("sandbox_started", sandboxId="b1", timestamp=started)
        await socket.send_event("sandbox_error", sandboxId="b1", error="boom", timestamp=failed)
        # Later changes are reported.
        await socket.send_event("sandbox_started", sandboxId="b1", timestamp=now())
        await socket.send_event("sandbox_error", sandboxId="b1", error="boom", timestamp=now())
        await notified.until("sandbox_error", 2)
        assert notified.of()[count:] == [("sandbox_started", "b1", False), ("sandbox_error", "b1", False)]


async def test_a_sandbox_that_cannot_be_read_twice_is_reported_as_first_read() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        sandbox = {"id": "b1", "projectId": "a", "status": "error", "createdAt": now()}
        requests = 0

        def answer(_: HttpRequest) -> RestAnswer:
            nonlocal requests
            requests += 1
            return RestAnswer([sandbox], 200) if requests == 1 else RestAnswer({"error": "not now"}, 403)

        bench.raw.rest[SANDBOXES] = answer
        await socket.reset()
        await notified.until("feed_gap")
        assert requests == 2
        assert notified.of("sandbox_error") == [("sandbox_error", "b1", True)]
        assert not notified.gaps[0].incomplete


async def test_a_first_start_reports_no_old_runs_and_a_restart_reports_ends_since_the_stop() -> None:
    async with open_bench() as bench:
        bench.raw.rest[TASKS] = [
            task("old", "failed", completedAt=now(-5)),
            task("open", "running", startedAt=now(-5)),
        ]
        async with bench.agent() as notified:
            while await bench.open_runs() != ["open"]:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert (notified.of(), notified.gaps) == ([], [])
            since = (await bench.seen()).since
        bench.raw.rest[TASKS] = [
            task("new", "failed", startedAt=now(), completedAt=now()),
            task("old", "failed", completedAt=now(-5)),
            task("open", "completed", startedAt=now(-5), completedAt=now()),
        ]
        async with bench.agent() as notified:
            await notified.until("feed_gap")
            assert notified.of() == [
                ("task_started", "new", True),
                ("task_failed", "new", True),
                ("task_completed", "open", True),
            ]
        assert (await bench.seen()).since == since
        async with bench.agent() as notified:
            await notified.until("feed_gap")
            assert notified.of() == []


async def test_ends_too_long_ago_are_only_counted() -> None:
    async with open_bench(catch_up_max=0.0) as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        bench.raw.rest[TASKS] = [
            task("t1", "failed", completedAt=now()),
            task("t2", "failed", startedAt=now(), completedAt=now()),
        ]
        await socket.reset()
        await notified.until("feed_gap")
        assert notified.of() == [("task_started", "t1", False)]
        assert (notified.gaps[0].changed, notified.gaps[0].too_old) == (0, 2)


async def test_a_run_that_the_orchestrator_does_not_know_any_more_is_counted_once() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        await socket.send_event("workflow_execution_started", executionId="e1", workflowId="w", timestamp=now())
        await notified.until("workflow_execution_started")
        for place in ("projects/a/tasks/t1", "workflows/executions/e1"):
            bench.raw.rest[f"GET /api/{place}"] = RestAnswer({"error": "no such thing", "code": "NOT_FOUND"}, 404)
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = task("t2", "running")
        await socket.reset()
        await notified.until("feed_gap")
        assert await bench.open_runs() == ["t2"]
        requests = len(bench.raw.requests)
        socket = await bench.socket()
        await socket.reset()
        await notified.until("feed_gap", 2)
        paths = {request.path for request in bench.raw.requests[requests:]}
        assert not any(path.endswith(("/t1", "/e1")) for path in paths)
        assert any(path.endswith("/t2") for path in paths)
        assert [(gap.changed, gap.too_old, gap.gone, gap.incomplete) for gap in notified.gaps] == [
            (0, 0, 2, False),
            (0, 0, 0, False),
        ]
        # The end arrives late.
        socket = await bench.socket()
        await socket.send_event("task_failed", taskId="t1", timestamp=now())
        await notified.until("task_failed")
        assert await bench.open_runs() == ["t2"]


@pytest.mark.parametrize(
    "answer", [RestAnswer(b"<h1>Not Found</h1>", 404), RestAnswer(b"404 page not found", 404)]
)
async def test_a_run_is_not_gone_because_something_else_answers_404(answer: RestAnswer) -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        bench.raw.rest["GET /api/projects/a/tasks/t1"] = answer
        await socket.reset()
        while sum(request.path.endswith("/t1") for request in bench.raw.requests) < 2:  # noqa: ASYNC110
            await trio.sleep(0.005)
        assert await bench.open_runs() == ["t1"]
        bench.raw.rest["GET /api/projects/a/tasks/t1"] = task("t1", "failed", completedAt=now(), error="boom")
        await notified.until("task_failed")
        await notified.until("feed_gap")
        assert notified.gaps[0].gone == 0


async def test_a_run_whose_id_fits_no_url_is_gone() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "..")
        bench.raw.rest["GET /api/projects/a/tasks/t1"] = task("t1", "running")
        await socket.reset()
        await notified.until("feed_gap")
        assert (notified.gaps[0].gone, await bench.open_runs()) == (1, ["t1"])


@pytest.mark.parametrize(
    "fault",
    [
        *(500, 503, b"{", b"<html>", b"", b"null", b'""', b'{"status": "maintenance"}', b"[null]", b'["a"]'),
        *(b'[{"status": "failed"}]', b'{"success": false, "data": []}', b'{"error": "busy", "executions": []}'),
    ],
)
async def test_a_kind_that_cannot_be_read_delays_neither_others_nor_live_events(fault: int | bytes) -> None:
    async with open_bench({"retry_pauses_s": (0.01,)}) as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        bench.raw.rest[TASKS] = [task("t1", "failed", completedAt=now())]
        answers = 0

        def fail_three_times(_request: HttpRequest) -> Any:
            nonlocal answers
            answers += 1
            if answers > 3:
                return [{"id": "e1", "workflowId": "w", "status": "failed", "startTime": now(), "endTime": now()}]
            return RestAnswer({}, fault) if isinstance(fault, int) else RestAnswer(fault)

        bench.raw.rest[EXECUTIONS] = fail_three_times
        await socket.reset()
        socket = await bench.socket()
        await socket.send_event("task_started", taskId="t2", timestamp=now())
        await notified.until("feed_gap")
        names = [name for name, _, _ in notified.of()]
        expected = ["task_started", "task_failed", "task_started"]
        expected += ["workflow_execution_started", "workflow_execution_failed"]
        assert sorted(names) == sorted(expected)
        assert names[:2] == ["task_started", "task_failed"]
        assert notified.gaps[0].incomplete is False


async def test_a_server_without_lists_is_not_asked_again_and_a_rejection_is_reported() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        for place in (EXECUTIONS, SANDBOXES, OPERATIONS):
            bench.raw.rest[place] = RestAnswer({"error": "no such route"}, 404)
        await socket.reset()
        await notified.until("feed_gap")
        assert notified.gaps[0].incomplete is False
        bench.raw.rest[TASKS] = RestAnswer({"error": "not yours"}, 403)
        await (await bench.socket()).reset()
        await notified.until("feed_gap", 2)
        assert (notified.gaps[1].incomplete, notified.gaps[1].reason) == (True, "task: not yours (HTTP 403)")


async def test_live_events_wait_in_their_order() -> None:
    answered = trio.Event()
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1")
        bench.raw.delays[TASKS] = answered
        bench.raw.rest[TASKS] = [task("t1", "failed", completedAt=now())]
        await socket.reset()
        socket = await bench.socket()
        for number in range(3):
            await socket.send_event("task_started", taskId=f"n{number}", timestamp=now())
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert len(notified.of()) == 1, "they wait"
        answered.set()
        await notified.until("feed_gap")
        await notified.until("task_started", 4)
        assert [name for _, name, _ in notified.of()] == ["t1", "t1", "n0", "n1", "n2"]


async def test_projects_share_one_request_for_sandboxes() -> None:
    projects = [ProjectConfig(id=f"p{n}", name="x") for n in range(30)]

    def requests() -> list[str]:
        return [request.path.rpartition("/")[2] for request in bench.raw.requests]

    async with open_bench() as bench, bench.agent(*projects) as notified:
        await notified.until("connection_connected", 30)
        await bench.raw.go_away()
        await notified.until(
            "connection_disconnected", 30
        )  # until then they read the snapshots of their first links
        bench.raw.requests.clear()
        answered = bench.raw.delays[SANDBOXES] = trio.Event()
        bench.raw.come_back()
        await bench.until(lambda: requests().count("executions") >= 30)
        answered.set()
        await notified.until("feed_gap", 30)
        # One, another for those that were waiting during it, and one each for those that were still reading
        # executions.
        assert requests().count("flexy") <= 1 + MAX_REQUESTS
        assert requests().count("tasks") == 30


async def test_how_far_a_project_is_seen_is_noted_at_the_end() -> None:
    async with open_bench() as bench:
        async with bench.agent() as notified:
            socket = await bench.socket()
            await notified.until("connection_connected")
            await bench.first_look()
            noted = (await bench.seen()).seen_until
            await socket.send_event("task_started", taskId="t1", timestamp=now())
            await notified.until("task_started")
        assert noted < (await bench.seen()).seen_until <= datetime.now(UTC)
