"""Subscriber queues: order, bounds, the count of dropped events, and a final event that is delivered once."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.client.channels.event_filter import ALL_TASKS, SubscriptionFilter
from aintandem_notify.client.channels.subscriber_queue import CAPACITY, QueueClosed, RunQueue, SubscriberQueue
from aintandem_notify.domain.events import Event, Family
from support.happenings import happening

T1 = SubscriptionFilter(Family.TASK, "t-1")
NUMBERED = [happening("output", output=str(number)) for number in range(60)]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(1, 30))
def test_a_buffer_keeps_the_newest_and_counts_the_dropped(sizes: list[int], buffer: int) -> None:
    queue = SubscriberQueue(T1, buffer=buffer)
    put: list[Event] = []
    for size in sizes:
        batch = NUMBERED[len(put) % 30 : len(put) % 30 + size]
        put += batch
        queue.put(batch)
    assert not queue.is_full, "nobody is held back"
    waiting = queue._waiting
    assert waiting == put[-buffer:]
    assert queue.dropped == len(put) - len(waiting)


def test_a_buffer_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SubscriberQueue(T1, buffer=0)


async def test_without_a_buffer_the_writer_waits_for_room() -> None:
    queue = SubscriberQueue(T1)
    queue.put(NUMBERED[:1] * (CAPACITY - 1))
    await queue.wait_for_room()
    queue.put(NUMBERED[:1])
    assert queue.is_full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.wait_for_room)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert len(await queue.take()) == CAPACITY
    assert queue.dropped == 0


@pytest.mark.parametrize("end", [SubscriberQueue.close, SubscriberQueue.discard])
async def test_a_closed_queue_ends_the_wait_for_room(end: object) -> None:
    queue = SubscriberQueue(T1)
    queue.put(NUMBERED[:1] * CAPACITY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.wait_for_room)
        await trio.testing.wait_all_tasks_blocked()
        end(queue)  # type: ignore[operator]


async def test_waiting_events_are_taken_before_the_end() -> None:
    queue = SubscriberQueue(T1)
    queue.put(NUMBERED[:2])
    queue.close(ZeroDivisionError("gone"))
    queue.put(NUMBERED[2:])
    queue.close()
    assert await queue.take() == NUMBERED[:2]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="gone"):
            await queue.take()


async def test_a_discarded_queue_drops_waiting_events() -> None:
    queue = SubscriberQueue(T1)
    queue.put(NUMBERED)
    queue.discard()
    assert queue.is_discarded
    with pytest.raises(QueueClosed):
        await queue.take()


async def test_a_reader_is_woken() -> None:
    queue, events = SubscriberQueue(T1), []

    async def read() -> None:
        events.extend(await queue.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.put(NUMBERED[:2])
    assert events == NUMBERED[:2]


DONE = happening("task_completed")
FAILED = happening("task_failed")


@pytest.mark.parametrize(
    ("live", "then_live", "expected"),
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
async def test_a_looked_up_end_is_delivered_once(
    live: list[str], then_live: list[str], expected: list[str]
) -> None:
    queue = RunQueue(T1)
    queue.put([happening(kind) for kind in live])
    queue.put_final_event(DONE)
    queue.put([happening(kind) for kind in then_live])
    assert types(await queue.take()) == expected


async def test_narrowing_drops_events_of_other_runs() -> None:
    queue = RunQueue(ALL_TASKS)
    own, others = (
        happening("task_queued"),
        [happening(kind, taskId="t-2") for kind in ("task_queued", "task_failed")],
    )
    queue.put([*others, own])
    assert (queue.attempts, queue.has_ended) == (2, False)
    queue.narrow(T1)
    assert (queue.attempts, queue.has_ended) == (1, False)
    queue.put_final_event(FAILED)
    assert await queue.take() == [own, FAILED]


async def test_closing_a_queue_cancels_its_lookup() -> None:
    queue = RunQueue(T1)
    with trio.CancelScope() as queue.lookup_scope:
        queue.close()
        await trio.sleep_forever()


async def test_narrowing_after_the_end_keeps_waiting_events() -> None:
    queue = RunQueue(ALL_TASKS)
    ended = happening("task_completed", taskId="t-1")
    queue.put([happening("task_completed", taskId="t-2"), ended])
    queue.close(QueueClosed())
    queue.narrow(T1)
    assert queue.has_ended
    assert await queue.take() == [ended]
