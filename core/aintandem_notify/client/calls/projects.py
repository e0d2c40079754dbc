"""Calls about projects."""

from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.rest.records import ProjectRecord

ProjectRecords = list[ProjectRecord]
"""Needed because ``list`` is a method inside the class."""


class Projects:
    """Projects. Reach it as ``client.projects``.

    All calls raise TypeError or ValueError at once for an invalid id, and HttpFailed when the orchestrator does
    not answer. They raise ApiError when it refuses or fails: NotLoggedIn, AuthenticationFailed, Forbidden,
    NotFound, Conflict, InvalidRequest or ServerTrouble.
    """

    def __init__(self, api: OrchestratorApi) -> None:
        self._api = api

    async def list(self) -> ProjectRecords:
        """All projects that this login may see.

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
