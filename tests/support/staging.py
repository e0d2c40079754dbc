"""Ingest with the rules and stages of a config, on a store and in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import trio

from aintandem_notify.config import Config
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.ingest.releases import SHARED_LOOK_EVERY_S
from aintandem_notify.rules import Router
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Storage
from aintandem_notify.watches.watch import watches_of
from support.outbox import NOW, PROJECT, event, inside
from support.trio_clock import TrioClock


@dataclass
class StageBench:
    """The agent's ingest in virtual time; ``now`` starts at ``NOW``."""

    ingest: Ingest
    storage: Storage
    clock: TrioClock
    caught_up: bool = True

    async def happen(self, kind: str, run: str = "t1", *, project: Project = PROJECT, **fields: Any) -> Event:
        """An event happens now and is stored."""
        at = (self.clock.now() - NOW).total_seconds()
        happened = event(kind, run=run, at=at, project=project.id, **fields)
        await self.ingest.commit(project, [happened])
        return happened

    async def fail(self, *runs: str, **fields: Any) -> None:
        """These tasks start and fail now."""
        for run in runs:
            await self.happen("task_started", run, task=run)
            await self.happen("task_failed", run, task=run, **fields)

    def use(self, config: Config) -> None:
        """Use another config, as after a reload."""
        self.ingest.use(Router(config), StagePolicy.of(config), watches_of(config))

    async def titles(self, destination: str = "slack.team", *, with_words: bool = False) -> list[tuple[int, str]]:
        """The notifications that the destination was told: seconds after ``NOW``, and the title.

        ``with_words``: also the words before the end of a silence.
        """
        return [
            (at, told.title)
            for at, told in await self.notifications(destination)
            if with_words or told.event.type != "silence_ending"
        ]

    async def notifications(self, destination: str = "slack.team") -> list[tuple[int, Notification]]:
        """The notifications in its queue, each with the seconds after ``NOW`` at which it was queued."""
        far = self.clock.now() + timedelta(days=1)
        claims = await self.storage.run(
            inside(lambda store: store.outbox.claim(destination, limit=100_000, now=far, horizon=far))
        )
        return [(round((claim.created_at - NOW).total_seconds()), claim.notification) for claim in claims]


@asynccontextmanager
async def open_stages(
    storage: Storage,
    config: Config,
    start: datetime = NOW,
    *,
    caught_up: bool = True,
    shared_look_every_s: float = SHARED_LOOK_EVERY_S,
) -> AsyncIterator[StageBench]:
    """Run the ingest with this config until the block ends."""
    clock = TrioClock(start)
    async with open_ingest(
        storage,
        router=Router(config),
        clock=clock,
        publish=lambda *_: None,
        wake=lambda _names: None,
        shared_look_every_s=shared_look_every_s,
    ) as ingest:
        bench = StageBench(ingest, storage, clock, caught_up)
        bench.use(config)
        ingest.releases.begin(lambda _project: bench.caught_up)
        yield bench


def with_quiet(config: Config, **tables: Any) -> Config:
    """The config with these quiet hours."""
    return replace(config, quiet=tables)


async def until(clock: TrioClock, seconds: float) -> None:
    """Sleep until so many seconds after ``NOW``."""
    await trio.sleep(max(0.0, (NOW - clock.now()).total_seconds() + seconds))
