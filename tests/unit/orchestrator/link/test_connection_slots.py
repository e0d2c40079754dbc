"""Slots for links: given out in order, a shortage is logged once, and first is always left for a handover."""

import trio
import trio.testing
from structlog.testing import capture_logs

from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots


async def test_a_project_without_a_slot_waits_and_knows_the_reason(autojump_clock: trio.testing.MockClock) -> None:
    slots = ConnectionSlots(2)
    turns: list[tuple[str, float]] = []

    async def watch(name: str) -> None:
        async with slots.acquire():
            turns.append((name, trio.current_time()))
            await trio.sleep(1)

    assert slots.wait_reason is None
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for name in "abcde":
                nursery.start_soon(watch, name)
                await trio.testing.wait_all_tasks_blocked()
            assert slots.wait_reason == (
                "waits for its turn: the limit of open files leaves room for 2 projects at a time"
            )
    # Two slots become free at the same moment, and trio may run either task first.
    assert sorted(turns) == [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2)]
    assert slots.wait_reason is None
    assert [(entry["log_level"], entry["watched"]) for entry in logs] == [("warning", 2)]


async def test_one_at_a_time_may_go_over_to_another_link_where_all_places_are_taken() -> None:
    slots = ConnectionSlots(1)
    async with slots.acquire():
        with slots.acquire_second() as first, slots.acquire_second() as other:
            assert (first, other) == (True, False)
        with slots.acquire_second() as again:
            assert again


async def test_many_may_go_over_at_a_time_where_there_are_places() -> None:
    slots = ConnectionSlots(3)
    async with slots.acquire():
        with (
            slots.acquire_second() as first,
            slots.acquire_second() as second,
            slots.acquire_second() as third,
            slots.acquire_second() as fourth,
        ):
            assert (first, second, third, fourth) == (True, True, True, False)


async def test_without_a_limit_no_project_waits() -> None:
    slots = ConnectionSlots()
    async with slots.acquire(), slots.acquire(), slots.acquire():
        assert slots.wait_reason is None
