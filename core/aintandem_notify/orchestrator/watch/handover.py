"""Replaces the link of a project by another without a gap: the next one opens before the last one closes.

The socket replays nothing, so events that the orchestrator sends between two links would be lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import trio

from aintandem_notify.errors import OrchestratorError
from aintandem_notify.orchestrator.link.library_errors import link_groups
from aintandem_notify.orchestrator.link.websocket import Link
from aintandem_notify.orchestrator.protocol.address import SocketTarget

OVERLAP_S: Final = 0.5
"""Time with both links open: a server may accept the new one a moment before it sends events over it."""

Connect = Callable[[SocketTarget], AbstractAsyncContextManager[Link]]
"""Opens a link, as ``link.websocket.connect_link`` with its settings does."""


class ConnectionHandover:
    """The links that are open; made by ``open_handover``."""

    def __init__(self, connect: Connect, nursery: trio.Nursery) -> None:
        self._connect = connect
        self._nursery = nursery
        self.links: list[Link] = []
        """The open links: the one in use is the last; before it the previous one, while that is being closed."""

    async def open(self, target: SocketTarget) -> Link:
        """Open another link beside the present one; raises as ``connect_link`` does."""
        link: Link = await self._nursery.start(self._run_link, target)
        return link

    def beside(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside the links, for as long as they are open."""
        self._nursery.start_soon(act)

    def release(self, link: Link) -> None:
        """Close a link after ``OVERLAP_S``. Until then it returns arriving frames, and then it raises LinkLost."""
        self._nursery.start_soon(self._finish, link)

    async def _finish(self, link: Link) -> None:
        await trio.sleep(OVERLAP_S)
        with suppress(OrchestratorError):
            await link.finish()
        self.links.remove(link)

    async def _run_link(self, target: SocketTarget, task_status: trio.TaskStatus[Link]) -> None:
        # Each link has a task of its own: contexts that overlap cannot be nested.
        link = None
        try:
            async with self._connect(target) as link:
                self.links.append(link)
                task_status.started(link)
                del task_status  # it holds a nursery of trio, and this task lives as long as the link
                await link.run()
        except OrchestratorError:
            # The error of a link that is not needed any more is ignored, also before it is finished.
            if link is None or link is self.links[-1]:
                raise


@asynccontextmanager
async def open_handover(connect: Connect) -> AsyncIterator[ConnectionHandover]:
    """Starts without a link. Leaving the block closes all of them, and raises the error of the one in use."""
    with link_groups:
        async with trio.open_nursery() as nursery:
            yield ConnectionHandover(connect, nursery)
            nursery.cancel_scope.cancel()
