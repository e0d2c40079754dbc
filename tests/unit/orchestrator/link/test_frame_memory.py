"""The memory that all links share: large messages one at a time, small frames as fast as the store takes them."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aintandem_notify.foundation.memory_budget import MemoryBudget
from aintandem_notify.orchestrator.link.frame_memory import COPIES, FRAME_OVERHEAD_BYTES, FrameMemory, LinkMemory


@pytest.fixture
def memory() -> FrameMemory:
    memory = FrameMemory()
    memory.large = MemoryBudget(COPIES * 1000)
    return memory


async def test_a_large_message_waits_until_the_events_of_the_previous_one_are_stored(
    memory: FrameMemory, nursery: trio.Nursery
) -> None:
    first, second = LinkMemory(memory), LinkMemory(memory)
    await first.reserve(1000)
    nursery.start_soon(second.reserve, 500)
    for step in (lambda: first.add_frames(1, 1000), first.hand_over):
        await wait_all_tasks_blocked()
        assert (second.is_waiting, memory.large.used) == (True, COPIES * 1000)
        step()
    await wait_all_tasks_blocked()
    assert second.is_waiting, "it is handed over, and not safe yet"
    first.hand_over()
    await wait_all_tasks_blocked()
    assert (second.is_waiting, memory.large.used) == (False, COPIES * 500)


@pytest.mark.parametrize("was_read", [False, True])
async def test_a_link_that_ends_gives_everything_back(memory: FrameMemory, was_read: bool) -> None:
    link = LinkMemory(memory)
    link.add_frames(1, 10)
    link.hand_over()
    link.add_frames(1, 20)
    await link.reserve(1000)
    if was_read:
        link.add_frames(1, 1000)
    assert (memory.large.used, memory.buffered) == (COPIES * 1000, 30 + 2 * FRAME_OVERHEAD_BYTES)
    link.close()
    assert (memory.large.used, memory.buffered) == (0, 0)
    await link.reserve(1000)
    assert memory.large.used == 0, "its reader may be about to ask"


async def test_if_much_is_buffered_each_link_hands_its_frames_over() -> None:
    memory = FrameMemory(max_buffered=10_000, min_per_link=1_000)
    busy, other = LinkMemory(memory), LinkMemory(memory)
    was_read = 0
    while busy.add_frames(1, 436):
        was_read += 1
    assert was_read == 19
    assert other.add_frames(1, 436), "also now it may read a little"
    assert not other.add_frames(1, 500)
    busy.hand_over()
    assert not busy.add_frames(1, 1_000), "the events of handed over frames are not stored yet"
    busy.hand_over()
    assert other.add_frames(1, 1)
