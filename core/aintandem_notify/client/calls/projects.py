"""Calls about projects."""

from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.rest.records import ProjectRecord

ProjectRecords = list[ProjectRecord]
"""Inside of the class ``list`` is a call."""


class Projects:
    """Projects. Reach it as ``client.projects``.

    All of its calls raise TypeError or ValueError at once for an id that cannot be one, ApiError (NotLoggedIn,
    AuthenticationFailed, Forbidden, NotFound, Conflict, InvalidRequest, ServerTrouble) when the orchestrator says
    no or has trouble, and HttpFailed when it does not answer.
    """

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
