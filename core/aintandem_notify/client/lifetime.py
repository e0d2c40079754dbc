"""Ties the client's parts to its ``async with`` block: calls end with it and fail after it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from aintandem_notify.errors import Disconnected
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import OrchestratorApi, Session


class ClientNotOpen(RuntimeError, AttributeError):
    """Raised when a program uses the client or a part of it outside the block.

    It is also an AttributeError, so that ``hasattr`` is False for a part outside the block.
    """

    def __init__(self) -> None:
        super().__init__("AInTandemClient is used outside of its `async with`")


class ClientLifetime:
    """The lifetime of the client's block. A program may hold parts of the client for longer than that.

    ``is_closing``: the end of the block has been reached. No new connection is opened; callbacks still get the
    events that have arrived.
    """

    def __init__(self) -> None:
        self.is_closing: bool = False
        self._is_closed = False
        self._calls: set[trio.CancelScope] = set()
        self._no_calls_left = trio.Event()

    def require_open(self) -> None:
        """Raise ClientNotOpen when the block has ended."""
        if self._is_closed:
            raise ClientNotOpen

    @contextmanager
    def tracked_call(self) -> Iterator[None]:
        """A block that sends requests to the orchestrator.

        Raises ClientNotOpen when the client's block has ended, and Disconnected when it ends during the call.
        """
        self.require_open()
        with trio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.remove(scope)
                if not self._calls:
                    self._no_calls_left.set()
        if scope.cancelled_caught:
            raise Disconnected("the client's block was left before the orchestrator had answered")

    async def close(self) -> None:
        """End the lifetime: cancels all running calls, and returns once they have ended."""
        self.is_closing = self._is_closed = True
        for scope in self._calls:
            scope.cancel()
        # Shielded: the calls need the HTTP client until they have ended. Cancelled calls end soon.
        with trio.CancelScope(shield=True):
            while self._calls:
                self._no_calls_left = trio.Event()
                await self._no_calls_left.wait()


@asynccontextmanager
async def open_lifetime() -> AsyncIterator[ClientLifetime]:
    """A lifetime that ends with the block."""
    lifetime = ClientLifetime()
    try:
        yield lifetime
    finally:
        await lifetime.close()


class LifetimeBoundApi(OrchestratorApi):
    """As ``OrchestratorApi``, but usable only during the client's lifetime."""

    def __init__(
        self, lifetime: ClientLifetime, session: Session, http: HttpClient, clock: Clock, *, timeout: float
    ) -> None:
        super().__init__(session, http, clock, timeout=timeout)
        self._lifetime = lifetime

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Any = None
    ) -> Any:
        """As ``OrchestratorApi.call``; also raises as ``ClientLifetime.tracked_call``."""
        with self._lifetime.tracked_call():
            return await super().call(method, path, query=query, json=json)
