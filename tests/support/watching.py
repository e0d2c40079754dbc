"""Watches projects as the agent does: sessions, links and projects together, over real sockets."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import Fleet, Login, OrchestratorApi, Session, open_fleet
from support.raw_orchestrator import RawOrchestrator, RawSocket


class Journal:
    """Records the events of the projects, and signals each new one."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self._news = trio.Event()

    async def sink(self, project: Project, events: Sequence[Event]) -> None:
        self.events += [(project.id, event) for event in events]
        self._news.set()
        self._news = trio.Event()

    def of(self, project_id: str) -> list[str]:
        return [event.type for owner, event in self.events if owner == project_id]

    async def more(self) -> None:
        """Wait for the next events."""
        await self._news.wait()

    async def until(self, project_id: str, event_type: str, count: int = 1) -> None:
        while self.of(project_id).count(event_type) < count:
            await self.more()


@asynccontextmanager
async def watching(
    raw: RawOrchestrator, *projects: ProjectConfig, **connection: Any
) -> AsyncIterator[tuple[Fleet, Journal]]:
    fast = ConnectionConfig.model_construct(
        **{**ConnectionConfig().model_dump(), "reconnect_initial_delay": 0.02, **connection}
    )
    journal, chance = Journal(), random.Random(7).random
    with trio.fail_after(120):  # only a hang takes so long
        async with HttpClient() as http:
            session = Session(
                raw.url,
                Login("admin", Secret("admin123")),
                http=http,
                clock=SystemClock(),
                chance=chance,
                announce=lambda event: pytest.fail(event.reason),
            )
            async with open_fleet(
                session,
                api=OrchestratorApi(session, http, SystemClock()),
                sink=journal.sink,
                clock=SystemClock(),
                chance=chance,
            ) as fleet:
                await fleet.set_projects(projects, fast)
                yield fleet, journal


async def arrivals(raw: RawOrchestrator, count: int) -> dict[str, RawSocket]:
    sockets = [await raw.connections.receive() for _ in range(count)]
    return {socket.project_id: socket for socket in sockets}
