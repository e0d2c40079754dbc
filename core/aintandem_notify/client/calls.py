"""The REST calls by topic: ``client.projects``, ``client.tasks``, ``client.workflows``, ``client.sandboxes``.

All of them raise ApiError (NotLoggedIn, AuthenticationFailed, Forbidden, NotFound, Conflict, InvalidRequest,
ServerTrouble) or HttpFailed. What only reads is tried again three times, from one second, doubling; what changes
something only when the request surely was not sent.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeVar

from aintandem_notify.client.pages import TaskPages
from aintandem_notify.errors import ApiError, NotFound
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.observing import is_of
from aintandem_notify.orchestrator.records import (
    ExecutionRecord,
    OperationRecord,
    ProjectRecord,
    QueueStatus,
    Record,
    SandboxRecord,
    SubmittedTask,
    TaskLimit,
    TaskRecord,
)
from aintandem_notify.orchestrator.rest import one_of, quoted

PAGE: Final = 100
"""Tasks that are asked for at once."""
LONGEST_TITLE: Final = 100
"""Characters of a prompt that are made a title where none is given; the orchestrator wants one."""

RecordT = TypeVar("RecordT", bound=Record)
ProjectRecords = list[ProjectRecord]
SandboxRecords = list[SandboxRecord]
OperationRecords = list[OperationRecord]
"""Inside of the classes ``list`` is a call."""


def _said(**fields: object) -> dict[str, object]:
    """The fields of a body that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def _changed(model: type[RecordT], content: Any, name: str, identity: str) -> RecordT:
    """The record in the answer to a call that changes it; some orchestrators say no more than that it is done."""
    try:
        return one_of(model, content, name)
    except ApiError:
        fields = content if isinstance(content, dict) else {}
        return one_of(model, fields | {"id": identity}, name)


class Projects:
    """Projects. Reach it as ``client.projects``."""

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def list(self) -> ProjectRecords:
        """All projects that we may see.

        Example::

            for project in await client.projects.list():
                print(project.id, project.name)
        """
        return await self._api.projects()

    async def get(self, project_id: str) -> ProjectRecord:
        """One project; raises NotFound.

        Example::

            project = await client.projects.get("project-123")
        """
        return await self._api.project(project_id)


class Tasks:
    """Tasks. Reach it as ``client.tasks``."""

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
        """Hand a task to the project's queue: by name, by step of a workflow, or as a prompt.

            task = await client.tasks.execute_task("project-123", "data-analysis", {"dataset": "sales-2024"})
            print(task.task_id)

        To wait for its end, ``client.run_task`` loses nothing: it listens before it submits.
        """
        body = _said(task=task, input=input, stepId=step_id, prompt=prompt, parameters=parameters)
        body |= {} if run_async is None else {"async": run_async}
        content = await self._api.call("POST", f"/projects/{quoted(project_id)}/tasks", json=body)
        return one_of(SubmittedTask, content, "task")

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
        """Hand in a task that is no more than a prompt; without a ``title``, the prompt's first line is one.

        Example::

            task = await client.tasks.execute_adhoc_task("project-123", "Summarise the sales of 2024")
        """
        title = title or next(iter(prompt.strip().splitlines()), "")[:LONGEST_TITLE]
        body = _said(title=title, description=description, prompt=prompt, input=input, parameters=parameters)
        content = await self._api.call("POST", f"/projects/{quoted(project_id)}/tasks/adhoc", json=body)
        return one_of(SubmittedTask, content, "task")

    async def get_task(self, project_id: str, task_id: str) -> TaskRecord:
        """Where a task stands; raises NotFound.

        Example::

            task = await client.tasks.get_task("project-123", "task-1")
            print(task.status, task.output)
        """
        return await self._api.task(project_id, task_id)

    async def cancel_task(self, project_id: str, task_id: str) -> None:
        """Cancel a task; raises Conflict when it has ended already.

        Example::

            await client.tasks.cancel_task("project-123", "task-1")
        """
        path = f"/projects/{quoted(project_id)}/tasks/{quoted(task_id)}/cancel"
        await self._api.call("POST", path, json={})

    def list_tasks(
        self,
        project_id: str,
        *,
        status: str | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        page_size: int = PAGE,
    ) -> TaskPages:
        """The project's tasks in the orchestrator's order, each once, asked for page by page as they are needed.

            async for task in client.tasks.list_tasks("project-123", status="failed"):
                print(task.id, task.error)

        The times are aware. An orchestrator that knows no pages gives all in one.
        """

        async def ask(offset: int) -> list[TaskRecord]:
            return await self._api.tasks(
                project_id,
                status=status,
                limit=page_size,
                offset=offset,
                start_date=_iso(created_from),
                end_date=_iso(created_until),
            )

        return TaskPages(ask)

    async def queue_status(self, project_id: str) -> QueueStatus:
        """How many tasks wait, run, have completed and have failed.

        Example::

            status = await client.tasks.queue_status("project-123")
            print(status.pending, status.running)
        """
        content = await self._api.call("GET", f"/projects/{quoted(project_id)}/task-queue-status")
        return QueueStatus.model_validate(content if isinstance(content, dict) else {})

    async def set_task_limit(self, project_id: str, limit: int) -> TaskLimit:
        """How many of the project's tasks may run at the same time, at least 1.

        Example::

            await client.tasks.set_task_limit("project-123", 3)
        """
        path = f"/projects/{quoted(project_id)}/task-limits"
        content = await self._api.call("POST", path, json={"limit": limit})
        return TaskLimit.model_validate({"limit": limit} | (content if isinstance(content, dict) else {}))


class Workflows:
    """Workflow executions. Reach it as ``client.workflows``."""

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def list_executions(self, project_id: str) -> list[ExecutionRecord]:
        """The project's workflow executions.

        Example::

            for execution in await client.workflows.list_executions("project-123"):
                print(execution.id, execution.status)
        """
        return await self._api.executions(project_id)

    async def get_execution(self, execution_id: str) -> ExecutionRecord:
        """Where an execution stands; raises NotFound.

        Example::

            execution = await client.workflows.get_execution("execution-1")
        """
        return await self._api.execution(execution_id)

    async def create_execution(
        self,
        workflow_id: str,
        project_id: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002  # the guide's name
    ) -> ExecutionRecord:
        """A new execution of a workflow, not started yet.

        Example::

            execution = await client.workflows.create_execution("nightly-report", "project-123")
            await client.workflows.start(execution.id)
        """
        metadata = None if input is None else {"inputParameters": input}
        body = _said(projectId=project_id, metadata=metadata)
        content = await self._api.call("POST", f"/workflows/{quoted(workflow_id)}/executions", json=body)
        return one_of(ExecutionRecord, content, "execution")

    async def start(self, execution_id: str) -> ExecutionRecord:
        """Start an execution; raises Conflict when it was started already.

        Example::

            await client.workflows.start("execution-1")
        """
        return await self._act(execution_id, "start")

    async def pause(self, execution_id: str) -> ExecutionRecord:
        """Pause one that runs; raises Conflict when it does not.

        Example::

            await client.workflows.pause("execution-1")
        """
        return await self._act(execution_id, "pause")

    async def resume(self, execution_id: str) -> ExecutionRecord:
        """Let a paused one go on; raises Conflict when it is not paused.

        Example::

            await client.workflows.resume("execution-1")
        """
        return await self._act(execution_id, "resume")

    async def cancel(self, execution_id: str) -> ExecutionRecord:
        """Cancel one; raises Conflict when it has ended. There is no event for it: only REST tells.

        Example::

            await client.workflows.cancel("execution-1")
        """
        return await self._act(execution_id, "cancel")

    async def _act(self, execution_id: str, verb: str) -> ExecutionRecord:
        content = await self._api.call("POST", f"/workflows/executions/{quoted(execution_id)}/{verb}", json={})
        return _changed(ExecutionRecord, content, "execution", execution_id)


class Sandboxes:
    """Sandboxes. Reach it as ``client.sandboxes``."""

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def list(self, project_id: str | None = None) -> SandboxRecords:
        """The project's sandboxes; all there are when no project is given.

        Where the orchestrator lists sandboxes without saying whose they are, a project's are those that its
        ``operations`` are about; others are in the whole list only.

        Example::

            for sandbox in await client.sandboxes.list("project-123"):
                print(sandbox.id, sandbox.status)
        """
        found = await self._api.sandboxes()
        if project_id is None:
            return found
        operated: set[str | None] = set()
        if any(one.project_id is None for one in found):
            with suppress(NotFound):  # an orchestrator without operations
                operations = await self._api.operations(project_id)
                operated = {one.sandbox_id for one in operations if one.project_id in (None, project_id)}
        return [one for one in found if is_of(project_id, one, operated)]

    async def create(
        self, project_id: str, *, name: str | None = None, image: str | None = None, **more: Any
    ) -> SandboxRecord:
        """A new sandbox, not started yet. ``more`` goes into the body under the wire's own names.

        Example::

            sandbox = await client.sandboxes.create("project-123", name="scratch", image="python:3.12")
        """
        body = _said(projectId=project_id, name=name, imageName=image, **more)
        return one_of(SandboxRecord, await self._api.call("POST", "/flexy", json=body), "sandbox")

    async def start(self, sandbox_id: str) -> SandboxRecord:
        """Start it and wait until it runs; raises Conflict when it runs already.

        Example::

            await client.sandboxes.start("sandbox-1")
        """
        return await self._act(sandbox_id, "start")

    async def stop(self, sandbox_id: str) -> SandboxRecord:
        """Stop it and wait until it stands; raises Conflict when it does not run.

        Example::

            await client.sandboxes.stop("sandbox-1")
        """
        return await self._act(sandbox_id, "stop")

    async def delete(self, sandbox_id: str) -> None:
        """Remove it; raises NotFound.

        Example::

            await client.sandboxes.delete("sandbox-1")
        """
        await self._api.call("DELETE", f"/flexy/{quoted(sandbox_id)}")

    async def start_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to start it; what comes of it is told by ``operation`` and by events.

        Example::

            operation = await client.sandboxes.start_async("sandbox-1")
            print((await client.sandboxes.operation(operation.id)).status)
        """
        return await self._begin(sandbox_id, "start")

    async def stop_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to stop it, as ``start_async``.

        Example::

            await client.sandboxes.stop_async("sandbox-1")
        """
        return await self._begin(sandbox_id, "stop")

    async def restart_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to restart it, as ``start_async``.

        Example::

            await client.sandboxes.restart_async("sandbox-1")
        """
        return await self._begin(sandbox_id, "restart")

    async def operation(self, operation_id: str) -> OperationRecord:
        """What became of an operation; raises NotFound.

        Example::

            operation = await client.sandboxes.operation("operation-1")
        """
        return await self._api.operation(operation_id)

    async def operations(self, project_id: str) -> OperationRecords:
        """What is and was being done to the project's sandboxes.

        Example::

            operations = await client.sandboxes.operations("project-123")
        """
        return await self._api.operations(project_id)

    async def _act(self, sandbox_id: str, verb: str) -> SandboxRecord:
        content = await self._api.call("POST", f"/flexy/{quoted(sandbox_id)}/{verb}", json={})
        return _changed(SandboxRecord, content, "sandbox", sandbox_id)

    async def _begin(self, sandbox_id: str, verb: str) -> OperationRecord:
        content = await self._api.call("POST", f"/flexy/{quoted(sandbox_id)}/{verb}-async", json={})
        return one_of(OperationRecord, content, "operation")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
