"""Asks the REST API whether it knows a project, for a socket that says that it does not.

A proxy that passes no WebSocket upgrades, or a wrong path, answers 404 for a project that exists.
"""

import math
from collections.abc import Awaitable, Callable, Set
from contextlib import suppress
from typing import Final

import trio

from aintandem_notify.errors import ApiError, HttpFailed, NotFound
from aintandem_notify.orchestrator.catch_up.request_slots import RequestSlots
from aintandem_notify.orchestrator.catch_up.rest_snapshot import SharedRequest
from aintandem_notify.orchestrator.protocol.identifiers import InvalidId
from aintandem_notify.orchestrator.rest.client import OrchestratorApi

LISTED_FOR_S: Final = 2.0
"""Time for which a list counts for the projects in it. Thousands may be refused within a few seconds."""

_ALL_PROJECTS: Final = ""
"""The client name of requests for all projects together."""


async def project_exists(project_id: str, request: Callable[[str], Awaitable[object]]) -> bool:
    """Whether ``request`` gets the project. Raises ApiError (NotFound if a proxy answered) or HttpFailed."""
    try:
        await request(project_id)
    except InvalidId:
        return False
    except NotFound as error:
        if not error.is_from_api:
            raise
        return False
    return True


class ProjectLookup:
    """Looks projects up. ``slots`` bounds the requests; projects that ask at the same time share the list."""

    def __init__(self, api: OrchestratorApi, slots: RequestSlots) -> None:
        self._api = api.without_retries()
        self._slots = slots
        self._list = SharedRequest(self._list_ids)
        self._listed_ids: Set[str] = frozenset()
        self._listed_at = -math.inf

    async def is_known(self, project_id: str) -> bool:
        """Whether the list has the project, or else the project can be requested alone.

        Raises ApiError or HttpFailed if neither a list nor an answer of the API shows that.
        """
        if project_id in self._listed_ids and trio.current_time() < self._listed_at + LISTED_FOR_S:
            return True
        has_listed = False
        with suppress(ApiError, HttpFailed):  # a server without a list of projects may still know them
            if project_id in await self._list.get():
                return True
            has_listed = True
        try:
            async with self._slots.acquire(project_id):
                return await project_exists(project_id, self._api.project)
        except NotFound:
            if not has_listed:
                raise
            return False

    async def _list_ids(self) -> Set[str]:
        async with self._slots.acquire(_ALL_PROJECTS):
            self._listed_ids = {project.id for project in await self._api.projects()}
        self._listed_at = trio.current_time()
        return self._listed_ids
