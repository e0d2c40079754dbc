"""Missed events are made up: real sockets and REST, real ingest, a scripted orchestrator."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import Event, FeedGapEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.ingest import open_ingest
from aintandem_notify.orchestrator import Login, Session, open_fleet
from aintandem_notify.orchestrator.catch_up import coordinator, event_buffer
from aintandem_notify.orchestrator.catch_up.request_slots import MAX_REQUESTS
from aintandem_notify.store import Storage, WatchProgress
from support.nasty.orchestrator_http import PAGES
from support.outbox import FakeRouter, Sent, inside, memory
from support.raw_orchestrator import HttpRequest, RawOrchestrator, RawSocket, RestAnswer, open_raw_orchestrator

A = ProjectConfig(id="a", name="A")
TASKS = "GET /api/projects/a/tasks"
EXECUTIONS = "GET /api/workflows/projects/a/executions"
SANDBOXES = "GET /api/flexy"
OPERATIONS = "GET /api/flexy/projects/a/operations"


def now(seconds: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def task(name: str, status: str, **fields: Any) -> dict[str, Any]:
    return {"taskId": name, "status": status, **fields}


@dataclass
class Notified(FakeRouter):
    """Records the events that become notifications, and signals each new one."""

    notified: list[tuple[Event, Run | None]] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def route(self, event: Event, run: Run | None, project: Project | None, now: datetime) -> list[Sent]:
        self.notified.append((event, run))
        self.news.set()
        self.news = trio.Event()
        return super().route(event, run, project, now)

    def of(self, *types: str) -> list[tuple[str, str | None, bool]]:
        """Type, run and ``caught_up`` of all events about runs, or of all events of the types."""
        return [
            (event.type, event.run_id, event.caught_up)
            for event, _ in self.notified
            if (event.type in types if types else event.run_id is not None)
        ]

    @property
    def gaps(self) -> list[FeedGapEvent]:
        return [event for event, _ in self.notified if isinstance(event, FeedGapEvent)]

    async def until(self, event_type: str, count: int = 1) -> None:
        while sum(event.type == event_type for event, _ in self.notified) < count:
            await self.news.wait()


@dataclass
class Bench:
    raw: RawOrchestrator
    storage: Storage
    settings: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def agent(self, *projects: ProjectConfig) -> AsyncIterator[Notified]:
        """Watches until the block is left, each time as after a start of the agent."""
        settings = {"reconnect_initial_delay": 0.01, "reconnect_max_delay": 0.05, **self.settings}
        connection = ConnectionConfig.model_construct(**{**ConnectionConfig().model_dump(), **settings})
        notified, clock, chance = Notified(), SystemClock(), random.Random(7).random
        with trio.fail_after(120):  # only a hang takes so long
            async with (
                HttpClient() as http,
                open_ingest(
                    self.storage, router=notified, clock=clock, publish=lambda *_: None, wake=lambda _: None
                ) as ingest,
            ):
                session = Session(
                    self.raw.url,
                    Login("admin", Secret("admin123")),
                    http=http,
                    clock=clock,
                    chance=chance,
                    announce=lambda event: pytest.fail(event.reason),
                )
                async with open_fleet(
                    session, http=http, sink=ingest.commit, reconciler=ingest, clock=clock, chance=chance
                ) as fleet:
                    await fleet.set_projects(projects or (A,), connection)
                    yield notified

    async def socket(self) -> RawSocket:
        return await self.raw.connections.receive()

    async def seen(self, project: str = "a") -> WatchProgress:
        rows = await self.storage.run(inside(lambda store: store.journal.watch_progress([project])))
        return rows[project]

    async def until_seen(self, after: datetime) -> None:
        """Wait until a later ``seen_until`` is stored."""
        while (await self.seen()).seen_until <= after:  # noqa: ASYNC110  # the store tells nobody
            await trio.sleep(0.005)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the orchestrator has received the expected requests."""
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)

    async def first_look(self) -> None:
        """Wait until the first connection has read its snapshot, which belongs to no gap."""
        await self.until(lambda: any(request.path.endswith("/operations") for request in self.raw.requests))

    async def open_runs(self) -> list[str]:
        rows = await self.storage.run(inside(lambda store: store.journal.open_runs("a", 100)))
        return [run.id for run in rows]


@asynccontextmanager
async def open_bench(**settings: Any) -> AsyncIterator[Bench]:
    async with open_raw_orchestrator() as raw, memory() as storage:
        yield Bench(raw, storage, settings)


async def begin(bench: Bench, notified: Notified, *names: str) -> RawSocket:
    """The socket of the first connection, with these tasks running."""
    socket = await bench.socket()
    for name in names:
        await socket.send_event("task_started", taskId=name, task=name.upper(), timestamp=now())
    if names:
        await notified.until("task_started", len(names))
    await bench.first_look()
    return socket


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
async def test_a_kind_that_cannot_be_read_delays_neither_others_nor_live_events(
    fault: int | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aintandem_notify.orchestrator.rest.client.RETRY_PAUSES_S", (0.01,))
    async with open_bench() as bench, bench.agent() as notified:
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


def pages(rows: list[dict[str, Any]], page_size: int | None) -> Any:
    """Responds with pages of at most ``page_size`` rows; None: without paging."""

    def answer(request: HttpRequest) -> Any:
        if page_size is None:
            return rows
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        return {"data": {"tasks": rows[offset : offset + min(limit, page_size)]}}

    return answer


@pytest.mark.parametrize("page_size", [None, 1000, 100, 30])
async def test_all_pages_are_read(page_size: int | None) -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        ended = [task(f"t{n}", "failed", startedAt=now(), completedAt=now()) for n in range(250)]
        bench.raw.rest[TASKS] = pages(ended, page_size)
        await socket.reset()
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(250)]


async def test_an_endless_list_is_read_up_to_a_limit_and_the_rest_is_reported_as_unavailable() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[TASKS] = lambda request: [task(f"t{request.query['offset']}", "queued")]
        await socket.reset()
        await notified.until("feed_gap")
        assert (notified.gaps[0].incomplete, notified.gaps[0].reason) == (True, "tasks beyond the 50 newest")


async def test_a_run_that_is_not_listed_is_requested() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = task("t2", "cancelled", completedAt=now())
        await socket.reset()
        await notified.until("feed_gap")
        assert [one for one in notified.of() if one[2]] == [("task_cancelled", "t2", True)]


async def test_a_run_that_the_orchestrator_fails_on_delays_no_other() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2", "t3")
        bench.raw.rest[TASKS] = [task("t1", "failed", completedAt=now())]
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = {"what": "is that"}
        bench.raw.rest["GET /api/projects/a/tasks/t3"] = task("t3", "cancelled", completedAt=now())
        await socket.reset()
        await notified.until("feed_gap")
        assert sorted(one for one in notified.of() if one[2]) == [
            ("task_cancelled", "t3", True),
            ("task_failed", "t1", True),
        ]
        assert notified.gaps[0].incomplete
        assert "holds no task" in notified.gaps[0].reason
        assert await bench.open_runs() == ["t2"]


async def test_junk_in_a_list_costs_only_itself() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2", "t3", "t4")
        bench.raw.rest[TASKS] = {
            "items": [
                None,
                7,
                {},
                {"id": "t1"},
                {"id": "t1", "status": ["failed"]},
                {"id": "t2", "status": " Failed ", "completedAt": "yesterday", "error": {"code": 7}},
                {"id": "t3", "status": "completed", "completedAt": now(), "output": deep},
                {"id": "t4", "status": "canceled", "task": "cut \ud83d", "completedAt": now()},
                {"id": "x" * 600, "status": "failed", "completedAt": now()},
            ]
        }
        await socket.reset()
        await notified.until("feed_gap")
        ends = [event for event, _ in notified.notified if event.caught_up]
        assert [event.type for event in ends] == ["task_failed", "task_completed", "task_cancelled"]
        assert ends[0].wire()["error"] == '{"code": 7}'
        assert "output" not in ends[1].wire()
        assert ends[2].wire()["task"] == "cut \ufffd"


async def test_live_events_wait_in_their_order_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_buffer, "MAX_BUFFERED", 3)
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
        await socket.send_event("task_started", taskId="n3", timestamp=now())
        await notified.until("task_started", 5)
        answered.set()
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of()] == ["t1", "n0", "n1", "n2", "n3", "t1"]


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


async def test_how_far_a_project_is_seen_is_noted_from_time_to_time_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator, "RECORD_EVERY_S", 0.02)
    async with open_bench() as bench:
        async with bench.agent() as notified:
            socket = await bench.socket()
            await notified.until("connection_connected")
            first = (await bench.seen()).seen_until
            await socket.send_event("task_started", taskId="t1", timestamp=now())
            await bench.until_seen(first)
            noted = (await bench.seen()).seen_until
            await trio.sleep(0.05)
            await socket.send_event("task_started", taskId="t2", timestamp=now())
            await notified.until("task_started", 2)
        assert noted < (await bench.seen()).seen_until <= datetime.now(UTC)


async def test_a_page_that_is_too_large_is_requested_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aintandem_notify.orchestrator.rest.client.MAX_BODY_BYTES", 20_000)
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        times = {"startedAt": now(), "completedAt": now()}
        ended = [task(f"t{n}", "failed", error="x" * 3000, **times) for n in range(20)]
        ended[7]["error"] = "x" * 30_000
        bench.raw.rest[TASKS] = pages(ended, 1000)
        requests = len(bench.raw.requests)
        await socket.reset()
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(20) if n != 7]
        assert notified.gaps[0].reason == "1 tasks that are too large to be read"
        limits = [one.query["limit"] for one in bench.raw.requests[requests:] if one.path.endswith("/a/tasks")]
        assert limits == ["100", "25", "6", "6", *["1"] * 15]


async def test_a_list_without_pages_that_is_too_large_is_reported_as_unavailable_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aintandem_notify.orchestrator.rest.client.MAX_BODY_BYTES", 20_000)
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[EXECUTIONS] = [{"id": f"e{n}", "status": "failed", "error": "x" * 3000} for n in range(20)]
        requests = len(bench.raw.requests)
        await socket.reset()
        await notified.until("feed_gap")
        assert notified.gaps[0].reason == "workflow: the answer has more than 20,000 bytes (HTTP 200)"
        assert sum(one.path.endswith("/executions") for one in bench.raw.requests[requests:]) == 1


async def test_pages_are_reconciled_one_by_one_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aintandem_notify.orchestrator.rest.client.RETRY_PAUSES_S", ())
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        ended = [task(f"t{n}", "failed", startedAt=now(), completedAt=now()) for n in range(250)]
        whole, failures = pages(ended, 100), 1

        def answer(request: HttpRequest) -> Any:
            nonlocal failures
            if request.query["offset"] == "200" and failures:
                failures -= 1
                return RestAnswer({"error": "not now"}, 503)
            return whole(request)

        bench.raw.rest[TASKS] = answer
        await socket.reset()
        await notified.until("task_failed", 200)
        assert not notified.gaps
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(250)]
        assert (notified.gaps[0].changed, notified.gaps[0].incomplete) == (250, False)


async def test_a_long_output_is_cut_and_an_error_too() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        bench.raw.rest[TASKS] = [
            task("t1", "completed", completedAt=now(), output="o" * 150_000),
            task("t2", "failed", completedAt=now(), error="begin" + "e" * 150_000 + "end"),
        ]
        await socket.reset()
        await notified.until("feed_gap")
        first, second = (event for event, _ in notified.notified if event.caught_up)
        assert len(first.wire_json) < 9000
        assert "[142,000 characters left out]" in first.wire()["output"]
        assert second.wire()["error"].startswith("begin")
        assert second.wire()["error"].endswith("end")
        assert len(second.wire_json) < 9000


LARGE = {"rows of 150 KB of output", "a page of 100,000 rows"}
"""Takes 300 MB and half a minute; ``benchmarks.catching_up`` is similar."""


@pytest.mark.parametrize("name", sorted(PAGES.keys() - LARGE - {"pages without ids"}))
async def test_pages_of_any_kind_come_to_an_end(name: str) -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[TASKS] = lambda request: PAGES[name](request.query)
        await socket.reset()
        await notified.until("feed_gap")
        assert not notified.gaps[0].incomplete
