"""Rounds through the agent: until the notification of a last, special event is in its file."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.frames import MARK, PROJECT
from benchmarks.machine import cpu_seconds, now
from benchmarks.processes import Sender, open_agent, open_sender, wait_for_mark
from benchmarks.rounds import WARM_UP, Round, send

_EVERYTHING: Final = ("task/*", "workflow/*", "sandbox/*")
_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[[projects]]
id = "{project}"

[plugins.file_log.audit]
path = "notifications.jsonl"

[[rules]]
name = "benchmark"
events = {events}
notify = ["file_log.audit"]
"""


async def unmatched(events: int) -> Round:
    """A round in which only the last event has a notification."""
    return await _round([MARK], events, notified=2)


async def delivered(events: int) -> Round:
    """A round in which every event has a notification."""
    return await _round(_EVERYTHING, events, notified=WARM_UP + 1 + events + 1)


async def _round(matched: Sequence[str], events: int, notified: int) -> Round:
    async with _watching(matched) as (sender, folder, pid):
        log = folder / "notifications.jsonl"
        await send(sender, WARM_UP, "warm-up")
        await wait_for_mark(log, "warm-up")
        used = cpu_seconds(pid)
        began = await send(sender, events, "measured")
        await wait_for_mark(log, "measured")
        done = Round(events, now() - began, cpu_seconds(pid) - used)
        _check(log, notified)
        return done


def _check(log: Path, expected: int) -> None:
    """End the program if the agent lost or repeated a notification: its speed would mean nothing."""
    with log.open("rb") as lines:
        count = sum(1 for _ in lines)
    if count != expected:
        raise SystemExit(f"{expected} notifications were due, {count} are in the file")


@asynccontextmanager
async def _watching(matched: Sequence[str]) -> AsyncIterator[tuple[Sender, Path, int]]:
    """A connected agent: its sender, its folder and its process id."""
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        async with open_sender() as sender:
            config = _CONFIG.format(port=sender.port, project=PROJECT, events=list(matched))
            async with open_agent(folder, config) as pid:
                await sender.command("wait", sockets=1)
                yield sender, folder, pid
