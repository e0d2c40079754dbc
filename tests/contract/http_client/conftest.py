"""A server on loopback, and a client for it."""

from collections.abc import AsyncIterator

import pytest

from aintandem_notify.http_client import HttpClient
from support.http_server import LoopbackServer, open_server


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with open_server() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as http:
        yield http
