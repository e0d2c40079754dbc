"""Links of one project that follow one another without a gap: the next is open before the last is closed.

The socket replays nothing, so whatever the orchestrator sends between two links nobody hears.
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
"""How long both links are open: a server may say yes to the new one a moment before it begins to feed it."""

Connect = Callable[[SocketTarget], AbstractAsyncContextManager[Link]]
"""Opens a link, as ``link.open_link`` with its settings does."""


@dataclass(eq=False, slots=True)
class _OpenLink:
    link: Link
    released: trio.Event = field(default_factory=trio.Event)


class ConnectionHandover:
    """The links that are open; made by ``open_handover``."""

    def __init__(self, connect: Connect, nursery: trio.Nursery) -> None:
        self._connect = connect
        self._nursery = nursery
        self._held: list[_OpenLink] = []

    @property
    def links(self) -> list[Link]:
        """The link in use, behind the one before it while that is being closed."""
        return [held.link for held in self._held]

    async def open(self, target: SocketTarget) -> Link:
        """Another link, beside the one there is; raises as ``open_link`` does."""
        held: _OpenLink = await self._nursery.start(self._hold_open, target)
        return held.link

    def beside(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something beside the links, for as long as they are open."""
        self._nursery.start_soon(act)

    def release(self, link: Link) -> None:
        """Close a link after ``OVERLAP_S``; it gives all that still arrives, and then raises LinkLost."""
        for held in self._held:
            if held.link is link:
                held.released.set()

    async def _hold_open(self, target: SocketTarget, task_status: trio.TaskStatus[_OpenLink]) -> None:
        # A task of its own for each: contexts that overlap cannot be nested.
        held = None
        try:
            async with self._connect(target) as link:
                held = _OpenLink(link)
                self._held.append(held)
                task_status.started(held)
                await held.released.wait()
                await trio.sleep(OVERLAP_S)
                await link.finish()
        except OrchestratorError:
            # How a link ends that is not needed any more is nobody's concern.
            if held is None or not held.released.is_set():
                raise
        self._held = [other for other in self._held if other is not held]


@asynccontextmanager
async def open_handover(connect: Connect) -> AsyncIterator[ConnectionHandover]:
    """No link at first; all are closed when the block is left, which raises what ended the one in use."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield ConnectionHandover(connect, nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = primary_error(group)
    if failure is not None:
        # Outside of the handler, so that the group does not come along as a context that holds the error itself.
        raise failure
