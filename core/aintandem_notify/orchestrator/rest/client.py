"""The orchestrator's REST API as typed calls.

Each call sends the session's token, and renews it once if it is refused. Calls that can be repeated without harm
are repeated after server trouble. Errors are those of ``errors``. Lists are read tolerantly (``records``).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import trio

from aintandem_notify.errors import AuthenticationFailed, HttpFailed, ServerTrouble
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.memory_budget import MemoryBudget, free_locals
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.orchestrator.auth.session import Session
from aintandem_notify.orchestrator.protocol.identifiers import validate_id
from aintandem_notify.orchestrator.protocol.responses import ForeignAnswer, find_rows, parse_response
from aintandem_notify.orchestrator.rest.records import (
    ExecutionRecord,
    OperationRecord,
    ProjectList,
    ProjectRecord,
    Record,
    SandboxRecord,
    TaskRecord,
    iter_records,
    parse_records,
)

RETRY_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""As in the official SDK: three more tries, the first after one second; then the pause doubles."""
MAX_BODY_BYTES: Final = 16 * 2**20
"""Bytes of a response; a history of tasks with their outputs is large."""
LARGE_RESPONSES_BYTES: Final = 2 * MAX_BODY_BYTES
"""Bytes of large responses that are read at the same time, for all projects together. One of the largest
size fits: it is in memory twice while it is parsed."""
SMALL_RESPONSE_BYTES: Final = 64 * 2**10
"""Bytes of a response that is parsed in the event loop. A longer one is parsed in a thread: cutting its texts
takes time."""
TIMEOUT_S: Final = 30.0
"""Seconds; as in the official SDK."""

RecordT = TypeVar("RecordT", bound=Record)
T = TypeVar("T")


class OrchestratorApi:
    """Calls of the API; ids are quoted here. All raise ApiError or HttpFailed, and for an id as ``validate_id``.

    ``timeout`` is in seconds, for each request from its start to the last byte of its response, which has at most
    ``max_body_bytes``. ``retry_pauses_s`` are those of ``with_retries``.
    """

    def __init__(
        self,
        session: Session,
        http: HttpClient,
        clock: Clock,
        *,
        timeout: float = TIMEOUT_S,
        max_body_bytes: int = MAX_BODY_BYTES,
        retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
    ) -> None:
        self._session = session
        self._http = http
        self._clock = clock
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes
        self.retry_pauses_s: Sequence[float] = retry_pauses_s
        self._large = MemoryBudget(LARGE_RESPONSES_BYTES)
        self._readers = trio.CapacityLimiter(1)

    def without_retries(self) -> Self:
        """A copy without retries, for callers that must release resources before pauses of ``with_retries``."""
        clone = copy(self)
        clone.retry_pauses_s = ()
        return clone

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """Any call. Returns the JSON value of its response, None for an empty one.

        ``path`` begins with a slash and comes after the API's base. GET is repeated after server trouble and lost
        requests, other methods only if the request certainly was not sent.
        """
        return await self._call(method, path, _unchanged, query, json)

    async def _call(
        self,
        method: str,
        path: str,
        convert: Callable[[Any], T],
        query: Mapping[str, object] | None = None,
        json: Any = None,
    ) -> T:
        """Returns ``convert(content)``. The content may be large; it is freed before this returns."""
        once = partial(self._call_once, method, path, convert, query, json)
        return await with_retries(once, repeatable=method == "GET", pauses_s=self.retry_pauses_s)

    async def _call_once(
        self, method: str, path: str, convert: Callable[[Any], T], query: Mapping[str, object] | None, json: Any
    ) -> T:
        token = await self._session.token()
        try:
            return await self._request(method, path, convert, query, json, token.text)
        except AuthenticationFailed:
            token = await self._session.renew(token)
        return await self._request(method, path, convert, query, json, token.text)

    async def _request(
        self,
        method: str,
        path: str,
        convert: Callable[[Any], T],
        query: Mapping[str, object] | None,
        json: Any,
        token: str,
    ) -> T:
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        with self._large.share() as share:
            answer = await self._http.request(
                method,
                f"{self._session.base}{path}{'?' if parameters else ''}{urlencode(parameters)}",
                headers={"Authorization": f"Bearer {token}"},
                json=json,
                timeout=self._timeout,
                max_body=self._max_body_bytes,
                room=lambda size: share.grow_to(2 * size),
            )
            is_small, answers = len(answer.body) <= SMALL_RESPONSE_BYTES, [answer]
            del answer
            read = partial(_read, answers, self._clock.now(), convert)
            try:
                return read() if is_small else await run_in_thread(read, limiter=self._readers)
            except Exception as error:  # of any kind: it is raised again
                free_locals(error)
                raise
            finally:
                answers.clear()

    async def projects(self) -> list[ProjectRecord]:
        """All projects that we may see."""
        return (await self.listed_projects()).projects

    async def listed_projects(self) -> ProjectList:
        """As ``projects``; says also whether each row of the list could be read."""
        return await self._call("GET", "/projects", _project_list)

    async def project(self, project_id: str) -> ProjectRecord:
        """One project."""
        return find_record(ProjectRecord, await self.call("GET", f"/projects/{quote_id(project_id)}"), "project")

    async def tasks(
        self,
        project_id: str,
        *,
        status: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        start_date: str | None = None,
        end_date: str | None = None,
    ) -> list[TaskRecord]:
        """A project's tasks; the dates are ISO texts."""
        query = {"status": status, "limit": limit, "offset": offset, "startDate": start_date, "endDate": end_date}
        content = await self.call("GET", f"/projects/{quote_id(project_id)}/tasks", query=query)
        return parse_records(TaskRecord, find_rows(content, "tasks", "history"))

    async def map_tasks(
        self, project_id: str, convert: Callable[[TaskRecord], T], *, limit: int, offset: int
    ) -> list[T]:
        """``convert`` of each of a project's tasks in one page; the records are freed one by one."""
        return await self._call(
            "GET",
            f"/projects/{quote_id(project_id)}/tasks",
            lambda content: [
                convert(record) for record in iter_records(TaskRecord, find_rows(content, "tasks", "history"))
            ],
            {"limit": limit, "offset": offset},
        )

    async def task(self, project_id: str, task_id: str) -> TaskRecord:
        """One task."""
        path = f"/projects/{quote_id(project_id)}/tasks/{quote_id(task_id)}"
        return find_record(TaskRecord, await self.call("GET", path), "task")

    async def executions(self, project_id: str) -> list[ExecutionRecord]:
        """A project's workflow executions."""
        content = await self.call("GET", f"/workflows/projects/{quote_id(project_id)}/executions")
        return parse_records(ExecutionRecord, find_rows(content, "executions"))

    async def map_executions(self, project_id: str, convert: Callable[[ExecutionRecord], T]) -> list[T]:
        """As ``map_tasks``, for a project's workflow executions."""
        return await self._call(
            "GET",
            f"/workflows/projects/{quote_id(project_id)}/executions",
            lambda content: [
                convert(record) for record in iter_records(ExecutionRecord, find_rows(content, "executions"))
            ],
        )

    async def execution(self, execution_id: str) -> ExecutionRecord:
        """One workflow execution."""
        content = await self.call("GET", f"/workflows/executions/{quote_id(execution_id)}")
        return find_record(ExecutionRecord, content, "execution")

    async def sandboxes(self) -> list[SandboxRecord]:
        """All sandboxes, of every project."""
        return parse_records(SandboxRecord, find_rows(await self.call("GET", "/flexy"), "sandboxes", "containers"))

    async def map_sandboxes(self, convert: Callable[[SandboxRecord], T]) -> list[T]:
        """As ``map_tasks``, for the sandboxes of all projects."""
        return await self._call(
            "GET",
            "/flexy",
            lambda content: list(
                map(convert, iter_records(SandboxRecord, find_rows(content, "sandboxes", "containers")))
            ),
        )

    async def operations(self, project_id: str) -> list[OperationRecord]:
        """The present and past operations on a project's sandboxes."""
        content = await self.call("GET", f"/flexy/projects/{quote_id(project_id)}/operations")
        return parse_records(OperationRecord, find_rows(content, "operations"))

    async def map_operations(self, project_id: str, convert: Callable[[OperationRecord], T]) -> list[T]:
        """As ``map_tasks``, for the operations on a project's sandboxes."""
        return await self._call(
            "GET",
            f"/flexy/projects/{quote_id(project_id)}/operations",
            lambda content: [
                convert(record) for record in iter_records(OperationRecord, find_rows(content, "operations"))
            ],
        )

    async def operation(self, operation_id: str) -> OperationRecord:
        """One operation on a sandbox."""
        content = await self.call("GET", f"/flexy/operations/{quote_id(operation_id)}")
        return find_record(OperationRecord, content, "operation")

    async def health(self) -> Mapping[str, Any]:
        """The orchestrator's own state: ``status`` and ``uptime`` in seconds."""
        content = await self.call("GET", "/health")
        if not isinstance(content, dict):
            raise ForeignAnswer("the answer holds no health", status=200)
        return content


def _read(answers: list[HttpAnswer], now: datetime, convert: Callable[[Any], T]) -> T:
    # Taken from the list, because an error keeps functions and their arguments, but not their variables.
    return convert(parse_response(answers.pop(), now))


async def with_retries(
    send: Callable[[], Awaitable[T]], *, repeatable: bool = True, pauses_s: Sequence[float] = RETRY_PAUSES_S
) -> T:
    """Returns ``await send()``, repeated after these pauses if the server has trouble or the request was lost.

    A request that is not ``repeatable`` is repeated only if it certainly was not sent.
    """
    for pause in (*pauses_s, None):
        try:
            return await send()
        except (ServerTrouble, HttpFailed) as error:
            is_unsent = isinstance(error, HttpFailed) and not error.maybe_sent
            if pause is None or not (repeatable or is_unsent):
                raise
            retry_after = error.retry_after if isinstance(error, ServerTrouble) else None
            if retry_after is not None and retry_after > TIMEOUT_S:
                raise
            await trio.sleep(max(pause, retry_after or 0.0))
    raise AssertionError("the last try returns or raises")


def _project_list(content: Any) -> ProjectList:
    rows = find_rows(content, "projects", is_strict=True)
    projects = parse_records(ProjectRecord, rows)
    return ProjectList(projects, is_whole=len(projects) == len(rows))


def _unchanged(content: Any) -> Any:
    return content


def quote_id(identifier: str) -> str:
    """An id as a part of a path; raises as ``validate_id``."""
    return quote(validate_id(identifier), safe="")


def find_record(model: type[RecordT], content: Any, name: str) -> RecordT:
    """The record in ``content``, also if it is wrapped as ``{"task": {…}}``. Raises ApiError if there is none."""
    wrapped = [content.get(name), content.get("data")] if isinstance(content, dict) else []
    rows = [row for row in (content, *wrapped) if isinstance(row, dict)]
    with suppress(ForeignAnswer):
        for record in iter_records(model, rows):
            return record
    raise ForeignAnswer(f"the answer holds no {name}", status=200)
