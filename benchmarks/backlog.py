"""Measures start time and memory of an agent with many queued deliveries in its store."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.ingesting import fill
from benchmarks.machine import now
from benchmarks.memory import settled_kb
from benchmarks.processes import open_agent, open_sender

READY_GOAL_S: Final = 2.0
MEMORY_GOAL_MB: Final = 250.0
POLL_S: Final = 0.01
STARTED: Final = b'"event": "started"'

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[[projects]]
id = "project-0"

[store]
url = "sqlite:///{store}"

[plugins.webhook.ops]
url = "http://127.0.0.1:{closed}/"
events = ["task/*", "workflow/*", "sandbox/*"]
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start. ``ready_s`` is the time until the agent logs "started" and its link is open."""

    ready_s: float
    resident_kb: int


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Start an agent with an empty store, and one with a long queue for a destination that refuses connections."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        log_progress("start with an empty store")
        empty = await _start(folder / "empty", queued=0)
        log_progress(f"start with {size.queued:,} queued deliveries")
        full = await _start(folder / "full", queued=size.queued)
    megabytes = full.resident_kb / 1024
    label = f"with {size.queued:,} queued"
    return [
        Figure("ready after a start with an empty store", f"{empty.ready_s:.2f} s"),
        Figure(
            f"ready after a start {label}",
            f"{full.ready_s:.2f} s",
            f"within {READY_GOAL_S:.0f} s",
            full.ready_s <= READY_GOAL_S,
        ),
        Figure("memory with an empty store", f"{empty.resident_kb / 1024:.1f} MiB"),
        Figure(
            f"memory {label}",
            f"{megabytes:.1f} MiB",
            f"under {MEMORY_GOAL_MB:.0f} MiB",
            megabytes < MEMORY_GOAL_MB,
        ),
    ]


async def _start(folder: Path, *, queued: int) -> Start:
    await trio.Path(folder).mkdir()
    store = folder / "store.db"
    async with open_sender() as sender, _closed_port() as closed:
        config = _CONFIG.format(port=sender.port, store=store, closed=closed)
        if queued:
            await fill(f"sqlite:///{store}", folder, config, queued)
        began = now()
        async with open_agent(folder, config) as pid:
            while STARTED not in (folder / "agent.log").read_bytes():  # noqa: ASYNC110  # another process writes it
                await trio.sleep(POLL_S)
            await sender.command("wait", sockets=1)
            ready_s = now() - began
            return Start(ready_s, await settled_kb(pid))


@asynccontextmanager
async def _closed_port() -> AsyncIterator[int]:
    """A bound port at which nobody listens."""
    with trio.socket.socket() as bound:
        await bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
