"""The orchestrator's REST API as typed calls.

Each call carries the session's token and renews it once when it is refused; what can be repeated without harm
is repeated when the server has trouble. Errors are the ones of ``errors``; lists are read defensively.
"""

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import trio

from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed, ServerTrouble
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.memory_budget import MemoryBudget
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator.auth.session import Session
from aintandem_notify.orchestrator.protocol.identifiers import validate_id
from aintandem_notify.orchestrator.protocol.responses import find_rows, parse_response
from aintandem_notify.orchestrator.rest.records import (
    ExecutionRecord,
    OperationRecord,
    ProjectRecord,
    Record,
    SandboxRecord,
    TaskRecord,
    iter_records,
    parse_records,
)

RETRY_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""As the official SDK: three more tries, from one second, doubling."""
MAX_BODY_BYTES: Final = 16 * 2**20
"""Bytes of an answer; a history of tasks with their outputs is large."""
LARGE_RESPONSES_BYTES: Final = 2 * MAX_BODY_BYTES
"""Bytes of large answers that are read at the same time, for all projects together: one of the largest, which is
in memory twice while it is read."""
SMALL_RESPONSE_BYTES: Final = 64 * 2**10
"""Bytes of an answer that is read at once; a longer one beside the event loop, for to cut its texts takes time."""
TIMEOUT_S: Final = 30.0
"""As the official SDK."""

RecordT = TypeVar("RecordT", bound=Record)
T = TypeVar("T")


class OrchestratorApi:
    """Calls of the API; ids are quoted here. All raise ApiError or HttpFailed, and for an id as ``validate_id``.

    ``timeout`` is in seconds, for each request from its begin to the last byte of its answer.
    """

    def __init__(self, session: Session, http: HttpClient, clock: Clock, *, timeout: float = TIMEOUT_S) -> None:
        self._session = session
        self._http = http
        self._clock = clock
        self._timeout = timeout
        self._large = MemoryBudget(LARGE_RESPONSES_BYTES)
        self._readers = trio.CapacityLimiter(1)
        self._tries_again = True

    def without_retries(self) -> Self:
        """The same, that tries nothing again: for who must hold nothing while ``with_retries`` pauses."""
        other = copy(self)
        other._tries_again = False  # noqa: SLF001  # it is one of us
        return other

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """Any call: the JSON value of its answer, None for an empty one.

        ``path`` begins with a slash and comes after the API's base. Server trouble and lost requests are
        tried again for GET; for other methods only when the request surely was not sent.
        """
        return await self._call(method, path, _unchanged, query, json)

    async def _call(
        self,
        method: str,
        path: str,
        take: Callable[[Any], T],
        query: Mapping[str, object] | None = None,
        json: Any = None,
    ) -> T:
        """What ``take`` makes of the answer, which may be large and is gone when this returns."""
        once = partial(self._call_once, method, path, take, query, json)
        return await (with_retries(once, repeatable=method == "GET") if self._tries_again else once())

    async def _call_once(
        self, method: str, path: str, take: Callable[[Any], T], query: Mapping[str, object] | None, json: Any
    ) -> T:
        token = await self._session.token()
        try:
            return await self._request(method, path, take, query, json, token.text)
        except AuthenticationFailed:
            token = await self._session.renew(token)
        return await self._request(method, path, take, query, json, token.text)

    async def _request(
        self,
        method: str,
        path: str,
        take: Callable[[Any], T],
        query: Mapping[str, object] | None,
        json: Any,
        token: str,
    ) -> T:
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        with self._large.share() as share:
            answer = await self._http.request(
                method,
                f"{self._session.base}{path}{'?' if asked else ''}{urlencode(asked)}",
                headers={"Authorization": f"Bearer {token}"},
                json=json,
                timeout=self._timeout,
                max_body=MAX_BODY_BYTES,
                room=lambda size: share.grow_to(2 * size),
            )
            now = self._clock.now()
            if len(answer.body) <= SMALL_RESPONSE_BYTES:
                return take(parse_response(answer, now))
            return await run_in_thread(lambda: take(parse_response(answer, now)), limiter=self._readers)

    async def projects(self) -> list[ProjectRecord]:
        """All projects that we may see."""
        return parse_records(ProjectRecord, find_rows(await self.call("GET", "/projects"), "projects"))

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
        self, project_id: str, take: Callable[[TaskRecord], T], *, limit: int, offset: int
    ) -> list[T]:
        """What ``take`` makes of each of so many of a project's tasks; the records are forgotten one by one."""
        return await self._call(
            "GET",
            f"/projects/{quote_id(project_id)}/tasks",
            lambda content: [
                take(one) for one in iter_records(TaskRecord, find_rows(content, "tasks", "history"))
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

    async def map_executions(self, project_id: str, take: Callable[[ExecutionRecord], T]) -> list[T]:
        """As ``map_tasks``, for a project's workflow executions."""
        return await self._call(
            "GET",
            f"/workflows/projects/{quote_id(project_id)}/executions",
            lambda content: [take(one) for one in iter_records(ExecutionRecord, find_rows(content, "executions"))],
        )

    async def execution(self, execution_id: str) -> ExecutionRecord:
        """One workflow execution."""
        content = await self.call("GET", f"/workflows/executions/{quote_id(execution_id)}")
        return find_record(ExecutionRecord, content, "execution")

    async def sandboxes(self) -> list[SandboxRecord]:
        """All sandboxes, of every project."""
        return parse_records(SandboxRecord, find_rows(await self.call("GET", "/flexy"), "sandboxes", "containers"))

    async def map_sandboxes(self, take: Callable[[SandboxRecord], T]) -> list[T]:
        """As ``map_tasks``, for the sandboxes of all projects."""
        return await self._call(
            "GET",
            "/flexy",
            lambda content: list(
                map(take, iter_records(SandboxRecord, find_rows(content, "sandboxes", "containers")))
            ),
        )

    async def operations(self, project_id: str) -> list[OperationRecord]:
        """What is and was being done to a project's sandboxes."""
        content = await self.call("GET", f"/flexy/projects/{quote_id(project_id)}/operations")
        return parse_records(OperationRecord, find_rows(content, "operations"))

    async def map_operations(self, project_id: str, take: Callable[[OperationRecord], T]) -> list[T]:
        """As ``map_tasks``, for what is and was being done to a project's sandboxes."""
        return await self._call(
            "GET",
            f"/flexy/projects/{quote_id(project_id)}/operations",
            lambda content: [take(one) for one in iter_records(OperationRecord, find_rows(content, "operations"))],
        )

    async def operation(self, operation_id: str) -> OperationRecord:
        """One operation on a sandbox."""
        content = await self.call("GET", f"/flexy/operations/{quote_id(operation_id)}")
        return find_record(OperationRecord, content, "operation")

    async def health(self) -> Mapping[str, Any]:
        """What the orchestrator says about itself: ``status`` and ``uptime`` in seconds."""
        content = await self.call("GET", "/health")
        return content if isinstance(content, dict) else {}


async def with_retries(ask: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
    """What ``ask`` gives, which is called again after a pause when the server has trouble or the request was lost.

    One that is not ``repeatable`` is called again only when it surely was not sent.
    """
    for pause in (*RETRY_PAUSES_S, None):
        try:
            return await ask()
        except (ServerTrouble, HttpFailed) as error:
            unsent = isinstance(error, HttpFailed) and not error.maybe_sent
            if pause is None or not (repeatable or unsent):
                raise
            asked = error.retry_after if isinstance(error, ServerTrouble) else None
            if asked is not None and asked > TIMEOUT_S:
                raise
            await trio.sleep(max(pause, asked or 0.0))
    raise AssertionError("the last try returns or raises")


def _unchanged(content: Any) -> Any:
    return content


def quote_id(identifier: str) -> str:
    """An id as a piece of a path; raises as ``validate_id``."""
    return quote(validate_id(identifier), safe="")


def find_record(model: type[RecordT], content: Any, name: str) -> RecordT:
    """The record in ``content``, also where it is wrapped as ``{"task": {…}}``."""
    wrapped = [content.get(name), content.get("data")] if isinstance(content, dict) else []
    found = parse_records(model, [row for row in (content, *wrapped) if isinstance(row, dict)])
    if not found:
        raise ApiError(f"the answer holds no {name}", status=200)
    return found[0]
