"""The REST calls against a real HTTP server on loopback; pauses between attempts run on virtual time."""

import gc
import json
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from aintandem_notify.config.types.values import Secret
from aintandem_notify.errors import ApiError, AuthenticationFailed, Conflict, HttpFailed, NotFound, ServerTrouble
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.orchestrator import Login, Session
from aintandem_notify.orchestrator.rest.client import OrchestratorApi
from aintandem_notify.orchestrator.rest.records import Record, without_extras
from support.nasty import orchestrator_http as nasty
from support.nasty.wire import answer, zipped
from support.raw_http import RestAnswer
from support.raw_orchestrator import RawOrchestrator, open_raw_orchestrator


@asynccontextmanager
async def api() -> AsyncIterator[tuple[OrchestratorApi, RawOrchestrator]]:
    async with open_raw_orchestrator() as raw, HttpClient() as http:
        yield OrchestratorApi(session_over(raw.url, http), http, SystemClock()), raw


class PlannedHttp(HttpClient):
    """Accepts every login, then gives the answers in turn, the last one for ever. Records the times."""

    def __init__(self, *answers: HttpAnswer | HttpFailed) -> None:
        super().__init__()
        self._left = list(answers)
        self.times: list[float] = []

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        if url.endswith("/auth/login"):
            return HttpAnswer(200, {}, b'{"success": true, "token": "T"}')
        self.times.append(trio.current_time())
        answer = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(answer, HttpFailed):
            raise answer
        return answer


def planned(*answers: HttpAnswer | HttpFailed) -> tuple[OrchestratorApi, list[float]]:
    http = PlannedHttp(*answers)
    return OrchestratorApi(session_over("http://h", http), http, SystemClock()), http.times


def session_over(url: str, http: HttpClient) -> Session:
    return Session(
        url,
        Login("admin", Secret("admin123")),
        http=http,
        clock=SystemClock(),
        chance=lambda: 0.0,
        announce=lambda event: pytest.fail(event.reason),
    )


CALLS: list[tuple[str, tuple[str, ...], str, Any]] = [
    ("projects", (), "/api/projects", {"projects": [{"id": "a/b", "name": "A"}]}),
    ("project", ("a/b",), "/api/projects/a%2Fb", {"id": "a/b"}),
    ("tasks", ("a/b",), "/api/projects/a%2Fb/tasks", {"tasks": [{"taskId": "a/b"}]}),
    ("task", ("p", "a/b"), "/api/projects/p/tasks/a%2Fb", {"task": {"id": "a/b"}}),
    ("executions", ("p",), "/api/workflows/projects/p/executions", [{"id": "a/b"}]),
    ("execution", ("a/b",), "/api/workflows/executions/a%2Fb", {"id": "a/b"}),
    ("sandboxes", (), "/api/flexy", {"containers": [{"containerId": "a/b"}]}),
    ("operations", ("p",), "/api/flexy/projects/p/operations", {"operations": [{"operationId": "a/b"}]}),
    ("operation", ("a/b",), "/api/flexy/operations/a%2Fb", {"data": {"operationId": "a/b"}}),
]


@pytest.mark.parametrize(("name", "arguments", "path", "answer"), CALLS)
async def test_calls(name: str, arguments: tuple[str, ...], path: str, answer: Any) -> None:
    async with api() as (orchestrator, raw):
        raw.rest[f"GET {path}"] = answer
        result = await getattr(orchestrator, name)(*arguments)
        assert [record.id for record in (result if isinstance(result, list) else [result])] == ["a/b"]
        assert raw.requests[-1].headers["authorization"].startswith("Bearer ey")


async def test_health() -> None:
    async with api() as (orchestrator, _):
        assert await orchestrator.health() == {"status": "ok", "uptime": 1}


async def test_queries_leave_out_parameters_that_are_none() -> None:
    async with api() as (orchestrator, raw):
        await orchestrator.tasks("p", status="failed", limit=5, start_date="2026-01-01T00:00:00+00:00")
        assert raw.requests[-1].query == {
            "status": "failed",
            "limit": "5",
            "startDate": "2026-01-01T00:00:00+00:00",
        }


LISTS = [
    ("projects", "projects", (), "/api/projects"),
    ("tasks", "tasks", ("p",), "/api/projects/p/tasks"),
    ("executions", "executions", ("p",), "/api/workflows/projects/p/executions"),
    ("sandboxes", "sandboxes", (), "/api/flexy"),
    ("operations", "operations", ("p",), "/api/flexy/projects/p/operations"),
]
"""Each call for a list: its name, the list's name in an answer, arguments, path."""


@pytest.mark.parametrize(("name", "key", "arguments", "path"), LISTS)
async def test_no_list_is_an_error_and_no_empty_list(
    name: str, key: str, arguments: tuple[str, ...], path: str
) -> None:
    answers = nasty.NO_PROJECTS if name == "projects" else nasty.NO_LISTS
    async with api() as (orchestrator, raw):
        for case, answer in answers.items():
            raw.rest[f"GET {path}"] = nasty.named_rows(answer, key)
            try:
                result = await getattr(orchestrator.without_retries(), name)(*arguments)
            except (ApiError, HttpFailed):
                continue
            pytest.fail(f"{case}: {result}")


@pytest.mark.parametrize(("name", "key", "arguments", "path"), LISTS)
async def test_an_empty_list_is_one(name: str, key: str, arguments: tuple[str, ...], path: str) -> None:
    async with api() as (orchestrator, raw):
        for answer in nasty.EMPTY_LISTS.values():
            raw.rest[f"GET {path}"] = nasty.named_rows(answer, key)
            assert await getattr(orchestrator, name)(*arguments) == []


async def test_rows_that_cannot_be_read_make_a_list_of_projects_incomplete() -> None:
    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects"] = [{"id": "a"}, {"name": "no id"}]
        listed = await orchestrator.listed_projects()
        assert ([project.id for project in listed.projects], listed.is_whole) == (["a"], False)
        raw.rest["GET /api/projects"] = [{"id": "a"}]
        assert (await orchestrator.listed_projects()).is_whole


async def test_an_answer_without_the_thing_is_an_error() -> None:
    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects/p"] = {"success": True}
        with pytest.raises(ApiError, match="no project"):
            await orchestrator.project("p")


async def test_a_large_response_is_read_completely() -> None:
    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects/p/tasks"] = [{"id": str(n), "output": "x" * 1000} for n in range(2000)]
        assert len(await orchestrator.tasks("p")) == 2000


@pytest.mark.parametrize(("rows", "beside"), [(2, False), (2000, True)], ids=["small", "large"])
async def test_a_large_response_is_converted_in_a_thread(rows: int, beside: bool) -> None:
    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects/p/tasks"] = [{"id": str(n), "output": "x" * 1000} for n in range(rows)]
        threads = await orchestrator.map_tasks("p", lambda _: threading.get_ident(), limit=rows, offset=0)
        assert len(threads) == rows
        assert (set(threads) != {threading.get_ident()}) is beside


async def test_a_compressed_response_is_read() -> None:
    rows = [{"id": str(number), "output": "x" * 1000} for number in range(2000)]
    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects/p/tasks"] = zipped(json.dumps(rows).encode())
        assert len(await orchestrator.tasks("p")) == 2000


async def test_errors_are_typed() -> None:
    async with api() as (orchestrator, raw):
        raw.rest["POST /api/x"] = RestAnswer(
            {"error": "in use", "code": "WORKFLOW_IN_USE", "statusCode": 409}, 409
        )
        with pytest.raises(Conflict) as conflict:
            await orchestrator.call("POST", "/x", json={"a": 1})
        assert (conflict.value.status, conflict.value.code) == (409, "WORKFLOW_IN_USE")
        assert raw.requests[-1].json() == {"a": 1}
        with pytest.raises(NotFound):
            await orchestrator.task("p", "t")


@pytest.mark.parametrize(
    "trouble", [HttpAnswer(503, {}), HttpAnswer(500, {}), HttpFailed("reset", maybe_sent=True)]
)
async def test_trouble_is_tried_three_times_more(
    trouble: HttpAnswer | HttpFailed, autojump_clock: MockClock
) -> None:
    orchestrator, times = planned(trouble)
    with pytest.raises(ServerTrouble if isinstance(trouble, HttpAnswer) else HttpFailed):
        await orchestrator.projects()
    assert times == [0, 1, 3, 7]


async def test_a_server_that_recovers_in_time_is_no_error(autojump_clock: MockClock) -> None:
    orchestrator, times = planned(HttpAnswer(500, {}), HttpAnswer(200, {}, b'[{"id": "a"}]'))
    assert [project.id for project in await orchestrator.projects()] == ["a"]
    assert times == [0, 1]


async def test_no_retry_is_earlier_than_the_server_asks(autojump_clock: MockClock) -> None:
    orchestrator, times = planned(HttpAnswer(429, {"retry-after": "20"}), HttpAnswer(200, {}, b"[]"))
    await orchestrator.projects()
    assert times == [0, 20]


async def test_a_long_wait_is_left_to_the_caller(autojump_clock: MockClock) -> None:
    orchestrator, times = planned(HttpAnswer(429, {"retry-after": "3600"}))
    with pytest.raises(ServerTrouble) as trouble:
        await orchestrator.projects()
    assert trouble.value.retry_after == 3600
    assert times == [0]


@pytest.mark.parametrize(
    ("trouble", "times_asked"),
    [
        (HttpAnswer(503, {}), [0]),
        (HttpFailed("reset", maybe_sent=True), [0]),
        (HttpFailed("refused", maybe_sent=False), [0, 1, 3, 7]),
    ],
)
async def test_a_call_that_changes_something_is_repeated_only_if_it_was_not_sent(
    trouble: HttpAnswer | HttpFailed, times_asked: list[float], autojump_clock: MockClock
) -> None:
    orchestrator, times = planned(trouble)
    with pytest.raises((ServerTrouble, HttpFailed)):
        await orchestrator.call("POST", "/x")
    assert times == times_asked


async def test_a_refused_token_is_renewed_once() -> None:
    async with api() as (orchestrator, raw):
        refusal = RestAnswer({"error": "expired", "code": "UNAUTHORIZED"}, 401)
        refusals = [refusal]
        raw.rest["GET /api/projects"] = lambda _: refusals.pop() if refusals else RestAnswer([{"id": "a"}])
        assert len(await orchestrator.projects()) == 1
        assert len(raw.refreshes) == 1
        raw.rest["GET /api/projects"] = refusal
        with pytest.raises(AuthenticationFailed):
            await orchestrator.projects()
        assert len(raw.logins) == 2


def test_the_table_names_each_call_once() -> None:
    names: Iterator[str] = iter(call[0] for call in CALLS)
    public = {name for name in vars(OrchestratorApi) if not name.startswith(("_", "map_"))}
    assert set(names) == public - {"call", "health", "listed_projects", "without_retries"}


@pytest.mark.parametrize(
    ("name", "arguments", "path", "options"),
    [
        ("map_tasks", ("p",), "/api/projects/p/tasks", {"limit": 2, "offset": 0}),
        ("map_executions", ("p",), "/api/workflows/projects/p/executions", {}),
        ("map_sandboxes", (), "/api/flexy", {}),
        ("map_operations", ("p",), "/api/flexy/projects/p/operations", {}),
    ],
)
async def test_records_of_a_mapped_list_are_freed_one_by_one(
    name: str, arguments: tuple[str, ...], path: str, options: dict[str, int]
) -> None:
    async with api() as (orchestrator, raw):
        raw.rest[f"GET {path}"] = [{"id": "a", "extra": "x"}, None, 7, {"name": "nobody"}, {"id": "b"}]
        records: list[weakref.ref[Record]] = []
        alive: list[int] = []

        def convert(record: Record) -> str:
            alive.append(sum(record() is not None for record in records))
            records.append(weakref.ref(record))
            return str(without_extras(record).model_dump()["id"])

        assert await getattr(orchestrator, name)(*arguments, convert, **options) == ["a", "b"]
        assert max(alive) <= 1
        assert [record() for record in records] == [None, None]


@pytest.mark.parametrize("flaw", ["too long", "cut", "no list", "a failing conversion", "server trouble"])
async def test_an_error_keeps_no_response_in_memory(flaw: str) -> None:
    """Errors, their tracebacks and the calls in them form cycles, and the garbage collector runs rarely."""
    rows = json.dumps([{"id": "a", "output": "x" * 2**20}]).encode()
    answers: dict[str, object] = {
        "too long": zipped(b" " * 2**25),
        "cut": json_bytes(200, rows[:-1]),
        "no list": json_bytes(200, b'{"other": %b}' % rows),
        "a failing conversion": json_bytes(200, rows),
        "server trouble": json_bytes(400, rows),
    }

    def convert(record: Record) -> None:
        raise ZeroDivisionError(type(record).__name__)

    async with api() as (orchestrator, raw):
        raw.rest["GET /api/projects/p/tasks"] = answers[flaw]
        gc.collect()
        gc.disable()
        try:
            with pytest.raises((ApiError, ZeroDivisionError)) as caught:
                await orchestrator.map_tasks("p", convert, limit=1, offset=0)
            kept = [type(item) for item in gc.get_objects() if holds_megabyte(item)]
        finally:
            gc.enable()
    assert caught.value is not None
    assert kept == []


def json_bytes(status: int, body: bytes) -> object:
    return answer(status, body, {"content-type": "application/json"})


def holds_megabyte(item: object) -> bool:
    return isinstance(item, HttpAnswer | dict | Record) and any(
        isinstance(part, str | bytes) and len(part) >= 2**20 for part in gc.get_referents(item)
    )
