"""The benchmarks run, with small numbers, so that a broken one is noticed at once."""

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest
import trio
from benchmarks.__main__ import PARTS

ROOT = Path(__file__).parents[2]
EXPECTED: Final = MappingProxyType[str, tuple[str, ...]](
    {
        "throughput": ("bare trio-websocket", "no rule matches", "file_log", "to a callback", "lost"),
        "flood": ("most memory", "ends in the file"),
        "parsing": ("quick way", "tolerant way"),
        "memory": ("idle project",),
        "many_projects": ("projects in one process",),
        "catching_up": ("most memory",),
        "startup": ("--help", "check"),
        "latency": ("p50", "p99"),
        "ingest": ("durable ingest on SQLite",),
        "backlog": ("queued",),
        "dead": ("others dead",),
        "delivering": ("a queue on SQLite", "Apprise", "Alertmanager", "after 100 ms", "503"),
        "sharing": ("3 agents",),
        "stages": ("the stages", "open episodes", "held", "storm"),
    }
)
"""Words in the table of each benchmark."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks read /proc")
@pytest.mark.parametrize("part", PARTS)
async def test_every_figure_can_be_measured(part: str) -> None:
    with trio.fail_after(1800):
        done = await trio.run_process(
            [sys.executable, "-m", "benchmarks", "--quick", "--only", part],
            cwd=ROOT,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
    output = " ".join(done.stdout.decode().split())
    for words in EXPECTED[part]:
        assert words in output
