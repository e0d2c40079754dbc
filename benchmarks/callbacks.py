"""Measures events a second to a callback, and lost events: this library beside the official SDK on Node.js."""

import sys
from collections.abc import Mapping
from typing import Final

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import MARK, PROJECT
from benchmarks.official_sdk import FOLDER, SdkMissing, install_sdk, node
from benchmarks.processes import Sender, open_reader, open_sender
from benchmarks.throughput import WARM_UP, Round, Speed

SDK: Final = "the official SDK"
RECEIVE_PATH: Final = "the agent's receive path"
LIBRARY: Final = "this library"
ADDED_GOAL: Final = 0.2
"""Share of the receive path's processor time that the library may add to it."""

_OURS: Final[Mapping[str, str]] = {RECEIVE_PATH: "receive-path", LIBRARY: "library"}


def _command(reader: str, port: int) -> list[str]:
    if reader == SDK:
        return [node(), str(FOLDER / "reader.mjs"), f"http://127.0.0.1:{port}", PROJECT, MARK]
    return [sys.executable, "-m", "benchmarks.readers", _OURS[reader], str(port)]


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure all readers in turns, so that a slow minute affects all of them."""
    readers, missing = list(_OURS), ""
    try:
        node()
        install_sdk()
    except SdkMissing as reason:
        missing = str(reason)
    else:
        readers.append(SDK)
    rounds: dict[str, list[Round]] = {reader: [] for reader in readers}
    for number in range(size.rounds):
        log_progress(f"events a second to a callback, round {number + 1} of {size.rounds}")
        for reader in readers:
            rounds[reader].append(await _speed(reader, size.events))
    log_progress("events lost")
    lost = {reader: await _lost(reader, size.greeted) for reader in readers}
    return [
        *_figures({reader: Speed.of(own_rounds) for reader, own_rounds in rounds.items()}, missing),
        *(_loss(reader, count, size.greeted) for reader, count in lost.items()),
    ]


def _figures(speeds: Mapping[str, Speed], missing: str) -> list[Figure]:
    figures = []
    for reader, speed in speeds.items():
        figures += [
            Figure(f"to a callback: {reader}", f"{speed.events_per_s:,.0f} events/s"),
            Figure(f"to a callback: {reader}, processor time", f"{speed.cpu_us:.1f} µs/event"),
        ]
    added = speeds[LIBRARY].cpu_us / speeds[RECEIVE_PATH].cpu_us - 1
    goal = f"less than {ADDED_GOAL:.0%}"
    figures.append(Figure(f"{LIBRARY} adds to {RECEIVE_PATH}", f"{added:.0%}", goal, added < ADDED_GOAL))
    if missing:
        return [*figures, Figure(f"to a callback: {SDK}", f"not measured: {missing}")]
    return [*figures, *(_ratio(reader, SDK, speeds) for reader in _OURS)]


def _ratio(reader: str, other: str, speeds: Mapping[str, Speed]) -> Figure:
    ratio = speeds[reader].events_per_s / speeds[other].events_per_s
    return Figure(f"to a callback: {reader}, ratio to {other}", f"{ratio:.2f}")


def _loss(reader: str, lost: int, events: int) -> Figure:
    name = f"lost of {events:,} events that come at once: {reader}"
    return Figure(name, f"{lost:,}") if reader == SDK else Figure(name, f"{lost:,}", "0", lost == 0)


async def _speed(reader: str, events: int) -> Round:
    async with open_sender() as sender, open_reader(*_command(reader, sender.port)) as process:
        await sender.command("wait", sockets=1)
        # The SDK registers its listeners some moments after it opens its socket.
        await _send(sender, WARM_UP, "warm-up")
        await process.read()
        began = await _send(sender, events, "measured")
        end = await process.read()
        if end["events"] != events:
            raise SystemExit(f"{reader} gave {end['events']} events to its callback, {events} were sent")
        return Round(events, end["ended"] - began, end["cpu_s"])


async def _lost(reader: str, events: int) -> int:
    """The number of events that never reach the callback, if all are sent with the handshake response."""
    async with open_sender() as sender:
        await sender.command("prepare", events=events, salt="greeting")
        await sender.command("greet")
        async with open_reader(*_command(reader, sender.port)) as process:
            return events - int((await process.read())["events"])


async def _send(sender: Sender, events: int, salt: str) -> float:
    await sender.command("prepare", events=events, salt=salt)
    began: float = (await sender.command("send"))["began"]
    return began
