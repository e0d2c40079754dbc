"""Where events wait: order, bounds, counting what was dropped, and an end that is told once."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.client.channels.event_filter import TASKS, RunFilter
from aintandem_notify.client.channels.subscriber_queue import CAPACITY, QueueClosed, RunQueue, SubscriberQueue
from aintandem_notify.domain.events import Event, Family
from support.happenings import happening

T1 = RunFilter(Family.TASK, "t-1")
NUMBERED = [happening("output", output=str(number)) for number in range(60)]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(1, 30))
def test_a_buffer_keeps_the_newest_and_counts_the_rest(sizes: list[int], buffer: int) -> None:
    outlet = SubscriberQueue(T1, buffer=buffer)
    put: list[Event] = []
    for size in sizes:
        batch = NUMBERED[len(put) % 30 : len(put) % 30 + size]
        put += batch
        outlet.put(batch)
    assert not outlet.is_full, "nobody is held back"
    kept = outlet._waiting
    assert kept == put[-buffer:]
    assert outlet.dropped == len(put) - len(kept)


def test_a_buffer_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SubscriberQueue(T1, buffer=0)


async def test_without_a_buffer_whoever_puts_waits_for_room() -> None:
    outlet = SubscriberQueue(T1)
    outlet.put(NUMBERED[:1] * (CAPACITY - 1))
    await outlet.room()
    outlet.put(NUMBERED[:1])
    assert outlet.is_full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.room)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert len(await outlet.take()) == CAPACITY
    assert outlet.dropped == 0


@pytest.mark.parametrize("end", [SubscriberQueue.end, SubscriberQueue.drop])
async def test_nobody_waits_for_room_in_what_is_closed(end: object) -> None:
    outlet = SubscriberQueue(T1)
    outlet.put(NUMBERED[:1] * CAPACITY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.room)
        await trio.testing.wait_all_tasks_blocked()
        end(outlet)  # type: ignore[operator]


async def test_what_waits_at_the_end_is_taken_before_it() -> None:
    outlet = SubscriberQueue(T1)
    outlet.put(NUMBERED[:2])
    outlet.end(ZeroDivisionError("gone"))
    outlet.put(NUMBERED[2:])
    outlet.end()
    assert await outlet.take() == NUMBERED[:2]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="gone"):
            await outlet.take()


async def test_what_waits_is_not_wanted_by_who_is_gone() -> None:
    outlet = SubscriberQueue(T1)
    outlet.put(NUMBERED)
    outlet.drop()
    assert outlet.is_dropped
    with pytest.raises(QueueClosed):
        await outlet.take()


async def test_a_reader_is_woken() -> None:
    outlet, taken = SubscriberQueue(T1), []

    async def read() -> None:
        taken.extend(await outlet.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        outlet.put(NUMBERED[:2])
    assert taken == NUMBERED[:2]


DONE = happening("task_completed")
FAILED = happening("task_failed")


@pytest.mark.parametrize(
    ("live", "then_live", "told"),
    [
        ([], [], ["task_completed"]),
        ([], ["task_completed"], ["task_completed"]),
        ([], ["task_completed", "task_completed"], ["task_completed", "task_completed"]),
        ([], ["task_failed"], ["task_completed", "task_failed"]),
        ([], ["task_queued", "task_completed"], ["task_completed", "task_queued", "task_completed"]),
        (["task_started"], [], ["task_started", "task_completed"]),
        (["task_completed"], [], ["task_completed"]),
        (["task_failed"], [], ["task_failed"]),
        (["task_completed", "task_queued"], [], ["task_completed", "task_queued", "task_completed"]),
    ],
)
async def test_an_end_that_was_found_out_is_told_once(
    live: list[str], then_live: list[str], told: list[str]
) -> None:
    outlet = RunQueue(T1)
    outlet.put([happening(kind) for kind in live])
    outlet.put_found_out(DONE)
    outlet.put([happening(kind) for kind in then_live])
    assert types(await outlet.take()) == told


async def test_narrowing_forgets_what_others_did() -> None:
    outlet = RunQueue(TASKS)
    ours, others = (
        happening("task_queued"),
        [happening(kind, taskId="t-2") for kind in ("task_queued", "task_failed")],
    )
    outlet.put([*others, ours])
    assert (outlet.attempts, outlet.has_ended) == (2, False)
    outlet.narrow(T1)
    assert (outlet.attempts, outlet.has_ended) == (1, False)
    outlet.put_found_out(FAILED)
    assert await outlet.take() == [ours, FAILED]


async def test_the_end_of_an_outlet_is_the_end_of_looking() -> None:
    outlet = RunQueue(T1)
    with trio.CancelScope() as outlet.looking:
        outlet.end()
        await trio.sleep_forever()


async def test_narrowing_after_the_connection_has_ended_keeps_what_waits() -> None:
    outlet = RunQueue(TASKS)
    ended = happening("task_completed", taskId="t-1")
    outlet.put([happening("task_completed", taskId="t-2"), ended])
    outlet.end(QueueClosed())
    outlet.narrow(T1)
    assert outlet.has_ended
    assert await outlet.take() == [ended]
