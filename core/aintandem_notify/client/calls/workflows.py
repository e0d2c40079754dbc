"""Calls about workflow executions."""

from collections.abc import Mapping
from typing import Any

from aintandem_notify.client.calls.bodies import changed_record, without_none
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.rest.client import find_record, quote_id
from aintandem_notify.orchestrator.rest.records import ExecutionRecord


class Workflows:
    """Workflow executions. Reach it as ``client.workflows``.

    All calls raise TypeError or ValueError at once for an invalid id, and HttpFailed when the orchestrator does
    not answer. They raise ApiError when it refuses or fails: NotLoggedIn, AuthenticationFailed, Forbidden,
    NotFound, Conflict, InvalidRequest or ServerTrouble.
    """

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
        """The execution with its present status. Raises NotFound.

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
        """Create an execution of a workflow without starting it.

        Example::

            execution = await client.workflows.create_execution("nightly-report", "project-123")
            await client.workflows.start(execution.id)
        """
        metadata = None if input is None else {"inputParameters": input}
        body = without_none(projectId=project_id, metadata=metadata)
        content = await self._api.call("POST", f"/workflows/{quote_id(workflow_id)}/executions", json=body)
        return find_record(ExecutionRecord, content, "execution")

    async def start(self, execution_id: str) -> ExecutionRecord:
        """Start an execution. Raises Conflict when it was started already.

        Example::

            await client.workflows.start("execution-1")
        """
        return await self._act(execution_id, "start")

    async def pause(self, execution_id: str) -> ExecutionRecord:
        """Pause a running execution. Raises Conflict when it does not run.

        Example::

            await client.workflows.pause("execution-1")
        """
        return await self._act(execution_id, "pause")

    async def resume(self, execution_id: str) -> ExecutionRecord:
        """Resume a paused execution. Raises Conflict when it is not paused.

        Example::

            await client.workflows.resume("execution-1")
        """
        return await self._act(execution_id, "resume")

    async def cancel(self, execution_id: str) -> ExecutionRecord:
        """Cancel an execution. Raises Conflict when it has ended. No event reports this; only REST shows it.

        Example::

            await client.workflows.cancel("execution-1")
        """
        return await self._act(execution_id, "cancel")

    async def _act(self, execution_id: str, verb: str) -> ExecutionRecord:
        content = await self._api.call("POST", f"/workflows/executions/{quote_id(execution_id)}/{verb}", json={})
        return changed_record(ExecutionRecord, content, "execution", execution_id)
