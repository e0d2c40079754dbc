"""Ingest on a store, with its published events and woken destinations, and a store that fails on demand."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.errors import StoreError
from aintandem_notify.ingest import EventRouter, Ingest, open_ingest, writer
from aintandem_notify.rules import RoutedNotification, Router
from aintandem_notify.store import Storage, Store
from support.outbox import SetClock, one_rule, router

T = TypeVar("T")


class FlakyStorage(Storage):
    """Fails on demand: "before" does nothing; "after" does everything and then fails (a failed COMMIT)."""

    def __init__(self, store: Store, *failures: str) -> None:
        super().__init__(store, inline=True)
        self.failures = list(failures)
        self.calls = 0

    async def run(self, fn: Callable[[Store], T]) -> T:
        self.calls += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure == "before":
            await trio.lowlevel.checkpoint()
            raise StoreError("the disk is full")
        result = await super().run(fn)
        if failure == "after":
            raise StoreError("the disk is full")
        return result


@dataclass
class Bench:
    ingest: Ingest
    storage: Storage
    published: list[Event] = field(default_factory=list)
    woken: list[set[str]] = field(default_factory=list)


@asynccontextmanager
async def open_bench(
    storage: Storage,
    rules: EventRouter | None = None,
    listening: bool = True,
    max_runs: int = writer.MAX_CACHED_RUNS,
) -> AsyncIterator[Bench]:
    published: list[Event] = []
    woken: list[set[str]] = []

    def publish(event: Event, project: Project | None) -> None:
        published.append(event)

    def wake(names: Iterable[str]) -> None:
        woken.append(set(names))

    async with open_ingest(
        storage,
        router=rules or router(),
        clock=SetClock(),
        publish=publish,
        wake=wake,
        listening=lambda: listening,
        max_runs=max_runs,
    ) as ingest:
        yield Bench(ingest, storage, published, woken)


class StumblingRouter(Router):
    """Fails on the events of one run."""

    def __init__(self) -> None:
        super().__init__(one_rule())

    def route(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        if event.run_id == "odd":
            raise ZeroDivisionError("in a rule")
        return super().route(event, run, project, now)


class FallingRouter(StumblingRouter):
    """Fails on them even without their texts."""

    def route_without_texts(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        raise RecursionError
