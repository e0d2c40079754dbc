"""Measures deliveries a second from a queue to one and to several webhooks, and the processor time of each."""

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.chaos.stores import EMBEDDED, shared_store
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.ingesting import fill
from benchmarks.latency import listen
from benchmarks.machine import cpu_seconds, process_tree_cpu_seconds
from benchmarks.processes import open_agent, open_sender
from benchmarks.webhook_peers import PeerMissing, alertmanager_speed, apprise_speed
from benchmarks.webhook_receiver import (
    Answer,
    RequestCounter,
    at_once,
    from_far_away,
    in_two_writes,
    sometimes_busy,
)

WEBHOOKS: Final = 8
"""Destinations in the second round."""

AGENT_GOAL: Final = 1200
"""Deliveries a second to one webhook that answers at once."""
APPRISE: Final = "Apprise"
APPRISE_RATIO: Final = 2
GOALS_US: Final = {"SQLite": 800, "PostgreSQL": 1200}
"""By store: microseconds of a delivery to one webhook, of the agent and the database together."""

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


@dataclass(frozen=True, slots=True)
class DrainRate:
    """Deliveries a second, and processor time of one in microseconds: of the agent and of PostgreSQL."""

    speed: float
    agent_us: float
    database_us: float


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure with SQLite, and with PostgreSQL if it is installed; then receivers that are not at their best."""
    figures = await _beside_peers(size, log_progress)
    for name, shared in (("SQLite", None), ("PostgreSQL", EMBEDDED)):
        try:
            for webhooks in (1, WEBHOOKS):
                log_progress(f"deliveries a second to {webhooks} from {name}")
                drained = await _drain(shared, webhooks, size.drained, at_once)
                figures += _figures(name, webhooks, drained)
        except ImportError as error:
            figures.append(Figure(f"deliveries from {name}", f"not measured: {error}"))
    for label, goal, deliveries, answer in (
        ("answers after 100 ms", 280, size.drained // 4, from_far_away),
        ("answers at once in two small writes", 500, size.drained // 4, in_two_writes),
        ("answers one in twenty with 503", 15, size.drained // 8, sometimes_busy()),
    ):
        log_progress(f"deliveries a second to a webhook that {label}")
        speed = (await _drain(None, 1, deliveries, answer)).speed
        figures.append(
            Figure(
                f"a queue to a webhook that {label}",
                f"{speed:,.0f} deliveries/s",
                f"at least {goal:,}",
                speed >= goal,
            )
        )
    return figures


async def _beside_peers(size: Size, log_progress: LogProgress) -> list[Figure]:
    """One webhook that answers at once: the agent, Apprise and Alertmanager in turns. The medians count."""
    peers = {APPRISE: apprise_speed, "Alertmanager": alertmanager_speed}
    speeds: dict[str, list[float]] = {}
    figures: list[Figure] = []
    for number in range(size.rounds):
        log_progress(f"deliveries a second beside Apprise and Alertmanager, round {number + 1} of {size.rounds}")
        speeds.setdefault("agent", []).append((await _drain(None, 1, size.drained // 4, at_once)).speed)
        for name, speed_of in list(peers.items()):
            try:
                speeds.setdefault(name, []).append(await speed_of(at_once, size.drained // 4))
            except PeerMissing as error:
                figures.append(Figure(f"notifications to a webhook by {name}", f"not measured: {error}"))
                del peers[name]
    agent = statistics.median(speeds.pop("agent"))
    figures.append(
        Figure(
            "a queue to a webhook that answers at once",
            f"{agent:,.0f} deliveries/s",
            "at least 1,200",
            agent >= AGENT_GOAL,
        )
    )
    for name in peers:
        peer = statistics.median(speeds[name])
        ratio = agent / peer
        figures.append(Figure(f"notifications to a webhook by {name}", f"{peer:,.0f}/s"))
        label = f"a queue to a webhook, ratio to {name}"
        if name == APPRISE:
            figures.append(Figure(label, f"{ratio:.2f}", f"at least {APPRISE_RATIO}", ratio >= APPRISE_RATIO))
        else:
            figures.append(Figure(label, f"{ratio:.2f}"))
    return figures


def _figures(name: str, webhooks: int, drained: DrainRate) -> list[Figure]:
    label = f"a queue on {name} to {webhooks} webhook{'s' if webhooks > 1 else ''}"
    total_us, goal_us = drained.agent_us + drained.database_us, GOALS_US[name]
    figures = [
        Figure(label, f"{drained.speed:,.0f} deliveries/s"),
        Figure(f"{label}, the agent's processor time", f"{drained.agent_us:,.0f} µs/delivery"),
    ]
    if drained.database_us:
        figures.append(
            Figure(f"{label}, the database's processor time", f"{drained.database_us:,.0f} µs/delivery")
        )
    if webhooks == 1:
        figures.append(
            Figure(
                f"{label}, processor time",
                f"{total_us:,.0f} µs/delivery",
                f"at most {goal_us:,}",
                total_us <= goal_us,
            )
        )
    return figures


async def _drain(shared: str | None, webhooks: int, deliveries: int, answer: Answer) -> DrainRate:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-benchmark-")))
        url = stack.enter_context(shared_store(shared, folder / "postgres"))
        counter = RequestCounter(deliveries, answer)
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
    return DrainRate(deliveries / counter.took_s, agent_s / deliveries * 1e6, database_s / deliveries * 1e6)


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
