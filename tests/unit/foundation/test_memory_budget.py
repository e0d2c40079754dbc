"""A budget of bytes: never exceeded, first come first served, and nothing is lost by a cancelled wait."""

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.foundation.memory_budget import MemoryBudget, free_locals


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


class Large:
    """A weakly referable value."""


def fails(value: Large) -> None:
    raise ValueError(str(type(value)))


def test_an_error_whose_locals_are_freed_keeps_nothing_of_the_calls_that_it_ended() -> None:
    values: list[weakref.ref[Large]] = []

    def chained() -> None:
        value = Large()
        values.append(weakref.ref(value))
        try:
            fails(value)
        except ValueError as error:
            raise KeyError("no") from error

    gc.disable()
    try:
        with pytest.raises(KeyError) as caught:
            chained()
        assert values[0]() is not None
        free_locals(caught.value)
        assert values[0]() is None
    finally:
        gc.enable()


def test_errors_that_caused_each_other_are_no_endless_way() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__context__, two.__context__ = two, one
    free_locals(one)
