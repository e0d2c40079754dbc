"""Measures the memory of idle projects."""

import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import resident_kb
from benchmarks.processes import open_agent, open_sender

GOAL_KB: Final = 40
SETTLE_S: Final = 0.5
"""Seconds between two readings of the memory; it has settled when two agree within a percent."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[plugins.file_log.audit]
path = "notifications.jsonl"
"""
_PROJECT: Final = """
[[projects]]
id = "project-{number}"
"""


def project_tables(number: int) -> str:
    """The config tables of so many projects."""
    return "".join(_PROJECT.format(number=index) for index in range(number))


def agent_config(port: int, projects: int) -> str:
    """The config of an agent that watches so many projects of the sender at ``port``."""
    return _CONFIG.format(port=port) + project_tables(projects)


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure with one project, and with many."""
    log_progress("memory of one project")
    single = await _resident_kb(1)
    log_progress(f"memory of {size.projects} projects")
    many = await _resident_kb(size.projects)
    each = (many - single) / (size.projects - 1)
    return [
        Figure("memory with 1 idle project", f"{single / 1024:.1f} MiB"),
        Figure(f"memory with {size.projects:,} idle projects", f"{many / 1024:.1f} MiB"),
        Figure("memory for each further project", f"{each:.1f} KB", f"at most {GOAL_KB} KB", each <= GOAL_KB),
    ]


async def _resident_kb(projects: int) -> int:
    """Memory of an agent that watches so many idle projects."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as folder:
        async with open_sender() as sender:
            config = agent_config(sender.port, projects)
            async with open_agent(Path(folder), config) as pid:
                await sender.command("wait", sockets=projects)
                return await settled_kb(pid)


async def settled_kb(pid: int) -> int:
    before = 0
    while abs((size := resident_kb(pid)) - before) > size / 100:
        before = size
        await trio.sleep(SETTLE_S)
    return size
