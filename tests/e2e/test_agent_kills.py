"""The agent is ended again and again while events flow: nothing is lost, and little comes twice."""

import json
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from aintandem_notify_file_log import FileLog
from aintandem_notify_webhook import Webhook
from support.agent_process import AgentProcess, ended_well, open_agent
from support.configs import write_config
from support.raw_orchestrator import RawOrchestrator, RawSocket, event_text, frame, open_raw_orchestrator
from support.receivers import WebhookReceiver, open_webhook_receiver

ROUNDS = 5
EVENTS = 250


@dataclass
class Flow:
    """Sends events to whoever is connected until all are sent, each of a run of its own."""

    raw: RawOrchestrator
    chance: random.Random
    sent: int = 0
    all_sent: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        async for socket in self.raw.connections:
            try:
                await self._feed(socket)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                continue

    async def _feed(self, socket: RawSocket) -> None:
        while not socket.closed.is_set():
            numbers = range(self.sent, min(EVENTS, self.sent + self.chance.randint(1, 10)))
            self.sent = numbers.stop
            if not numbers:
                self.all_sent.set()
                return
            events = [event_text("task_failed", socket.project_id, taskId=f"t{n}", error="x") for n in numbers]
            await socket.send_bytes_raw(b"".join(map(frame, events)))
            await trio.sleep(self.chance.random() * 0.06)


@dataclass
class Bench:
    """What the agent runs between."""

    folder: Path
    config: Path
    flow: Flow
    webhook: WebhookReceiver

    async def end_again_and_again(self, end: Callable[[AgentProcess], None]) -> list[int]:
        """At random moments while events flow; then once more when all that is due has arrived. The exit codes."""
        codes = []
        for _ in range(ROUNDS):
            async with open_agent("run", self.config, cwd=self.folder) as agent:
                await agent.wait_for_log('"started"')
                await trio.sleep(self.flow.chance.random() * 0.3)
                end(agent)
                codes.append(await agent.wait())
        async with open_agent("run", self.config, cwd=self.folder) as agent:
            await agent.wait_for_log('"connected"')
            await self.flow.all_sent.wait()
            # The last in every queue: when it is there, all that was due before it is.
            await self.flow.raw.open_sockets[-1].send_event("task_failed", taskId="last", error="x")
            await self.webhook.server.wait_until(self._last_is_received)
            # Nothing tells of a file's growth on every system.
            while '"last"' not in self.log.read_text(encoding="utf-8"):  # noqa: ASYNC110
                await trio.sleep(0.02)
            await ended_well(agent)
        return codes

    def _last_is_received(self) -> bool:
        received = self.webhook.deliveries
        return bool(received) and received[-1]["data"]["event"]["taskId"] == "last"

    @property
    def log(self) -> Path:
        """What file_log writes."""
        return self.folder / "notifications.jsonl"

    @property
    def written(self) -> Counter[str]:
        """How often each notification stands in the log."""
        return Counter(json.loads(line)["id"] for line in self.log.read_text(encoding="utf-8").splitlines())

    def due(self, destination: str) -> set[str]:
        """The ids of all that had to reach the destination: one for each event that is journaled."""
        with closing(sqlite3.connect(self.folder / "store.db")) as store:
            assert store.execute("PRAGMA quick_check").fetchone() == ("ok",)
            (events,) = store.execute("SELECT count(*) FROM events WHERE type = 'task_failed'").fetchone()
            query = "SELECT notification_id FROM deliveries WHERE destination = ? AND state = 'delivered'"
            ids = {name for (name,) in store.execute(query, [destination])}
        assert len(ids) == events > 0
        return ids


@asynccontextmanager
async def open_bench(folder: Path, seed: int) -> AsyncIterator[Bench]:
    """Events flow until the block ends."""
    async with (
        open_raw_orchestrator() as raw,
        open_webhook_receiver(secret=None) as webhook,
        trio.open_nursery() as nursery,
    ):
        config = write_config(
            folder,
            raw.url,
            f'[store]\nurl = "sqlite:///{folder / "store.db"}"\n',
            f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nevents = ["task_failed"]\n',
            '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n',
        )
        flow = Flow(raw, random.Random(seed))
        nursery.start_soon(flow.run)
        yield Bench(folder, config, flow, webhook)
        nursery.cancel_scope.cancel()


def repeats(ids: Counter[str]) -> int:
    """How many came that were there already."""
    return ids.total() - len(ids)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path: Path, seed: int) -> None:
    async with open_bench(tmp_path, seed) as bench:
        codes = await bench.end_again_and_again(AgentProcess.kill)
        assert codes == [-signal.SIGKILL] * ROUNDS
        assert bench.webhook.ids.keys() == bench.due("webhook.ops")
        assert bench.written.keys() == bench.due("file_log.audit")
        assert repeats(bench.webhook.ids) <= ROUNDS * Webhook.in_flight
        assert repeats(bench.written) <= ROUNDS * FileLog.in_flight


async def test_ends_in_good_order_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path, seed=3) as bench:
        codes = await bench.end_again_and_again(AgentProcess.terminate)
        assert codes == [0] * ROUNDS
        assert bench.webhook.ids.keys() == bench.due("webhook.ops")
        assert bench.written.keys() == bench.due("file_log.audit")
        assert repeats(bench.webhook.ids) == repeats(bench.written) == 0
