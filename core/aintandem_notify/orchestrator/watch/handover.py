"""Replaces the link of a project by another without a gap: the next one opens before the last one closes.

The socket replays nothing, so events that the orchestrator sends between two links would be lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from aintandem_notify.errors import OrchestratorError
from aintandem_notify.orchestrator.link.websocket import Link, primary_error
from aintandem_notify.orchestrator.protocol.address import SocketTarget

OVERLAP_S: Final = 0.5
"""Time with both links open: a server may accept the new one a moment before it sends events over it."""

Connect = Callable[[SocketTarget], AbstractAsyncContextManager[Link]]
"""Opens a link, as ``link.websocket.open_link`` with its settings does."""


@dataclass(eq=False, slots=True)
class _OpenLink:
    link: Link
    released: trio.Event = field(default_factory=trio.Event)


class ConnectionHandover:
    """The links that are open; made by ``open_handover``."""

    def __init__(self, connect: Connect, nursery: trio.Nursery) -> None:
        self._connect = connect
        self._nursery = nursery
        self._open_links: list[_OpenLink] = []

    @property
    def links(self) -> list[Link]:
        """The open links: the one in use is the last; before it the previous one, while that is being closed."""
        return [open_link.link for open_link in self._open_links]

    async def open(self, target: SocketTarget) -> Link:
        """Open another link beside the present one; raises as ``open_link`` does."""
        open_link: _OpenLink = await self._nursery.start(self._hold_open, target)
        return open_link.link

    def beside(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside the links, for as long as they are open."""
        self._nursery.start_soon(act)

    def release(self, link: Link) -> None:
        """Close a link after ``OVERLAP_S``. Until then it returns arriving frames, and then it raises LinkLost."""
        for open_link in self._open_links:
            if open_link.link is link:
                open_link.released.set()

    async def _hold_open(self, target: SocketTarget, task_status: trio.TaskStatus[_OpenLink]) -> None:
        # Each link has a task of its own: contexts that overlap cannot be nested.
        open_link = None
        try:
            async with self._connect(target) as link:
                open_link = _OpenLink(link)
                self._open_links.append(open_link)
                task_status.started(open_link)
                await open_link.released.wait()
                await trio.sleep(OVERLAP_S)
                await link.finish()
        except OrchestratorError:
            # The error of a link that is not needed any more is ignored.
            if open_link is None or not open_link.released.is_set():
                raise
        self._open_links = [other for other in self._open_links if other is not open_link]


@asynccontextmanager
async def open_handover(connect: Connect) -> AsyncIterator[ConnectionHandover]:
    """Starts without a link. Leaving the block closes all of them, and raises the error of the one in use."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield ConnectionHandover(connect, nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = primary_error(group)
    if failure is not None:
        # Outside of the handler, so that the group does not become the context of the error that it contains.
        raise failure
