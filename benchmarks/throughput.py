"""Measures events a second through the agent and to a callback, beside a bare read loop and the official SDK."""

import statistics
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import PROJECT
from benchmarks.machine import now
from benchmarks.processes import open_baseline, open_sender
from benchmarks.rounds import WARM_UP, Round, Speed, send
from benchmarks.through_agent import delivered, unmatched
from benchmarks.to_callback import LIBRARY, OURS, RECEIVE_PATH, SDK, called, lost, sdk_missing

BARE: Final = "bare trio-websocket loop"
UNMATCHED: Final = "agent, no rule matches"
DELIVERED: Final = "agent, every event to file_log"

RATIOS: Final = (
    (UNMATCHED, "the bare loop", BARE, 0.6),
    (UNMATCHED, "the official SDK", SDK, 0.25),
    (DELIVERED, "the bare loop", BARE, 0.15),
    (RECEIVE_PATH, "the official SDK", SDK, None),
    (LIBRARY, "the official SDK", SDK, 1.2),
)
"""Each reader, the short name and the name of the one that it is compared with, and the least ratio of the two."""
DELIVERED_GOAL: Final = 12_000
ADDED_GOAL: Final = 0.2
"""Share of the receive path's processor time that the library may add to it."""


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure all readers in turns, so that a slow minute affects all of them."""
    missing = sdk_missing()
    callbacks = [*OURS, *([] if missing else [SDK])]
    readers: dict[str, Callable[[], Awaitable[Round]]] = {
        BARE: partial(_baseline, size.looped),
        UNMATCHED: partial(unmatched, size.events),
        DELIVERED: partial(delivered, size.delivered),
        **{name: partial(called, name, size.events) for name in callbacks},
    }
    rounds: dict[str, list[Round]] = {name: [] for name in readers}
    drained: list[float] = []
    for number in range(size.rounds):
        log_progress(f"events a second, round {number + 1} of {size.rounds}")
        drained.append(await _drain(size.events))
        for name, reader in readers.items():
            rounds[name].append(await reader())
    log_progress("events lost")
    return [
        Figure("the sender alone, into a reader that discards", f"{statistics.median(drained):,.0f} events/s"),
        *_figures({name: Speed.of(own_rounds) for name, own_rounds in rounds.items()}),
        *([Figure(SDK, f"not measured: {missing}")] if missing else []),
        *[_loss(name, await lost(name, size.greeted), size.greeted) for name in callbacks],
    ]


def _figures(speeds: Mapping[str, Speed]) -> list[Figure]:
    """The speeds, each with the ratios that are wanted of it."""
    figures = []
    for name, speed in speeds.items():
        fast = speed.events_per_s >= DELIVERED_GOAL
        goal = (f"at least {DELIVERED_GOAL:,}", fast) if name == DELIVERED else ("", None)
        figures.append(Figure(name, f"{speed.events_per_s:,.0f} events/s", *goal))
        figures.append(Figure(f"{name}, processor time", f"{speed.cpu_us:.2f} µs/event"))
    added = speeds[LIBRARY].cpu_us / speeds[RECEIVE_PATH].cpu_us - 1
    goal = (f"less than {ADDED_GOAL:.0%}", added < ADDED_GOAL)
    figures.append(Figure("this library adds to the agent's receive path", f"{added:.0%}", *goal))
    for name, label, other, least in RATIOS:
        if other in speeds:
            ratio = speeds[name].events_per_s / speeds[other].events_per_s
            goal = ("", None) if least is None else (f"at least {least}", ratio >= least)
            figures.append(Figure(f"{name}, ratio to {label}", f"{ratio:.2f}", *goal))
    return figures


def _loss(reader: str, count: int, events: int) -> Figure:
    name = f"lost of {events:,} events that come at once, {reader}"
    return Figure(name, f"{count:,}") if reader == SDK else Figure(name, f"{count:,}", "0", count == 0)


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
        await send(sender, WARM_UP, "warm-up")
        await loop.read()
        began = await send(sender, events, "measured")
        end = await loop.read()
        return Round(events, end["ended"] - began, end["cpu_s"])
