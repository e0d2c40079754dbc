"""Iterates over a project's tasks and fetches pages on demand."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aintandem_notify.orchestrator.rest.records import TaskRecord

FetchPage = Callable[[int], Awaitable[Sequence[TaskRecord]]]
"""Returns the page of tasks that starts at an offset; its size is the orchestrator's choice."""


class TaskPages:
    """Async iterator over tasks in the orchestrator's order, each once. It holds no resource open."""

    def __init__(self, fetch_page: FetchPage) -> None:
        self._fetch_page = fetch_page
        self._offset = 0
        self._known_ids: set[str] = set()
        self._buffered: list[TaskRecord] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskRecord:
        """The next task; fetches a page when none is buffered. Raises ApiError or HttpFailed."""
        if not self._buffered:
            page = await self._fetch_page(self._offset)
            self._offset += len(page)
            # New tasks push others onto later pages, and a server without pages returns all tasks again.
            self._buffered = [record for record in page if record.id not in self._known_ids][::-1]
            self._known_ids.update(record.id for record in page)
            # The end is a page without new tasks, not a short page: a server may limit the page size itself.
            if not self._buffered:
                raise StopAsyncIteration
        return self._buffered.pop()
