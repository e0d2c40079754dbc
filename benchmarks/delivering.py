"""Measures deliveries a second from a queue to one and to several webhooks, and the processor time of each."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.chaos.stores import EMBEDDED, shared_store
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.ingesting import fill
from benchmarks.latency import first_request, listen
from benchmarks.machine import cpu_seconds, now, process_tree_cpu_seconds
from benchmarks.processes import open_agent, open_sender

WEBHOOKS: Final = 8
"""Destinations in the second round."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[[projects]]
id = "project-*"

[store]
url = "{store}"
"""
_WEBHOOK: Final = """
[plugins.webhook.ops-{number}]
url = "http://127.0.0.1:{receiver}/{number}"
events = ["task/*", "workflow/*", "sandbox/*"]
"""


class RequestCounter:
    """The receiver of all webhooks: accepts every request, and records the times of the first and the last."""

    def __init__(self, expected: int) -> None:
        self.began_s = 0.0
        self.ended_s = 0.0
        self.begun, self.complete = trio.Event(), trio.Event()
        self._missing = expected

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        received = b""
        while arrived := await stream.receive_some(65536):
            received += arrived
            while (request := first_request(received)) is not None:
                _, received = request
                self._count()
                await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    def _count(self) -> None:
        self._missing -= 1
        self.ended_s = now()
        if not self.begun.is_set():
            self.began_s = self.ended_s
            self.begun.set()
        if self._missing == 0:
            self.complete.set()


@dataclass(frozen=True, slots=True)
class DrainRate:
    """Deliveries a second, and processor time of one in microseconds: of the agent and of PostgreSQL."""

    speed: float
    agent_us: float
    database_us: float


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure with SQLite, and with PostgreSQL if it is installed."""
    figures: list[Figure] = []
    for name, shared in (("SQLite", None), ("PostgreSQL", EMBEDDED)):
        try:
            for webhooks in (1, WEBHOOKS):
                log_progress(f"deliveries a second to {webhooks} from {name}")
                figures += _figures(name, webhooks, await _drain(shared, webhooks, size.drained))
        except ImportError as error:
            figures.append(Figure(f"deliveries from {name}", f"not measured: {error}"))
    return figures


def _figures(name: str, webhooks: int, drained: DrainRate) -> list[Figure]:
    label = f"a queue on {name} to {webhooks} webhook{'s' if webhooks > 1 else ''}"
    figures = [
        Figure(label, f"{drained.speed:,.0f} deliveries/s"),
        Figure(f"{label}, the agent's processor time", f"{drained.agent_us:,.0f} µs/delivery"),
    ]
    if drained.database_us:
        figures.append(
            Figure(f"{label}, the database's processor time", f"{drained.database_us:,.0f} µs/delivery")
        )
    return figures


async def _drain(shared: str | None, webhooks: int, deliveries: int) -> DrainRate:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-benchmark-")))
        url = stack.enter_context(shared_store(shared, folder / "postgres"))
        counter = RequestCounter(deliveries)
        async with trio.open_nursery() as nursery, open_sender() as sender:
            receiver = await nursery.start(listen, counter.serve)
            config = _CONFIG.format(port=sender.port, store=url or f"sqlite:///{folder / 'store.db'}")
            config += "".join(_WEBHOOK.format(number=number, receiver=receiver) for number in range(webhooks))
            await fill(url or f"sqlite:///{folder / 'store.db'}", folder, config, deliveries // webhooks)
            async with open_agent(folder, config) as pid:
                await counter.begun.wait()
                agent_s, database_s = cpu_seconds(pid), _database_s(url)
                await counter.complete.wait()
                agent_s = cpu_seconds(pid) - agent_s
                database_s = _database_s(url) - database_s
            nursery.cancel_scope.cancel()
    took_s = counter.ended_s - counter.began_s
    return DrainRate(deliveries / took_s, agent_s / deliveries * 1e6, database_s / deliveries * 1e6)


def _database_s(url: str | None) -> float:
    """Processor time of all PostgreSQL processes so far; 0 with SQLite, which runs in the agent."""
    return 0.0 if url is None else process_tree_cpu_seconds(postmaster(url))


def postmaster(url: str) -> int:
    """Process id of the database's main process, which runs on this machine."""
    with connect(url) as admin:
        (folder,) = admin.execute("SHOW data_directory").fetchone()
    return int((Path(folder) / "postmaster.pid").read_text().split()[0])


def connect(url: str) -> Any:
    """A driver connection with autocommit."""
    import psycopg

    return psycopg.connect(url, autocommit=True)
