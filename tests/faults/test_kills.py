"""The agent is ended at the worst moments, and repeatedly while events arrive."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from support.agent_process import AgentProcess
from support.fault_case import KIND, Case, open_case
from support.fault_counts import Counts, Record
from support.http_server import Silence
from support.raw_orchestrator import RawSocket, frame

KILLED = -signal.SIGKILL


async def test_events_read_but_not_committed_at_a_kill_are_caught_up(tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent(ends=KILLED) as agent:
            await case.connected()
            # A project counts as watched before only if the store has it.
            await case.fail("t0")
            await case.arrived()
            case.store.rename(away)
            await case.fail("t1", "t2")
            await agent.wait_for_log("reading pauses")
        away.rename(case.store)
        async with case.agent():
            await case.arrived()
        # The kill may have prevented the record that the first one was delivered.
        assert set(case.webhook_runs()) == set(case.due)
        assert case.caught_up() == {"t1", "t2"}


async def test_deliveries_committed_at_a_kill_are_sent_once_and_in_order(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure(webhook="parallel = 1\n")
        await case.webhook.go_down()
        async with case.agent(ends=KILLED):
            await case.connected()
            await case.fail(*(f"t{number}" for number in range(20)))
            await case.written()
        await case.webhook.come_up()
        async with case.agent():
            await case.arrived()
        assert case.webhook_runs() == case.due
        assert set(case.webhook.ids.values()) == {1}


async def test_deliveries_sent_at_a_kill_are_repeated_with_their_ids(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        case.webhook.replies.append(Silence())
        async with case.agent(ends=KILLED):
            await case.connected()
            await case.fail("t1")
            await case.webhook.server.wait_for_requests(1)
        async with case.agent():
            await case.arrived()
        first, second = (request.headers["webhook-id"] for request in case.webhook.requests)
        assert first == second


@dataclass
class Flow:
    """Sends ``events`` failures to the connected agent, each of its own run.

    Each agent gets an equal share of them on a fast or slow machine, and the last agent gets the rest.
    """

    case: Case
    chance: random.Random
    events: int
    sent: int = 0
    share: int = 0
    """The number of events that may have been sent by now."""
    all_sent: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        async for socket in self.case.raw.connections:
            try:
                await self._feed(socket)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                continue

    async def _feed(self, socket: RawSocket) -> None:
        while self.sent < self.share and not socket.closed.is_set():
            numbers = range(self.sent, min(self.share, self.sent + self.chance.randint(1, 10)))
            self.sent = numbers.stop
            texts = self.case.miss(*(f"t{number}" for number in numbers))
            await socket.send_bytes_raw(b"".join(map(frame, texts)))
            await trio.sleep(self.chance.random() * 0.06)
        if self.sent == self.events:
            self.all_sent.set()

    async def end_again_and_again(
        self, end: Callable[[AgentProcess], None], code: int, times: int, seconds: float
    ) -> None:
        """Ends agents at random moments while events arrive, then one after all expected events have arrived."""
        async with self.case.agent() as agent:
            # A project's first agent must live to record its watch: runs that ended earlier are never reported.
            await agent.wait_for_log('"connected"')
        for number in range(times):
            self.share = self.events * (number + 1) // (times + 1)
            async with self.case.agent(ends=code) as agent:
                await agent.wait_for_log('"started"')
                await trio.sleep(self.chance.random() * 0.3)
                end(agent)
                await agent.wait()
        self.share = self.events
        async with self.case.agent(seconds=seconds):
            # This agent gets events in any case, so it is connected now.
            await self.all_sent.wait()
            # The last in every queue: when it has arrived, all earlier ones have, too.
            await self.case.fail("last")
            await self.case.arrived()


async def test_kills_at_random_lose_nothing_and_repeat_only_what_was_in_flight(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    async with open_case(tmp_path, record) as case, trio.open_nursery() as nursery:
        case.configure()
        record("count", f"{counts.kills} kills, {counts.kill_events:,} events")
        flow = Flow(case, random.Random(1), counts.kill_events)
        nursery.start_soon(flow.run)
        await flow.end_again_and_again(AgentProcess.kill, KILLED, counts.kills, counts.seconds)
        nursery.cancel_scope.cancel()


async def test_ends_at_random_lose_nothing_and_repeat_nothing(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    async with open_case(tmp_path, record) as case, trio.open_nursery() as nursery:
        case.configure()
        record("count", f"{counts.ends} ends, {counts.end_events:,} events")
        flow = Flow(case, random.Random(3), counts.end_events)
        nursery.start_soon(flow.run)
        await flow.end_again_and_again(AgentProcess.terminate, 0, counts.ends, counts.seconds)
        nursery.cancel_scope.cancel()
    assert max(case.webhook.ids.values()) == max(case.logged_ids().values()) == 1
    assert KIND in {line["event"]["type"] for line in case.lines()}
