"""Measures the effect of dead destinations on a healthy webhook: its delays beside two others, dead or healthy."""

import statistics
import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import PROJECT
from benchmarks.latency import Receiver, listen
from benchmarks.processes import open_agent, open_sender

RATE: Final = 50
"""Events a second; each leads to three deliveries."""
GOAL: Final = 1.1
"""Upper limit for p99 beside dead destinations, as a multiple of p99 beside healthy ones."""
MEMORY: Final = Path("/dev/shm")  # where Linux keeps files in memory
"""Folder for the store: a disk's slow moments would affect one run of a pair and decide the result."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[[projects]]
id = "{project}"

[plugins.webhook.watched]
url = "http://127.0.0.1:{watched}/"
events = ["task_failed"]

[plugins.webhook.silent]
url = "http://127.0.0.1:{silent}/"
events = ["task_failed"]
timeout = "1s"

[plugins.webhook.refusing]
url = "http://127.0.0.1:{refusing}/"
events = ["task_failed"]
"""


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure in pairs of runs: one with three healthy destinations, one with two of them dead.

    A slow minute affects both runs of a pair.
    """
    well: list[float] = []
    dead: list[float] = []
    for number in range(size.pairs):
        log_progress(f"delays beside a dead destination, pair {number + 1} of {size.pairs}")
        # The order alternates, so that a drift over time favours neither.
        for alive in (True, False) if number % 2 else (False, True):
            (well if alive else dead).append(await _p99_s(size.trickled // 2, alive=alive))
    ratio = statistics.median(after / before for before, after in zip(well, dead, strict=True))
    return [
        Figure("frame to webhook, others well, p99", f"{statistics.median(well) * 1000:.1f} ms"),
        Figure("frame to webhook, others dead, p99", f"{statistics.median(dead) * 1000:.1f} ms"),
        Figure("others dead, ratio of p99 in pairs", f"{ratio:.2f}", f"under {GOAL}", ratio < GOAL),
    ]


async def _p99_s(events: int, *, alive: bool) -> float:
    """The p99 delay of one run. Of the dead, one never answers and one refuses connections."""
    receivers = [Receiver(events) for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-", dir=MEMORY) as folder:
        async with trio.open_nursery() as nursery, open_sender() as sender:
            watched, silent, refusing = [await nursery.start(listen, receiver.serve) for receiver in receivers]
            with trio.socket.socket() as closed:
                await closed.bind(("127.0.0.1", 0))
                if not alive:
                    silent, refusing = await nursery.start(listen, _ignore), closed.getsockname()[1]
                config = _CONFIG.format(
                    port=sender.port, project=PROJECT, watched=watched, silent=silent, refusing=refusing
                )
                async with open_agent(Path(folder), config):
                    await sender.command("wait", sockets=1)
                    await sender.command("trickle", rate=RATE, events=events)
                    await receivers[0].complete.wait()
            nursery.cancel_scope.cancel()
    return statistics.quantiles(receivers[0].delays_s, n=100)[98]


async def _ignore(stream: trio.SocketStream) -> None:
    """Read everything, and never answer."""
    while await stream.receive_some(65536):
        pass
