"""Measures the wall time of commands."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.processes import AGENT, environment

HELP_GOAL_S: Final = 0.5
CHECK_GOAL_S: Final = 1.0

_CONFIG: Final = """
[orchestrator]
url = "http://localhost:9900"
username = "admin"
password = "admin123"

[[projects]]
id = "project-123"

[plugins.slack.team]
webhook_url = "https://hooks.slack.com/services/T0/B0/x"

[plugins.webhook.ops]
url = "https://example.org/hooks/aintandem"

[plugins.file_log.audit]
path = "notifications.jsonl"

[[rules]]
name = "failures"
events = ["*_failed", "sandbox_error"]
when = "run.duration is none or run.duration > 60"
notify = ["slack.team", "webhook.ops", "file_log.audit"]
title = "{{ run.name }} failed"
"""


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure ``--help``, and ``check`` of a config with three plugins and a rule."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        (folder / "config.toml").write_text(_CONFIG, encoding="utf-8")
        log_progress("wall time of --help")
        help_times = await _times(folder, ["--help"], size.starts)
        log_progress("wall time of check")
        check_times = await _times(folder, ["check", "config.toml"], size.starts)
    return [
        _figure("aintandem-notify --help", help_times, HELP_GOAL_S),
        _figure("aintandem-notify check", check_times, CHECK_GOAL_S),
    ]


def _figure(name: str, times: Sequence[float], goal: float) -> Figure:
    median = statistics.median(times)
    return Figure(
        f"{name}, median (best)", f"{median:.2f} s ({min(times):.2f} s)", f"under {goal:g} s", median < goal
    )


async def _times(folder: Path, arguments: Sequence[str], starts: int) -> list[float]:
    """Seconds of each start, without the first, which fills the caches of bytecode and disk."""
    times = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        await trio.run_process(
            [str(AGENT), *arguments], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - began)
    return times[1:]
