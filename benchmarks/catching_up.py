"""Measures memory and time for catching up on projects in which many tasks with long outputs have ended."""

import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import peak_kb
from benchmarks.memory import project_tables
from benchmarks.processes import open_agent, open_sender

PROJECTS: Final = 8
OUTPUT_LENGTH: Final = 150_000
"""Characters of each task's output."""
GOAL_MIB: Final = 300
POLL_S: Final = 0.1

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[plugins.file_log.audit]
path = "notifications.jsonl"

[store]
url = "sqlite:///{folder}/store.db"
"""


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure projects in which many tasks ended in one gap of the connection."""
    log_progress(f"catching up on {PROJECTS} projects with {size.missed:,} tasks each")
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as folder:
        async with open_sender() as sender:
            config = _CONFIG.format(port=sender.port, folder=folder) + project_tables(PROJECTS)
            async with open_agent(Path(folder), config) as pid:
                await sender.command("wait", sockets=PROJECTS)
                log = Path(folder) / "agent.log"
                await sender.command("history", tasks=size.missed, output=OUTPUT_LENGTH)
                await sender.command("drop")
                began = trio.current_time()
                while log.read_text(encoding="utf-8").count("caught up") < PROJECTS:  # noqa: ASYNC110  # another process writes it
                    await trio.sleep(POLL_S)
                took, peak = trio.current_time() - began, peak_kb(pid) / 1024
    name = f"{PROJECTS} projects, {size.missed:,} tasks each with {OUTPUT_LENGTH // 1000} KB of output, missed"
    return [
        Figure(f"{name}: most memory", f"{peak:.0f} MiB", f"at most {GOAL_MIB} MiB", peak <= GOAL_MIB),
        Figure(f"{name}: until they are stored", f"{took:.0f} s"),
    ]
