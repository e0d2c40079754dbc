"""Measures events a second through the agent, as a ratio to a bare read loop in the same run."""

import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import MARK, PROJECT
from benchmarks.machine import cpu_seconds, now
from benchmarks.processes import Sender, open_agent, open_baseline, open_sender, wait_for_mark

UNMATCHED_GOAL: Final = 0.6
DELIVERED_GOAL: Final = 0.15
EVERYTHING: Final = ("task/*", "workflow/*", "sandbox/*")
WARM_UP: Final = 2000
"""Events before the clock starts. They exclude imports, first statements and cold caches from the measurement."""

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


@dataclass(frozen=True, slots=True)
class Round:
    """The wall time of one round, and the processor time of the reading process, in seconds."""

    events: int
    elapsed_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """The medians of some rounds."""

    events_per_s: float
    cpu_us: float

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> "Speed":
        """The medians of ``rounds``."""
        return cls(
            statistics.median(round_.events / round_.elapsed_s for round_ in rounds),
            statistics.median(round_.cpu_s / round_.events * 1e6 for round_ in rounds),
        )


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure the bare loop, no matching rule, and every event to a file.

    They take turns, so that a slow minute affects all of them.
    """
    bare: list[Round] = []
    unmatched: list[Round] = []
    delivered: list[Round] = []
    drained: list[float] = []
    for number in range(size.rounds):
        log_progress(f"events a second, round {number + 1} of {size.rounds}")
        drained.append(await _drain(size.events))
        bare.append(await _baseline(size.events))
        unmatched.append(await _agent(size.events, [MARK]))
        delivered.append(await _agent(size.delivered, EVERYTHING))
    return _figures(statistics.median(drained), Speed.of(bare), Speed.of(unmatched), Speed.of(delivered))


def _figures(sender: float, bare: Speed, unmatched: Speed, delivered: Speed) -> list[Figure]:
    return [
        Figure("the sender alone, into a reader that discards", f"{sender:,.0f} events/s"),
        *_speed("bare trio-websocket loop", bare),
        *_speed("agent, no rule matches", unmatched),
        _ratio("agent, no rule matches, ratio to the bare loop", unmatched, bare, UNMATCHED_GOAL),
        *_speed("agent, every event to file_log", delivered),
        _ratio("agent, every event to file_log, ratio to the bare loop", delivered, bare, DELIVERED_GOAL),
    ]


def _speed(name: str, speed: Speed) -> list[Figure]:
    return [
        Figure(name, f"{speed.events_per_s:,.0f} events/s"),
        Figure(f"{name}, processor time", f"{speed.cpu_us:.1f} µs/event"),
    ]


def _ratio(name: str, speed: Speed, bare: Speed, goal: float) -> Figure:
    ratio = speed.events_per_s / bare.events_per_s
    return Figure(name, f"{ratio:.2f}", f"at least {goal}", ratio >= goal)


async def _drain(events: int) -> float:
    """Events a second that the sender sends to a reader that discards them."""
    async with open_sender() as sender:
        size = (await sender.command("prepare", events=events, salt="drain"))["bytes"]
        stream = await trio.open_tcp_stream("127.0.0.1", sender.port)
        async with stream:
            await stream.send_all(
                f"GET /api/progress/subscribe/{PROJECT} HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n".encode()
            )
            await sender.command("wait", sockets=1)
            await stream.receive_some(4096)
            async with trio.open_nursery() as nursery:
                began = now()
                nursery.start_soon(_discard, stream, size)
                await sender.command("send")
            return events / (now() - began)


async def _discard(stream: trio.SocketStream, size: int) -> None:
    while size > 0:
        size -= len(await stream.receive_some(2**20))


async def _baseline(events: int) -> Round:
    async with open_sender() as sender, open_baseline(sender.port, WARM_UP, events) as loop:
        await sender.command("wait", sockets=1)
        await _send(sender, WARM_UP, "warm-up")
        await loop.read()
        began = await _send(sender, events, "measured")
        end = await loop.read()
        return Round(events, end["ended"] - began, end["cpu_s"])


async def _agent(events: int, matched: Sequence[str]) -> Round:
    async with _watching(matched) as (sender, folder, pid):
        log = folder / "notifications.jsonl"
        await _send(sender, WARM_UP, "warm-up")
        await wait_for_mark(log, "warm-up")
        used = cpu_seconds(pid)
        began = await _send(sender, events, "measured")
        await wait_for_mark(log, "measured")
        done = Round(events, now() - began, cpu_seconds(pid) - used)
        _check(log, 2 if matched == [MARK] else WARM_UP + 1 + events + 1)
        return done


def _check(log: Path, expected: int) -> None:
    """End the program if the agent lost or repeated a notification: its speed would mean nothing."""
    with log.open("rb") as lines:
        count = sum(1 for _ in lines)
    if count != expected:
        raise SystemExit(f"{expected} notifications were due, {count} are in the file")


async def _send(sender: Sender, events: int, salt: str) -> float:
    """Send events. Returns the time at which the first byte was sent."""
    await sender.command("prepare", events=events, salt=salt)
    began: float = (await sender.command("send"))["began"]
    return began


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
