"""What may be asked while the client's ``async with`` runs, and what becomes of it when that is left."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from aintandem_notify.errors import Disconnected
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import OrchestratorApi, Session


class ClientNotOpen(RuntimeError, AttributeError):
    """A mistake in the program; for ``hasattr`` an AttributeError, as a part is there only inside of the block."""

    def __init__(self) -> None:
        super().__init__("AInTandemClient is used outside of its `async with`")


class ClientLifetime:
    """The client's block, as its parts know it: they may be kept by somebody for longer than it lasts.

    ``is_closing``: its end has been reached. Nothing new is connected then, while what was heard is still told.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._is_closed = False
        self._calls: set[trio.CancelScope] = set()
        self._nothing_called = trio.Event()

    def require_open(self) -> None:
        """Raises ClientNotOpen when it is over."""
        if self._is_closed:
            raise ClientNotOpen

    @contextmanager
    def tracked_call(self) -> Iterator[None]:
        """Around whatever asks the orchestrator.

        Raises ClientNotOpen when the block is over, and Disconnected when that comes while it is being asked.
        """
        self.require_open()
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
        self.is_closing = self._is_closed = True
        for scope in self._calls:
            scope.cancel()
        # Shielded: they need the HTTP client until they have ended, which cancelled calls do soon.
        with trio.CancelScope(shield=True):
            while self._calls:
                self._nothing_called = trio.Event()
                await self._nothing_called.wait()


@asynccontextmanager
async def open_lifetime() -> AsyncIterator[ClientLifetime]:
    """A block that is over when this one is left."""
    lifetime = ClientLifetime()
    try:
        yield lifetime
    finally:
        await lifetime.close()


class LifetimeBoundApi(OrchestratorApi):
    """As ``OrchestratorApi``, while the block runs."""

    def __init__(
        self, lifetime: ClientLifetime, session: Session, http: HttpClient, clock: Clock, *, timeout: float
    ) -> None:
        super().__init__(session, http, clock, timeout=timeout)
        self._lifetime = lifetime

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """As ``OrchestratorApi.call``; raises as ``ClientLifetime.calling`` too."""
        with self._lifetime.tracked_call():
            return await super().call(method, path, query=query, json=json)
