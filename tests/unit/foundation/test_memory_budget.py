"""A budget of bytes: never exceeded, first come first served, and nothing is lost by a cancelled wait."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.foundation.memory_budget import MemoryBudget


async def test_waiters_get_their_share_in_turn(nursery: trio.Nursery) -> None:
    budget, order = MemoryBudget(10), list[str]()

    async def use(name: str, size: int, leave: trio.Event) -> None:
        with budget.share() as share:
            await share.grow_to(size)
            order.append(name)
            await leave.wait()

    leaves = [trio.Event() for _ in range(4)]
    for name, size, leave in zip("abcd", (6, 8, 1, 3), leaves, strict=True):
        nursery.start_soon(use, name, size, leave)
        await wait_all_tasks_blocked()
    assert (order, budget.used) == (["a"], 6), "a small wish does not overtake a large one"
    leaves[0].set()
    await wait_all_tasks_blocked()
    assert (sorted(order), budget.used) == (["a", "b", "c"], 9)
    leaves[1].set()
    await wait_all_tasks_blocked()
    assert (sorted(order), budget.used) == (["a", "b", "c", "d"], 4)
    leaves[2].set()
    leaves[3].set()
    await wait_all_tasks_blocked()
    assert budget.used == 0


async def test_more_than_all_of_it_is_all_of_it() -> None:
    budget = MemoryBudget(10)
    with budget.share() as share:
        await share.grow_to(1000)
        assert (share.size, budget.used) == (10, 10)
        await share.grow_to(5)
        assert share.size == 10
    assert budget.used == 0


@pytest.mark.parametrize("seconds", [1.0, 2.0])
async def test_a_cancelled_wait_blocks_no_other(
    seconds: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    budget, done = MemoryBudget(10), trio.Event()

    async def hold() -> None:
        await budget.acquire(6)
        await trio.sleep(2)
        budget.release(6)

    async def small() -> None:
        await budget.acquire(4)
        budget.release(4)
        done.set()

    nursery.start_soon(hold)
    await trio.sleep(0.1)
    with trio.move_on_after(seconds - 0.1 + (0.05 if seconds == 1.0 else 0.0)):
        nursery.start_soon(_after, 0.01, small)
        await budget.acquire(8)
        budget.release(8)
    await done.wait()
    await trio.sleep(5)
    assert budget.used == 0


async def _after(seconds: float, act: object) -> None:
    await trio.sleep(seconds)
    await act()  # type: ignore[operator]
