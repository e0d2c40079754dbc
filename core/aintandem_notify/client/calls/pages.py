"""A project's tasks, page by page as they are needed."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aintandem_notify.orchestrator.rest.records import TaskRecord

FetchPage = Callable[[int], Awaitable[Sequence[TaskRecord]]]
"""The tasks from this offset on: as many as the orchestrator gives at once."""


class TaskPages:
    """Tasks in the orchestrator's order, each once: an async iterator that holds nothing open."""

    def __init__(self, fetch_page: FetchPage) -> None:
        self._fetch_page = fetch_page
        self._offset = 0
        self._known_ids: set[str] = set()
        self._buffered: list[TaskRecord] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskRecord:
        """The next one; asks for a page when there is none left. Raises ApiError or HttpFailed."""
        if not self._buffered:
            page = await self._fetch_page(self._offset)
            self._offset += len(page)
            # Tasks move on to later pages while new ones come in front; a server without pages gives all again.
            self._buffered = [record for record in page if record.id not in self._known_ids][::-1]
            self._known_ids.update(record.id for record in page)
            # The end is a page without news, not a short one: a server may have smaller pages of its own.
            if not self._buffered:
                raise StopAsyncIteration
        return self._buffered.pop()
