"""Two links of one project: the previous one may end badly, and the one in use goes on."""

import gc
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from aintandem_notify.errors import LinkLost
from aintandem_notify.orchestrator.link.websocket import Frame, Link
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.watch.handover import OVERLAP_S, open_handover

TARGET = socket_target("http://memory", "p", "T1")


class BreakingLink:
    """Runs until ``broken`` is set. Then its task fails, as with an error of the library that nobody knows."""

    last_received_at = 0.0

    def __init__(self, error: str) -> None:
        self.broken = trio.Event()
        self._error = error

    async def run(self) -> None:
        await self.broken.wait()
        raise LinkLost(self._error)

    async def receive_batch(self) -> list[Frame]:
        raise NotImplementedError

    def take_buffered(self) -> list[Frame]:
        raise NotImplementedError

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_an_error_of_the_previous_link_does_not_end_the_one_in_use(
    autojump_clock: trio.testing.MockClock,
) -> None:
    previous, present = BreakingLink("previous"), BreakingLink("present")
    links = deque([previous, present])

    @asynccontextmanager
    async def connect(_: SocketTarget) -> AsyncIterator[Link]:
        yield links.popleft()

    async def hand_over() -> None:
        async with open_handover(connect) as handover:
            await handover.open(TARGET)
            await handover.open(TARGET)
            handover.release(previous)
            previous.broken.set()
            await trio.sleep(2 * OVERLAP_S)
            assert handover.links == [present]
            present.broken.set()
            await trio.sleep_forever()

    with pytest.raises(LinkLost, match="present"):
        await hand_over()


async def test_an_open_link_keeps_no_nursery_of_its_opening() -> None:
    """It would take a kilobyte for each of thousands of links."""

    @asynccontextmanager
    async def connect(_: SocketTarget) -> AsyncIterator[Link]:
        yield BreakingLink("never")

    def nurseries() -> int:
        gc.collect()
        return sum(isinstance(found, trio.Nursery) for found in gc.get_objects())

    async with open_handover(connect) as handover, trio.open_nursery() as beside:
        before = nurseries()
        await handover.open(TARGET)
        await trio.testing.wait_all_tasks_blocked()
        assert nurseries() == before
        beside.cancel_scope.cancel()
