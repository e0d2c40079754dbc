"""Calls about tasks and their queue."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from aintandem_notify.client.calls.bodies import without_none
from aintandem_notify.client.calls.pages import TaskPages
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.rest.client import find_record, quote_id
from aintandem_notify.orchestrator.rest.records import QueueStatus, SubmittedTask, TaskLimit, TaskRecord

PAGE_SIZE: Final = 100
"""Tasks that one request asks for."""
MAX_TITLE_LENGTH: Final = 100
"""Characters of a prompt that become the title if none is given; the orchestrator requires a title."""


class Tasks:
    """Tasks. Reach it as ``client.tasks``.

    All calls raise TypeError or ValueError at once for an invalid id, and HttpFailed when the orchestrator does
    not answer. They raise ApiError when it refuses or fails: NotLoggedIn, AuthenticationFailed, Forbidden,
    NotFound, Conflict, InvalidRequest or ServerTrouble.
    """

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def execute_task(
        self,
        project_id: str,
        task: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  # the guide's name
        *,
        step_id: str | None = None,
        prompt: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        run_async: bool | None = None,
    ) -> SubmittedTask:
        """Submit a task to the project's queue: by name, by workflow step, or as a prompt.

            task = await client.tasks.execute_task("project-123", "data-analysis", {"dataset": "sales-2024"})
            print(task.task_id)

        To wait for the end, use ``client.run_task``: it subscribes before it submits, so no event is lost. Raises
        InvalidRequest for a task without a name, a step and a prompt.
        """
        body = without_none(task=task, input=input, stepId=step_id, prompt=prompt, parameters=parameters)
        body |= {} if run_async is None else {"async": run_async}
        content = await self._api.call("POST", f"/projects/{quote_id(project_id)}/tasks", json=body)
        return find_record(SubmittedTask, content, "task")

    async def execute_adhoc_task(
        self,
        project_id: str,
        prompt: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002  # as above
        *,
        title: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> SubmittedTask:
        """Submit a task that consists of a prompt only. Without a ``title``, the prompt's first line is the title.

        Example::

            task = await client.tasks.execute_adhoc_task("project-123", "Summarise the sales of 2024")
        """
        title = title or next(iter(prompt.strip().splitlines()), "")[:MAX_TITLE_LENGTH]
        body = without_none(
            title=title, description=description, prompt=prompt, input=input, parameters=parameters
        )
        content = await self._api.call("POST", f"/projects/{quote_id(project_id)}/tasks/adhoc", json=body)
        return find_record(SubmittedTask, content, "task")

    async def get_task(self, project_id: str, task_id: str) -> TaskRecord:
        """The task with its present status. Raises NotFound.

        Example::

            task = await client.tasks.get_task("project-123", "task-1")
            print(task.status, task.output)
        """
        return await self._api.task(project_id, task_id)

    async def cancel_task(self, project_id: str, task_id: str) -> None:
        """Cancel a task. Raises Conflict when it has ended already.

        Example::

            await client.tasks.cancel_task("project-123", "task-1")
        """
        path = f"/projects/{quote_id(project_id)}/tasks/{quote_id(task_id)}/cancel"
        await self._api.call("POST", path, json={})

    def list_tasks(
        self,
        project_id: str,
        *,
        status: str | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        page_size: int = PAGE_SIZE,
    ) -> TaskPages:
        """The project's tasks in the orchestrator's order, each once. Pages are fetched on demand.

            async for task in client.tasks.list_tasks("project-123", status="failed"):
                print(task.id, task.error)

        The times must be aware. ``page_size`` is the number of tasks that one request asks for. An orchestrator
        without pages returns all tasks in one response.

        Raises ValueError at once for a time without a zone or a ``page_size`` below 1. The loop raises ApiError
        (InvalidRequest for an unknown status) or HttpFailed.
        """
        if page_size < 1:
            raise ValueError("page_size should be at least 1")
        start_date, end_date = _iso("created_from", created_from), _iso("created_until", created_until)

        async def fetch_page(offset: int) -> list[TaskRecord]:
            return await self._api.tasks(
                project_id,
                status=status,
                limit=page_size,
                offset=offset,
                start_date=start_date,
                end_date=end_date,
            )

        return TaskPages(fetch_page)

    async def queue_status(self, project_id: str) -> QueueStatus:
        """The numbers of tasks that wait, run, have completed and have failed.

        Example::

            status = await client.tasks.queue_status("project-123")
            print(status.pending, status.running)
        """
        content = await self._api.call("GET", f"/projects/{quote_id(project_id)}/task-queue-status")
        return QueueStatus.model_validate(content if isinstance(content, dict) else {})

    async def set_task_limit(self, project_id: str, limit: int) -> TaskLimit:
        """Limit the project's tasks that run at the same time. Raises InvalidRequest for a limit below 1.

        Example::

            await client.tasks.set_task_limit("project-123", 3)
        """
        path = f"/projects/{quote_id(project_id)}/task-limits"
        content = await self._api.call("POST", path, json={"limit": limit})
        return TaskLimit.model_validate({"limit": limit} | (content if isinstance(content, dict) else {}))


def _iso(name: str, moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{name} should say its zone, as datetime.now(UTC) does")
    return moment.isoformat()
