"""Clients of the library for tests. They reconnect quickly, and a test has a time limit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import trio

from aintandem_notify import AInTandemClient

TOO_LONG_S: Final = 120
"""Seconds for a test. One that takes longer hangs; machines may stall for half a minute."""


class Server(Protocol):
    """The simulator or the raw orchestrator."""

    @property
    def url(self) -> str:
        """The address that it listens at."""
        ...


@asynccontextmanager
async def logged_in(server: Server, **settings: Any) -> AsyncIterator[AInTandemClient]:
    """A client that has logged in. It reconnects quickly."""
    with trio.fail_after(TOO_LONG_S):
        async with client_of(server, **settings) as client:
            await client.auth.login("admin", "admin123")
            yield client


def client_of(server: Server, **settings: Any) -> AInTandemClient:
    """A client that has not logged in."""
    return AInTandemClient(server.url, **{"reconnect_initial_delay": 0.02, **settings})
