"""A few seconds of chaos. The long runs are benchmarks; the promises hold in short runs, too."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[2]
KINDS = ("kill", "cut", "restart", "busy", "repeat", "late", "reload")
"""Faults that end quickly; after others a destination rightly pauses for many seconds."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks read /proc")
async def test_a_short_night_loses_nothing_and_repeats_only_what_was_in_flight() -> None:
    only = [part for kind in KINDS for part in ("--only", kind)]
    command = [
        sys.executable,
        "-m",
        "benchmarks.chaos",
        "--minutes",
        "0.05",
        "--kills",
        "2",
        "--events",
        "500",
        *only,
    ]
    with trio.fail_after(1800):
        done = await trio.run_process(
            command, cwd=ROOT, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    assert "2 kills" in " ".join(output.split())
