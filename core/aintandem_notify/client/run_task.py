"""``client.run_task``: submits a task, receives its events, and waits for its end."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aintandem_notify.client.channels.callbacks import Callback, CallbackRunner, require_callable
from aintandem_notify.client.channels.channel import Channel
from aintandem_notify.client.channels.event_filter import ALL_TASKS, SubscriptionFilter
from aintandem_notify.client.channels.subscriber_queue import QueueClosed, RunQueue
from aintandem_notify.domain.events import (
    Family,
    TaskCancelledEvent,
    TaskCompletedEvent,
    TaskEvent,
    TaskFailedEvent,
    UnknownEvent,
)
from aintandem_notify.errors import Disconnected, TaskCancelled, TaskFailed
from aintandem_notify.orchestrator.rest.records import SubmittedTask

Submit = Callable[[], Awaitable[SubmittedTask]]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A completed task.

    ``output`` is its result. ``duration`` is as the orchestrator sent it, None if it sent none; the API names no
    unit, and the simulator sends milliseconds. ``events`` are the task's events in order, limited to the newest.
    ``caught_up``: the end was missed while the connection was down and looked up afterwards; events before it may
    be missing.

    Example::

        result = await client.run_task("project-123", "data-analysis")
        print(result.output, "after", len(result.events), "events")
    """

    project_id: str
    task_id: str
    output: Any
    duration: float | None = None
    events: tuple[TaskEvent | UnknownEvent, ...] = field(default=(), repr=False)
    caught_up: bool = False


async def submit_and_wait(
    channel: Channel,
    submit: Submit,
    *,
    on_event: Callback[TaskEvent | UnknownEvent] | None,
    callback_runner: CallbackRunner,
    max_events: int,
) -> TaskResult:
    """As ``AInTandemClient.run_task``."""
    if on_event is not None:
        require_callable(on_event, "on_event")
    # Until the response names the id, an event of any task may belong to this one.
    queue = RunQueue(ALL_TASKS, needs_end=True)
    async with channel.open(queue):
        connection_count = channel.connection_count
        task_id = (await submit()).task_id
        channel.narrow(queue, SubscriptionFilter(Family.TASK, task_id))
        if channel.connection_count != connection_count:
            channel.start_lookup(queue)
        events: deque[TaskEvent | UnknownEvent] = deque(maxlen=max_events)
        while True:
            for event in await _take_events(channel, queue):
                events.append(event)
                if on_event is not None:
                    with channel.callback_tasks.calling(queue):
                        await callback_runner.call(on_event, event)
                match event:
                    case TaskCompletedEvent(output=output, duration=duration, caught_up=caught_up):
                        return TaskResult(channel.project_id, task_id, output, duration, tuple(events), caught_up)
                    case TaskFailedEvent(error=reason):
                        raise TaskFailed(channel.project_id, task_id, reason=reason or "", events=events)
                    case TaskCancelledEvent():
                        raise TaskCancelled(channel.project_id, task_id, events=events)


async def _take_events(channel: Channel, queue: RunQueue) -> list[TaskEvent | UnknownEvent]:
    try:
        return cast("list[TaskEvent | UnknownEvent]", await channel.callback_tasks.take(queue))
    except QueueClosed:
        reason = "the program itself ended the connection while the task ran"
        raise Disconnected(reason).about(channel.project_id) from None
