"""Calls about sandboxes and their operations."""

from contextlib import suppress
from typing import Any

from aintandem_notify.client.calls.bodies import changed_record, without_none
from aintandem_notify.errors import NotFound
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.catch_up.record_mapping import is_sandbox_of
from aintandem_notify.orchestrator.rest.client import find_record, quote_id
from aintandem_notify.orchestrator.rest.records import OperationRecord, SandboxRecord

SandboxRecords = list[SandboxRecord]
OperationRecords = list[OperationRecord]
"""Needed because ``list`` is a method inside the class."""


class Sandboxes:
    """Sandboxes. Reach it as ``client.sandboxes``.

    All calls raise TypeError or ValueError at once for an invalid id, and HttpFailed when the orchestrator does
    not answer. They raise ApiError when it refuses or fails: NotLoggedIn, AuthenticationFailed, Forbidden,
    NotFound, Conflict, InvalidRequest or ServerTrouble.
    """

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def list(self, project_id: str | None = None) -> SandboxRecords:
        """The project's sandboxes; all sandboxes if no project is given.

        If the orchestrator lists sandboxes without their project, the project's sandboxes are those that its
        ``operations`` name. Other sandboxes then appear only in the list of all.

        Example::

            for sandbox in await client.sandboxes.list("project-123"):
                print(sandbox.id, sandbox.status)
        """
        sandboxes = await self._api.sandboxes()
        if project_id is None:
            return sandboxes
        operated: set[str | None] = set()
        if any(sandbox.project_id is None for sandbox in sandboxes):
            with suppress(NotFound):  # an orchestrator without operations
                operations = await self._api.operations(project_id)
                operated = {
                    operation.sandbox_id for operation in operations if operation.project_id in (None, project_id)
                }
        return [sandbox for sandbox in sandboxes if is_sandbox_of(project_id, sandbox, operated)]

    async def create(
        self, project_id: str, *, name: str | None = None, image: str | None = None, **more: Any
    ) -> SandboxRecord:
        """Create a sandbox without starting it. ``more`` are further fields of the body, under their wire names.

        Example::

            sandbox = await client.sandboxes.create("project-123", name="scratch", image="python:3.12")
        """
        body = without_none(projectId=project_id, name=name, imageName=image, **more)
        return find_record(SandboxRecord, await self._api.call("POST", "/flexy", json=body), "sandbox")

    async def start(self, sandbox_id: str) -> SandboxRecord:
        """Start a sandbox and wait until it runs. Raises Conflict when it runs already.

        Example::

            await client.sandboxes.start("sandbox-1")
        """
        return await self._act(sandbox_id, "start")

    async def stop(self, sandbox_id: str) -> SandboxRecord:
        """Stop a sandbox and wait until it has stopped. Raises Conflict when it does not run.

        Example::

            await client.sandboxes.stop("sandbox-1")
        """
        return await self._act(sandbox_id, "stop")

    async def delete(self, sandbox_id: str) -> None:
        """Remove a sandbox. Raises NotFound.

        Example::

            await client.sandboxes.delete("sandbox-1")
        """
        await self._api.call("DELETE", f"/flexy/{quote_id(sandbox_id)}")

    async def start_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to start a sandbox. ``operation`` and events report the progress and the result.

        Example::

            operation = await client.sandboxes.start_async("sandbox-1")
            print((await client.sandboxes.operation(operation.id)).status)
        """
        return await self._begin(sandbox_id, "start")

    async def stop_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to stop a sandbox, as ``start_async``.

        Example::

            await client.sandboxes.stop_async("sandbox-1")
        """
        return await self._begin(sandbox_id, "stop")

    async def restart_async(self, sandbox_id: str) -> OperationRecord:
        """Begin to restart a sandbox, as ``start_async``.

        Example::

            await client.sandboxes.restart_async("sandbox-1")
        """
        return await self._begin(sandbox_id, "restart")

    async def operation(self, operation_id: str) -> OperationRecord:
        """The status of an operation. Raises NotFound.

        Example::

            operation = await client.sandboxes.operation("operation-1")
        """
        return await self._api.operation(operation_id)

    async def operations(self, project_id: str) -> OperationRecords:
        """Present and past operations on the project's sandboxes.

        Example::

            operations = await client.sandboxes.operations("project-123")
        """
        return await self._api.operations(project_id)

    async def _act(self, sandbox_id: str, verb: str) -> SandboxRecord:
        content = await self._api.call("POST", f"/flexy/{quote_id(sandbox_id)}/{verb}", json={})
        return changed_record(SandboxRecord, content, "sandbox", sandbox_id)

    async def _begin(self, sandbox_id: str, verb: str) -> OperationRecord:
        content = await self._api.call("POST", f"/flexy/{quote_id(sandbox_id)}/{verb}-async", json={})
        return find_record(OperationRecord, content, "operation")
