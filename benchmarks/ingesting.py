"""Measures events a second into the store without sockets, compared with bare inserts of the same rows."""

import sqlite3
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import json

from aintandem_notify.agent.process import relax_garbage_collection
from aintandem_notify.domain.events import ConnectionConnectedEvent, Event, read_frames
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.store import open_storage
from aintandem_notify.store.engine.schema import metadata
from benchmarks.chaos.stores import EMBEDDED, shared_store
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import mix
from benchmarks.machine import now

SQLITE_GOAL: Final = 20_000
POSTGRES_GOAL: Final = 5_000
BATCH_EVENTS: Final = 1000
"""Events that a project commits at once; about as many as one read from a busy link."""
PROJECTS: Final = 4
"""Projects that commit concurrently, so that the store never waits for a batch."""
ROWS_PER_TRANSACTION: Final = 250
"""Events in one transaction of the bare inserts: as many as ingest has in one."""

EVERYTHING: Final = '["task/*", "workflow/*", "sandbox/*"]'
ENDS: Final = '["*_completed", "*_failed", "*_cancelled", "sandbox_error"]'

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:9"
token = "benchmark"

[[projects]]
id = "*"

[plugins.file_log.audit]
path = "notifications.jsonl"
events = {events}
"""


class Database:
    """A database to measure. ``shared`` is the URL of a PostgreSQL, which is emptied for each round."""

    def __init__(self, name: str, goal: int, folder: Path, shared: str | None = None) -> None:
        self.name = name
        self.goal = goal
        self.folder = folder
        self._shared = shared
        self._numbers = count()

    def empty(self) -> str:
        """The URL of an empty store."""
        if self._shared is None:
            return f"sqlite:///{self.folder / f'store-{next(self._numbers)}.db'}"
        import psycopg

        with psycopg.connect(self._shared, autocommit=True) as admin:
            admin.execute("DROP SCHEMA public CASCADE")
            admin.execute("CREATE SCHEMA public")
        return self._shared


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure with SQLite, and with PostgreSQL if it is installed."""
    relax_garbage_collection()  # as the agent's process does
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        figures += await _database(Database("SQLite", SQLITE_GOAL, folder), size, log_progress)
        try:
            with shared_store(EMBEDDED, folder / "postgres") as url:
                figures += await _database(Database("PostgreSQL", POSTGRES_GOAL, folder, url), size, log_progress)
        except ImportError as error:
            figures.append(Figure("durable ingest, PostgreSQL", f"not measured: {error}"))
    return figures


async def _database(database: Database, size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure in turns, so that a slow minute affects all figures. The medians count."""
    speeds: dict[str, list[float]] = {"bare": [], "every": [], "ends": []}
    for number in range(size.rounds):
        log_progress(f"durable ingest on {database.name}, round {number + 1} of {size.rounds}")
        url = database.empty()
        speeds["every"].append(await _ingest(url, database.folder, EVERYTHING, size.ingested))
        speeds["bare"].append(await _bare(url, database.empty, size.ingested))
        speeds["ends"].append(await _ingest(database.empty(), database.folder, ENDS, size.ingested))
    noted = size.projects * 10
    log_progress(f"how far {noted:,} projects are seen, on {database.name}")
    noting_s = await _note(database.empty(), database.folder, noted)
    bare, every, ends = (statistics.median(speeds[name]) for name in ("bare", "every", "ends"))
    name, goal = database.name, database.goal
    return [
        Figure(f"the same rows on {name}, bare executemany", f"{bare:,.0f} events/s"),
        Figure(
            f"durable ingest on {name}, every event with a delivery",
            f"{every:,.0f} events/s",
            f"at least {goal:,}",
            every >= goal,
        ),
        Figure(f"durable ingest on {name}, every event, ratio to the bare rows", f"{every / bare:.2f}"),
        Figure(
            f"durable ingest on {name}, ends with a delivery",
            f"{ends:,.0f} events/s",
            f"at least {goal:,}",
            ends >= goal,
        ),
        Figure(f"noting on {name} how far {noted:,} projects are seen", f"{noting_s:.2f} s"),
    ]


async def _ingest(url: str, folder: Path, events: str, size: int) -> float:
    """Events a second through ingest."""
    return size / await fill(url, folder, config(events), size)


@asynccontextmanager
async def _open(url: str, folder: Path, config: str) -> AsyncIterator[Ingest]:
    source = folder / "config.toml"
    source.write_text(config, encoding="utf-8")
    async with (
        open_storage(url) as storage,
        open_ingest(
            storage,
            router=load(source).router,
            clock=SystemClock(),
            publish=lambda _event, _project: None,
            listening=lambda: False,
            wake=lambda _names: None,
        ) as ingest,
    ):
        yield ingest


async def _note(url: str, folder: Path, projects: int) -> float:
    """Seconds for the commit that an agent makes each minute for the projects that it watches."""
    async with _open(url, folder, config(ENDS)) as ingest:
        moment = datetime.now(UTC)
        names = [f"project-{number}" for number in range(projects)]
        await ingest.commit(None, [ConnectionConnectedEvent(timestamp=moment, project_id=name) for name in names])
        began = now()
        await ingest.mark_seen(dict.fromkeys(names, datetime.now(UTC)))
        return now() - began


async def fill(url: str, folder: Path, config: str, size: int) -> float:
    """Commit ``size`` events to the store. Returns the seconds until the last one is on disk.

    The rules in the text of ``config`` decide on the deliveries.
    """
    batches = [_batches(mixed(f"project-{number}", size // PROJECTS)) for number in range(PROJECTS)]
    async with _open(url, folder, config) as ingest:

        async def commit_batches(number: int) -> None:
            project = Project(id=f"project-{number}", name=f"Project {number}")
            for batch in batches[number]:
                await ingest.commit(project, batch)

        began = now()
        async with trio.open_nursery() as nursery:
            for number in range(PROJECTS):
                nursery.start_soon(commit_batches, number)
        return now() - began


def config(events: str) -> str:
    """The text of a config whose only destination is for these events."""
    return _CONFIG.format(events=events)


def mixed(project: str, size: int) -> list[Event]:
    """Events of the mix as from the reader, parsed before the clock starts."""
    frames = [json.encode(event | {"projectId": project}) for event in islice(mix(project), size)]
    events = read_frames(frames, project, lambda _frame: None)
    assert len(events) == size
    return events


def _batches(events: Sequence[Event]) -> list[Sequence[Event]]:
    return [events[first : first + BATCH_EVENTS] for first in range(0, len(events), BATCH_EVENTS)]


async def _bare(url: str, empty: Callable[[], str], size: int) -> float:
    """Events a second when the driver alone inserts the same rows in as many transactions."""
    tables = [table.name for table in metadata.sorted_tables]
    with closing(_connect(url)) as source:
        stored = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    target = empty()
    async with open_storage(target):
        pass  # creates the tables
    with closing(_connect(target)) as connection:
        # A table that has rows in an empty store is none of events.
        empty_tables = [table for table in tables if not connection.execute(f"SELECT 1 FROM {table}").fetchone()]
        rows = {table: stored[table] for table in empty_tables if stored[table]}
        return size / _insert(connection, rows, transactions=max(1, size // ROWS_PER_TRANSACTION))


def _connect(url: str) -> Any:
    """A driver connection, as durable as the store's."""
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")
        return connection
    import psycopg

    return psycopg.connect(url)


def _insert(connection: Any, rows: Mapping[str, Sequence[Sequence[Any]]], *, transactions: int) -> float:
    """Insert the rows. Returns the seconds that it took."""
    mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
    texts = {
        table: f"INSERT INTO {table} VALUES ({', '.join([mark] * len(table_rows[0]))})"
        for table, table_rows in rows.items()
    }
    began, cursor = now(), connection.cursor()
    for number in range(transactions):
        for table, table_rows in rows.items():
            part = table_rows[
                number * len(table_rows) // transactions : (number + 1) * len(table_rows) // transactions
            ]
            if part:
                cursor.executemany(texts[table], part)
        connection.commit()
    return now() - began
