"""Processes that pass events to a callback: ``python -m benchmarks.readers READER PORT [PROJECT …]``.

The reader ``receive-path`` is the agent's receive path (session, link, frames to events) with a callback as its
sink. ``library`` is a subscription to each project with ``AInTandemClient``. At each mark it prints a line of
JSON: the time, the processor time since the last mark, and the number of events that the callback got.
"""

import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Final

import trio

from aintandem_notify import AInTandemClient
from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import Login, OrchestratorApi, Session, open_fleet
from benchmarks.frames import MARK, PROJECT
from benchmarks.machine import now


class EventCounter:
    """The callback: counts events and prints a line at each mark."""

    def __init__(self) -> None:
        self._events = 0
        self._before = time.process_time()

    def __call__(self, event: Event) -> None:
        """Count one event, or print the line at a mark."""
        if event.type != MARK:
            self._events += 1
            return
        ended, used = now(), time.process_time()
        print(json.dumps({"ended": ended, "cpu_s": used - self._before, "events": self._events}), flush=True)
        self._before, self._events = used, 0


async def read_as_the_agent(port: int, projects: Sequence[str]) -> None:
    """Read with the agent's receive path until cancelled."""
    counter, clock = EventCounter(), SystemClock()

    async def sink(_project: Project, events: Sequence[Event]) -> None:
        if events[0].family is Family.CONNECTION:  # made by the agent; they come alone
            return
        for event in events:
            counter(event)

    async with HttpClient() as http:
        session = Session(
            f"http://127.0.0.1:{port}",
            Login("admin", Secret("admin123")),
            http=http,
            clock=clock,
            chance=random.random,
            announce=lambda event: sys.exit(event.reason),
        )
        async with open_fleet(
            session, api=OrchestratorApi(session, http, clock), sink=sink, clock=clock, chance=random.random
        ) as fleet:
            await fleet.set_projects([ProjectConfig(id=name) for name in projects], ConnectionConfig())
            await trio.sleep_forever()


async def read_with_the_library(port: int, projects: Sequence[str]) -> None:
    """Read with the client library until cancelled."""
    async with AInTandemClient(f"http://127.0.0.1:{port}") as client:
        await client.auth.login("admin", "admin123")
        counter = EventCounter()
        for name in projects:
            await client.progress.subscribe_to_progress(name, counter)
        await trio.sleep_forever()


READERS: Final = MappingProxyType[str, Callable[[int, Sequence[str]], Awaitable[None]]](
    {"receive-path": read_as_the_agent, "library": read_with_the_library}
)
"""The readers by their name on the command line."""

if __name__ == "__main__":
    trio.run(READERS[sys.argv[1]], int(sys.argv[2]), sys.argv[3:] or [PROJECT])
