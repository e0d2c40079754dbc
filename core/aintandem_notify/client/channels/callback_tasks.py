"""Knows which callbacks run in the current task, so that they may wait for a later event of their own project."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import trio

from aintandem_notify.client.channels.subscriber_queue import SubscriberQueue
from aintandem_notify.domain.events import Event


class CallbackTasks:
    """The queues of a project from which tasks have taken the events that their callbacks get at present."""

    def __init__(self) -> None:
        self._queues: Final[dict[trio.lowlevel.Task, list[SubscriberQueue]]] = {}

    @contextmanager
    def calling(self, queue: SubscriberQueue) -> Iterator[None]:
        """A block in which the current task calls callbacks with events that it took from ``queue``."""
        task = trio.lowlevel.current_task()
        queues = self._queues.setdefault(task, [])
        queues.append(queue)
        try:
            yield
        finally:
            queues.remove(queue)
            if not queues:
                del self._queues[task]

    async def take(self, queue: SubscriberQueue) -> list[Event]:
        """As ``queue.take``.

        A callback may wait here for an event of its own project, which may come after events for the callback
        itself. So those callbacks' queues are unbounded during the wait.
        """
        if not (self._queues and queue.is_empty):
            return await queue.take()
        with ExitStack() as stack:
            for other in self.queues_here():
                stack.enter_context(other.unbounded())
            return await queue.take()

    def queues_here(self) -> list[SubscriberQueue]:
        """Queues whose callback runs in the current task or in one of its ancestors."""
        queues: list[SubscriberQueue] = []
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None:
            queues += self._queues.get(task, ())
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return queues
