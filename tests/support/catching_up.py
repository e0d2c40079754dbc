"""Projects that catch up with the tests' own orchestrator, on a real store."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
import trio

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import Event, FeedGapEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.ingest import open_ingest
from aintandem_notify.orchestrator import Login, OrchestratorApi, Session, open_fleet
from aintandem_notify.rules import RoutedNotification, Router
from aintandem_notify.store import Storage, WatchProgress
from support.outbox import inside, memory, one_rule
from support.raw_orchestrator import RawOrchestrator, RawSocket, open_raw_orchestrator

A = ProjectConfig(id="a", name="A")
TASKS = "GET /api/projects/a/tasks"
EXECUTIONS = "GET /api/workflows/projects/a/executions"


def now(seconds: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def task(name: str, status: str, **fields: Any) -> dict[str, Any]:
    return {"taskId": name, "status": status, **fields}


class Notified(Router):
    """Records the events that become notifications, and signals each new one."""

    def __init__(self) -> None:
        super().__init__(one_rule())
        self.notified: list[tuple[Event, Run | None]] = []
        self.news = trio.Event()

    def route(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        self.notified.append((event, run))
        self.news.set()
        self.news = trio.Event()
        return super().route(event, run, project, now)

    def of(self, *types: str) -> list[tuple[str, str | None, bool]]:
        """Type, run and ``caught_up`` of all events about runs, or of all events of the types."""
        return [
            (event.type, event.run_id, event.caught_up)
            for event, _ in self.notified
            if (event.type in types if types else event.run_id is not None)
        ]

    @property
    def gaps(self) -> list[FeedGapEvent]:
        return [event for event, _ in self.notified if isinstance(event, FeedGapEvent)]

    async def until(self, event_type: str, count: int = 1) -> None:
        while sum(event.type == event_type for event, _ in self.notified) < count:
            await self.news.wait()


@dataclass
class Bench:
    """``api_limits`` are arguments of ``OrchestratorApi``, ``settings`` keys of ``[connection]``."""

    raw: RawOrchestrator
    storage: Storage
    api_limits: Mapping[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def agent(self, *projects: ProjectConfig) -> AsyncIterator[Notified]:
        """Watches until the block is left, each time as after a start of the agent."""
        settings = {"reconnect_initial_delay": 0.01, "reconnect_max_delay": 0.05, **self.settings}
        connection = ConnectionConfig.model_construct(**{**ConnectionConfig().model_dump(), **settings})
        notified, clock, chance = Notified(), SystemClock(), random.Random(7).random
        with trio.fail_after(120):  # only a hang takes so long
            async with (
                HttpClient() as http,
                open_ingest(
                    self.storage, router=notified, clock=clock, publish=lambda *_: None, wake=lambda _: None
                ) as ingest,
            ):
                session = Session(
                    self.raw.url,
                    Login("admin", Secret("admin123")),
                    http=http,
                    clock=clock,
                    chance=chance,
                    announce=lambda event: pytest.fail(event.reason),
                )
                async with open_fleet(
                    session,
                    api=OrchestratorApi(session, http, clock, **self.api_limits),
                    sink=ingest.commit,
                    reconciler=ingest,
                    clock=clock,
                    chance=chance,
                ) as fleet:
                    await fleet.set_projects(projects or (A,), connection)
                    yield notified

    async def socket(self) -> RawSocket:
        return await self.raw.connections.receive()

    async def seen(self, project: str = "a") -> WatchProgress:
        rows = await self.storage.run(inside(lambda store: store.journal.watch_progress([project])))
        return rows[project]

    async def until_seen(self, after: datetime) -> None:
        """Wait until a later ``seen_until`` is stored."""
        while (await self.seen()).seen_until <= after:  # noqa: ASYNC110  # the store tells nobody
            await trio.sleep(0.005)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the orchestrator has received the expected requests."""
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)

    async def first_look(self) -> None:
        """Wait until the first connection has read its snapshot, which belongs to no gap."""
        await self.until(lambda: any(request.path.endswith("/operations") for request in self.raw.requests))

    async def open_runs(self) -> list[str]:
        rows = await self.storage.run(inside(lambda store: store.journal.open_runs("a", 100)))
        return [run.id for run in rows]


@asynccontextmanager
async def open_bench(
    api_limits: Mapping[str, Any] = MappingProxyType({}), **settings: Any
) -> AsyncIterator[Bench]:
    async with open_raw_orchestrator() as raw, memory() as storage:
        yield Bench(raw, storage, api_limits, settings)


async def begin(bench: Bench, notified: Notified, *names: str) -> RawSocket:
    """The socket of the first connection, with these tasks running."""
    socket = await bench.socket()
    for name in names:
        await socket.send_event("task_started", taskId=name, task=name.upper(), timestamp=now())
    if names:
        await notified.until("task_started", len(names))
    await bench.first_look()
    return socket
