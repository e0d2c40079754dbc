"""SIGTERM with a long queue, and SIGTERM twice."""

import signal
from collections import Counter
from pathlib import Path

import trio

from support.fault_case import open_case
from support.http_server import Silence

QUEUED = 100

SLOW = """
import os

import trio

from aintandem_notify.api import Notification, Plugin, hookimpl


class Slow(Plugin):
    @hookimpl
    async def deliver(self, notification: Notification) -> None:
        print("begun", notification.id, flush=True)
        await trio.sleep(float(os.environ["SLOW_S"]))
        print("done", notification.id, flush=True)
"""
TABLES = ('[plugins.slow.x]\nevents = ["task_failed", "agent_stopped"]\n', '[delivery]\ndrain_timeout = "20s"\n')


async def test_what_is_in_flight_ends_within_its_time_and_the_queue_stays(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow.py").write_text(SLOW)
    async with open_case(tmp_path) as case:

        def printed(word: str) -> Counter[str]:
            lines = (line.split() for agent in case.agents for line in agent.stdout)
            return Counter(identity for first, identity in lines if first == word)

        case.configure(*TABLES, only=())
        case.destinations["slow.x"] = lambda: printed("done")
        async with case.agent(environ={"SLOW_S": "1"}) as agent:
            await case.connected()
            await case.fail(*(f"t{number}" for number in range(QUEUED)))
            await agent.wait_for_output("begun")
        assert printed("begun") == printed("done")
        assert printed("done").total() < QUEUED
        async with case.agent(environ={"SLOW_S": "0"}) as agent:
            # The stop of the first agent is a notification, too.
            await agent.wait_for_output("done", times=QUEUED + 1 - printed("done").total())
        assert set(printed("done").values()) == {1}


async def test_what_does_not_end_in_time_is_sent_again_after_the_next_start(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure('[delivery]\ndrain_timeout = "2s"\n', webhook='timeout = "2m"\n')
        case.webhook.replies.append(Silence())
        async with case.agent() as agent:
            await case.connected()
            # In one write: frames not read before the stop are still the orchestrator's responsibility.
            await case.fail("t0", "t1", "t2")
            await case.webhook.server.wait_for_requests(1)
            await agent.wait_for_log("connected")
        async with case.agent():
            await case.arrived()
        assert sorted(case.webhook_runs()) == ["t0", "t1", "t2"]


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure('[delivery]\ndrain_timeout = "1h"\n', webhook='timeout = "1h"\n')
        case.webhook.replies.append(Silence())
        async with case.agent(ends=128 + signal.SIGTERM) as agent:
            await case.connected()
            await case.fail("t1")
            await case.webhook.server.wait_for_requests(1)
            await case.written()
            agent.terminate()
            await agent.wait_for_log("stopping")
            while agent.process.returncode is None:  # two that come at once count as one
                agent.terminate()
                with trio.move_on_after(0.1):
                    await agent.process.wait()
            await agent.wait()
        # At once: a line in the file may not be recorded as delivered yet.
        case.unfinished.update(case.destinations)
