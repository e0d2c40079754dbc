"""Measures agents that share a PostgreSQL: time to watch all projects evenly, load, and takeover after a kill."""

import math
import os
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.chaos.stores import EMBEDDED, shared_store
from benchmarks.delivering import connect, postmaster
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import now, process_tree_cpu_seconds
from benchmarks.memory import project_tables
from benchmarks.processes import Sender, open_agent, open_sender

AGENTS: Final = 3
GOAL_S: Final = 15.0
"""Seconds within which a dead agent's projects must be watched again."""
WINDOW_S: Final = 5.0
"""Seconds of one measurement of the database's load."""
POLL_S: Final = 0.5
"""Seconds between two queries for the agents' numbers of projects."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[agent]
name = "agent-{number}"

[store]
url = "{store}"

[plugins.webhook.ops]
url = "http://127.0.0.1:9/"
"""
_SHARES: Final = """
SELECT count(projects.id) FROM agents LEFT JOIN projects ON projects.owner = agents.id GROUP BY agents.id
"""


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure three agents, of which one is killed."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        try:
            with shared_store(EMBEDDED, folder / "postgres") as url:
                assert url is not None
                return await _share(url, folder, size.projects, log_progress)
        except ImportError as error:
            return [Figure("agents that share a store", f"not measured: {error}")]


async def _share(url: str, folder: Path, projects: int, log_progress: LogProgress) -> list[Figure]:
    label = f"{AGENTS} agents, {projects:,} projects"
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(open_sender())
        database = stack.enter_context(connect(url))
        log_progress(f"{label}: until all are watched")
        began = now()
        pids = []
        for number in range(AGENTS):
            place = folder / f"agent-{number}"
            await trio.Path(place).mkdir()
            config = _CONFIG.format(port=sender.port, number=number, store=url)
            config += project_tables(projects)
            pids.append(await stack.enter_async_context(open_agent(place, config)))
        await sender.command("wait", sockets=projects)
        shares = await _wait_balanced(database, sender, projects)
        watched_s = now() - began
        log_progress(f"{label}: load of the database")
        load = await _idle_load(database, postmaster(url))
        log_progress(f"{label}: one is killed")
        killed = now()
        os.kill(pids[-1], signal.SIGKILL)
        await sender.command("fall", sockets=projects)
        await sender.command("wait", sockets=projects)
        taken_s = now() - killed
    return [
        Figure(f"{label}, from the first start until all are watched evenly", f"{watched_s:.1f} s"),
        Figure(f"{label}, fewest and most of an agent", f"{min(shares):,} and {max(shares):,}"),
        Figure(f"{label}, nothing happens, transactions", f"{load[0] / AGENTS:.1f} a second and agent"),
        Figure(f"{label}, nothing happens, the database's processor time", f"{load[1] * 100:.1f} % of a core"),
        Figure(
            f"{label}, one killed, until all are watched again",
            f"{taken_s:.1f} s",
            f"within {GOAL_S:.0f} s",
            taken_s <= GOAL_S,
        ),
    ]


async def _wait_balanced(database: Any, sender: Sender, projects: int) -> list[int]:
    """Wait until all agents watch about as many projects. Returns the number of each."""
    while True:
        shares = [count for (count,) in database.execute(_SHARES)]
        if len(shares) == AGENTS and sum(shares) == projects and max(shares) - min(shares) <= AGENTS:
            await sender.command("wait", sockets=projects)
            return shares
        await trio.sleep(POLL_S)


async def _idle_load(database: Any, server: int) -> tuple[float, float]:
    """Transactions a second, and the database's processor time as a share of a core, after the catch-up."""
    rate = math.inf
    while True:
        commits, seconds, before = _commits(database), process_tree_cpu_seconds(server), rate
        await trio.sleep(WINDOW_S)
        rate = (_commits(database) - commits) / WINDOW_S
        if rate > before * 0.9:
            return rate, (process_tree_cpu_seconds(server) - seconds) / WINDOW_S


def _commits(database: Any) -> float:
    ((commits,),) = database.execute("SELECT sum(xact_commit) FROM pg_stat_database").fetchall()
    return float(commits)
