"""The queues of the callbacks that run in a task."""

import trio
import trio.testing

from aintandem_notify.client.channels.callback_tasks import CallbackTasks
from aintandem_notify.client.channels.event_filter import ALL_TASKS
from aintandem_notify.client.channels.subscriber_queue import CAPACITY, SubscriberQueue
from support.happenings import happening


def queue() -> SubscriberQueue:
    return SubscriberQueue(ALL_TASKS)


async def test_a_task_has_the_queues_of_its_callbacks_and_those_of_its_ancestors() -> None:
    tasks, outer, inner = CallbackTasks(), queue(), queue()
    seen: list[list[SubscriberQueue]] = []

    async def child() -> None:
        with tasks.calling(inner):
            seen.append(tasks.queues_here())

    with tasks.calling(outer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        seen.append(tasks.queues_here())
    assert seen == [[inner, outer], [outer]]
    assert tasks.queues_here() == []


async def test_another_task_has_none_of_them() -> None:
    tasks, seen = CallbackTasks(), list[list[SubscriberQueue]]()
    is_calling, is_done = trio.Event(), trio.Event()

    async def call() -> None:
        with tasks.calling(queue()):
            is_calling.set()
            await is_done.wait()

    async def other() -> None:
        await is_calling.wait()
        seen.append(tasks.queues_here())
        is_done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(other)
    assert seen == [[]]


async def test_a_queue_is_unbounded_only_while_its_callback_waits_for_another_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tasks, own, awaited = CallbackTasks(), queue(), queue()
    own.put([happening("output")] * CAPACITY)
    was_full: list[bool] = []

    async def feed() -> None:
        await trio.testing.wait_all_tasks_blocked()
        was_full.append(own.is_full)
        awaited.put([happening("task_completed")])

    with tasks.calling(own):
        assert own.is_full
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            assert len(await tasks.take(awaited)) == 1
        assert own.is_full
        awaited.put([happening("task_completed")])
        assert len(await tasks.take(awaited)) == 1, "there is no need to wait"
    assert was_full == [False]
