"""What may be asked while the client's ``async with`` runs, and what becomes of it when that is left."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from aintandem_notify.errors import Disconnected
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import OrchestratorApi, Session


class OutsideOfBlock(RuntimeError, AttributeError):
    """A mistake in the program; for ``hasattr`` an AttributeError, as a part is there only inside of the block."""

    def __init__(self) -> None:
        super().__init__("AInTandemClient is used outside of its `async with`")


class ClientLifetime:
    """The client's block, as its parts know it: they may be kept by somebody for longer than it lasts.

    ``is_left``: its end has been reached. Nothing new is connected then, while what was heard is still told.
    """

    def __init__(self) -> None:
        self.is_left = False
        self._is_closed = False
        self._calls: set[trio.CancelScope] = set()
        self._nothing_called = trio.Event()

    def check(self) -> None:
        """Raises OutsideOfBlock when it is over."""
        if self._is_closed:
            raise OutsideOfBlock

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around whatever asks the orchestrator.

        Raises OutsideOfBlock when the block is over, and Disconnected when that comes while it is being asked.
        """
        self.check()
        with trio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.remove(scope)
                if not self._calls:
                    self._nothing_called.set()
        if scope.cancelled_caught:
            raise Disconnected("the client's block was left before the orchestrator had answered")

    async def close(self) -> None:
        """It is over: calls of others end now, and have ended when this returns."""
        self.is_left = self._is_closed = True
        for scope in self._calls:
            scope.cancel()
        # Shielded: they need the HTTP client until they have ended, which cancelled calls do soon.
        with trio.CancelScope(shield=True):
            while self._calls:
                self._nothing_called = trio.Event()
                await self._nothing_called.wait()


@asynccontextmanager
async def open_block() -> AsyncIterator[ClientLifetime]:
    """A block that is over when this one is left."""
    block = ClientLifetime()
    try:
        yield block
    finally:
        await block.close()


class BlockApi(OrchestratorApi):
    """As ``OrchestratorApi``, while the block runs."""

    def __init__(
        self, block: ClientLifetime, session: Session, http: HttpClient, clock: Clock, *, timeout: float
    ) -> None:
        super().__init__(session, http, clock, timeout=timeout)
        self._block = block

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """As ``OrchestratorApi.call``; raises as ``ClientLifetime.calling`` too."""
        with self._block.calling():
            return await super().call(method, path, query=query, json=json)
