"""The store's disk fills up under load. Failing disks are in ``e2e/test_agent_store_faults``."""

import json
from collections import Counter
from pathlib import Path

import trio

from support.fault_case import Case, open_case
from support.http_server import Held, Reply
from support.small_disk import SmallDisk, disk

__all__ = ["disk"]


def _on(disk: SmallDisk, case: Case) -> None:
    """The store is on the small disk. Notices of the agent's own trouble are not among the expected deliveries."""
    case.store = disk.path / "store.db"
    case.configure()


async def test_a_full_disk_pauses_reading_and_loses_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_case(tmp_path) as case:
        _on(disk, case)
        async with case.agent() as agent:
            socket = await case.connected()
            await case.fail("t0")
            await case.arrived()
            disk.fill()
            await case.fail(*(f"t{number}" for number in range(1, 200)))
            assert "the disk is full" in await agent.wait_for_log("reading pauses")
            disk.empty()
            await case.arrived()
            assert not socket.closed.is_set()
        assert case.logged_runs() == case.due
        assert sorted(case.webhook_runs()) == sorted(case.due)


async def test_deliveries_sent_while_the_disk_filled_are_not_sent_again(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_case(tmp_path) as case:
        _on(disk, case)
        answered = trio.Event()
        case.webhook.replies.append(Held(answered, Reply(204)))
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t0", "t1", "t2")
            await case.webhook.server.wait_for_requests(1)
            # Runs are delivered side by side, so any of them may have come first.
            held = json.loads(case.webhook.requests[0].body)["data"]["event"]["taskId"]
            disk.fill()
            answered.set()
            # An event to store, so that the agent notices the full disk in any case.
            await case.fail(*(f"t{number}" for number in range(3, 100)))
            await agent.wait_for_log("reading pauses")
            disk.empty()
            # The test answered the first request by hand, so the receiver did not count it as accepted.
            await case.webhook.server.wait_until(lambda: set(case.webhook_runs()) == set(case.due) - {held})
            await case.written()
        sent = [request.headers["webhook-id"] for request in case.webhook.requests]
        assert len(sent) == len(set(sent))
        case.destinations["webhook.ops"] = lambda: Counter(sent)
