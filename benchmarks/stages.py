"""Measures the stages of the rules: their cost for ingest, many held notifications, and a storm into one group."""

import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeVar

import trio
from msgspec import json

from aintandem_notify.agent.process import relax_garbage_collection
from aintandem_notify.domain.events import Event, read_frames
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.rules.effective_rules import NO_STAGES
from aintandem_notify.stages.episodes import Trouble, take
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Storage, Store, TransactionPurpose, open_storage
from benchmarks import ingesting
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import now, resident_kb

T = TypeVar("T")
COST_GOAL: Final = 0.05
"""Share of the processor time of ingest that the stages may add with rules that name none."""
HELD_GOAL_MIB: Final = 60
RELEASE_GOAL: Final = 5_000
BATCH_EVENTS: Final = 1000
BEGIN: Final = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
"""Within the quiet hours of the config."""
PROJECT: Final = Project(id="sales", name="Sales")
STORM_S: Final = 10
WAIT_S: Final = 30
EVERY_S: Final = 300
FOLLOWED_S: Final = 1800
"""Seconds for which a task goes on failing each second after a storm."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:9"
token = "benchmark"

[[projects]]
id = "*"

[plugins.file_log.audit]
path = "notifications.jsonl"

[quiet.night]
from = "22:00"
to = "07:00"
tz = "UTC"
then = "{then}"

[[rules]]
name = "failures"
events = ["task_failed"]
notify = ["file_log.audit"]
{stage}
"""
_GROUP: Final = f'group = {{ by = ["project"], wait = "{WAIT_S}s", every = "{EVERY_S}s" }}'
_QUIET: Final = 'quiet = "night"'


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    time: datetime = BEGIN

    def now(self) -> datetime:
        """The time that was set."""
        return self.time

    def capped_now(self) -> datetime:
        """The same: nobody sets it but the benchmark."""
        return self.time


@dataclass(frozen=True)
class Held:
    """Result with many held notifications: MiB while they are held and at most, and their release a second."""

    held_mib: float
    peak_mib: float
    speed: float
    told: int


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure on SQLite in a file."""
    relax_garbage_collection()  # as the agent's process does
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        log_progress("the cost of the stages for ingest")
        cost = await _cost(folder, size)
        figures = [
            Figure(
                "the stages add to ingest if no rule names any, processor time",
                f"{cost:+.1%}",
                f"at most {COST_GOAL:.0%}",
                cost <= COST_GOAL,
            )
        ]
        log_progress(f"{size.held:,} open episodes")
        cost = await _cost_of_episodes(folder, size)
        figures.append(
            Figure(
                f"{size.held:,} open episodes add to ingest, processor time",
                f"{cost:+.1%}",
                f"at most {COST_GOAL:.0%}",
                cost <= COST_GOAL,
            )
        )
        for label, stage, then in (
            ("in one group", _GROUP, "digest"),
            ("over the night, told as one", _QUIET, "digest"),
            ("over the night, each told", _QUIET, "each"),
        ):
            log_progress(f"{size.held:,} held {label}")
            held = await trio.to_thread.run_sync(
                _held_in_new_process, folder, _CONFIG.format(stage=stage, then=then), size.held
            )
            figures += _figures(f"{size.held:,} held {label}", held, expected=size.held if then == "each" else 1)
        log_progress("a storm into one group")
        messages = await _storm(folder, size.storm)
        most = 1 + FOLLOWED_S // EVERY_S
        figures.append(
            Figure(
                f"{size.storm:,} failures in {STORM_S} s into one group, then one a second for"
                f" {FOLLOWED_S // 60} min: messages in the first {WAIT_S} s, and in all",
                f"{messages[0]}, {messages[1]}",
                f"1, at most {most}",
                messages[0] == 1 and messages[1] <= most,
            )
        )
    return figures


def _figures(name: str, held: Held, expected: int) -> list[Figure]:
    is_small = held.peak_mib <= HELD_GOAL_MIB
    return [
        Figure(
            f"{name}: more memory, at most",
            f"{held.held_mib:.0f} MiB, {held.peak_mib:.0f} MiB while released",
            f"at most {HELD_GOAL_MIB} MiB",
            is_small,
        ),
        Figure(
            f"{name}: released", f"{held.speed:,.0f}/s", f"at least {RELEASE_GOAL:,}", held.speed >= RELEASE_GOAL
        ),
        Figure(f"{name}: messages", f"{held.told:,}", f"{expected:,}", held.told == expected),
    ]


async def _cost(folder: Path, size: Size) -> float:
    """Added share of processor time, in pairs that take turns."""
    config = ingesting.config(ingesting.EVERYTHING)
    batches = _batches(ingesting.mixed("project-0", size.ingested))
    ratios: list[float] = []
    for number in range(2 * size.rounds):
        seconds: list[float] = []
        for uses_stages in (False, True):
            url = f"sqlite:///{folder / f'cost-{number}-{uses_stages}.db'}"
            async with _open(url, folder, config, SystemClock(), uses_stages=uses_stages) as (ingest, _):
                began = time.process_time()
                for batch in batches:
                    await ingest.commit(Project(id="project-0", name="Project 0"), batch)
                seconds.append(time.process_time() - began)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios) - 1


async def _cost_of_episodes(folder: Path, size: Size) -> float:
    """Added share of processor time by open episodes of the same project, in pairs that take turns."""
    config = ingesting.config(ingesting.EVERYTHING)
    batches = _batches(ingesting.mixed("project-0", size.ingested))
    ratios: list[float] = []
    for number in range(2 * size.rounds):
        seconds: list[float] = []
        for episodes in (0, size.held):
            url = f"sqlite:///{folder / f'episodes-{number}-{episodes}.db'}"
            async with _open(url, folder, config, SystemClock()) as (ingest, storage):
                await storage.run(partial(_open_episodes, count=episodes))
                began = time.process_time()
                for batch in batches:
                    await ingest.commit(Project(id="project-0", name="Project 0"), batch)
                seconds.append(time.process_time() - began)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios) - 1


def _open_episodes(store: Store, count: int) -> None:
    at = SystemClock().now()
    for first in range(0, count, BATCH_EVENTS):
        episodes = [
            take(
                None,
                Trouble(
                    rule="file_log.audit",
                    number=number,
                    type="task_failed",
                    event_key=f"{number:032x}",
                    occurred_at=at,
                    thread=f"project-0/task/{number}/1",
                    notification_id=f"ntf_{number}",
                    project_id="project-0",
                    run_number=-number,
                ),
                NO_STAGES,
            )[0]
            for number in range(first, min(first + BATCH_EVENTS, count))
        ]
        with store.transaction():
            store.episodes.write(episodes, [], {episode.id: at + timedelta(days=1) for episode in episodes})


def _held_in_new_process(folder: Path, config: str, count: int) -> Held:
    """As ``_held``: in a process that has worked already, the memory would come from that which is free."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(trio.run, _held, folder, config, count).result()


async def _held(folder: Path, config: str, count: int) -> Held:
    relax_garbage_collection()
    clock = SetClock()
    url = f"sqlite:///{folder / f'held-{os.getpid()}.db'}"
    async with _open(url, folder, config, clock) as (ingest, storage):
        await ingest.commit(PROJECT, _failures(0, 1, clock))  # so that everything is loaded
        before = _resident_mib()
        for first in range(1, count, BATCH_EVENTS):
            await ingest.commit(PROJECT, _failures(first, min(BATCH_EVENTS, count - first), clock))
        held = _resident_mib()
        clock.time += timedelta(hours=9)
        began, peak = now(), held
        ingest.look_again()
        while await _is_held(storage):
            await trio.sleep(0.01)
            peak = max(peak, resident_kb(os.getpid()) / 1024)
        speed = count / (now() - began)
        return Held(held - before, peak - before, speed, await _queued(storage))


async def _storm(folder: Path, count: int) -> tuple[int, int]:
    """Messages at the end of the group's first wait, and after a task has failed each second for a while."""
    clock = SetClock(BEGIN + timedelta(days=1))
    url = f"sqlite:///{folder / 'storm.db'}"
    async with _open(url, folder, _CONFIG.format(stage=_GROUP, then="digest"), clock) as (ingest, storage):
        for second in range(STORM_S):
            await ingest.commit(PROJECT, _failures(second * count, count // STORM_S, clock))
            clock.time += timedelta(seconds=1)
        clock.time += timedelta(seconds=WAIT_S - STORM_S)
        number = STORM_S * count
        await ingest.commit(PROJECT, _failures(number, 1, clock))
        first = await _queued(storage)
        for second in range(1, FOLLOWED_S):
            clock.time += timedelta(seconds=1)
            await ingest.commit(PROJECT, _failures(number + second, 1, clock))
        return first, await _queued(storage)


@asynccontextmanager
async def _open(
    url: str, folder: Path, config: str, clock: SetClock | SystemClock, *, uses_stages: bool = True
) -> AsyncIterator[tuple[Ingest, Storage]]:
    source = folder / "config.toml"
    source.write_text(config, encoding="utf-8")
    loaded = load(source)
    async with (
        open_storage(url) as storage,
        open_ingest(
            storage,
            router=loaded.router,
            clock=clock,
            publish=lambda _event, _project: None,
            listening=lambda: False,
            wake=lambda _names: None,
        ) as ingest,
    ):
        if uses_stages:
            ingest.use(loaded.router, StagePolicy.of(loaded.config))
            ingest.releases.begin(lambda _project: True)
        yield ingest, storage


def _failures(first: int, count: int, clock: SetClock) -> Sequence[Event]:
    frames = [
        json.encode(
            {
                "type": "task_failed",
                "projectId": PROJECT.id,
                "taskId": f"task-{number}",
                "task": f"train {number % 50}",
                "error": "out of memory",
                "timestamp": clock.now().isoformat(),
            }
        )
        for number in range(first, first + count)
    ]
    return read_frames(frames, PROJECT.id, lambda _frame: None)


def _batches(events: Sequence[Event]) -> Sequence[Sequence[Event]]:
    return [events[first : first + BATCH_EVENTS] for first in range(0, len(events), BATCH_EVENTS)]


def _resident_mib() -> float:
    gc.collect()
    return resident_kb(os.getpid()) / 1024


async def _queued(storage: Storage) -> int:
    """The number of deliveries: nothing is sent here."""
    queues = await _read(storage, lambda store: store.outbox.queues())
    return sum(queue.queued for queue in queues.values())


async def _is_held(storage: Storage) -> bool:
    return await _read(storage, lambda store: store.held.next_due()) is not None


async def _read(storage: Storage, query: Callable[[Store], T]) -> T:
    def read(store: Store) -> T:
        with store.transaction(durable=False, purpose=TransactionPurpose.READ):
            return query(store)

    return await storage.run(read)
