"""What an idle project costs in memory."""

import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import resident_kb
from benchmarks.processes import open_agent, open_sender

GOAL_KB: Final = 60
SETTLE_S: Final = 0.5
"""Pause between two looks at the memory; it has settled when two are the same within a percent."""

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
    """So many projects for a config."""
    return "".join(_PROJECT.format(number=one) for one in range(number))


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """One project, and many."""
    log_progress("memory of one project")
    one = await _resident_kb(1)
    log_progress(f"memory of {size.projects} projects")
    many = await _resident_kb(size.projects)
    each = (many - one) / (size.projects - 1)
    return [
        Figure("memory with 1 idle project", f"{one / 1024:.1f} MiB"),
        Figure(f"memory with {size.projects:,} idle projects", f"{many / 1024:.1f} MiB"),
        Figure("memory for each further project", f"{each:.1f} KB", f"at most {GOAL_KB} KB", each <= GOAL_KB),
    ]


async def _resident_kb(projects: int) -> int:
    """Of an agent that watches so many projects in which nothing happens."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as folder:
        async with open_sender() as sender:
            config = _CONFIG.format(port=sender.port) + project_tables(projects)
            async with open_agent(Path(folder), config) as pid:
                await sender.command("wait", sockets=projects)
                return await settled_kb(pid)


async def settled_kb(pid: int) -> int:
    before = 0
    while abs((size := resident_kb(pid)) - before) > size / 100:
        before = size
        await trio.sleep(SETTLE_S)
    return size
