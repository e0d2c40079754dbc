"""Clients of the library for tests: quick to reconnect, and with a limit to what a test may take."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import trio

from aintandem_notify import AInTandemClient

TOO_LONG_S: Final = 120
"""A test that takes so long hangs; machines that stall for half a minute are none of its business."""


class Server(Protocol):
    """The simulator or the raw orchestrator."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...


@asynccontextmanager
async def logged_in(server: Server, **settings: Any) -> AsyncIterator[AInTandemClient]:
    """A client that has logged in; it reconnects without waiting long."""
    with trio.fail_after(TOO_LONG_S):
        async with client_of(server, **settings) as client:
            await client.auth.login("admin", "admin123")
            yield client


def client_of(server: Server, **settings: Any) -> AInTandemClient:
    """A client that has not."""
    return AInTandemClient(server.url, **{"reconnect_initial_delay": 0.02, **settings})
