"""The benchmarks run: with small numbers, so that nobody finds out a year later that they do not."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at through /proc")
async def test_every_figure_can_be_measured() -> None:
    with trio.fail_after(300):
        done = await trio.run_process(
            [sys.executable, "-m", "benchmarks", "--quick"],
            cwd=ROOT,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )

    shown = " ".join(done.stdout.decode().split())
    for words in (
        "bare trio-websocket",
        "no rule matches",
        "file_log",
        "idle project",
        "--help",
        "p99",
        "to a callback",
        "lost",
        "durable ingest on SQLite",
        "queued",
        "others dead",
    ):
        assert words in shown
