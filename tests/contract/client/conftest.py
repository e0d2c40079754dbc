"""Fixtures for the tests of the library."""

from collections.abc import AsyncIterator

import pytest

from support.raw_orchestrator import RawOrchestrator, open_raw_orchestrator


@pytest.fixture
async def raw() -> AsyncIterator[RawOrchestrator]:
    async with open_raw_orchestrator() as server:
        yield server
