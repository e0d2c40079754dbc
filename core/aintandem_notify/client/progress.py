"""``client.progress``: connections of projects, subscriptions, event streams, history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, cast

from aintandem_notify.client.channels.callbacks import Callback
from aintandem_notify.client.channels.channel import Channel
from aintandem_notify.client.channels.channel_registry import ChannelRegistry, make_queue
from aintandem_notify.client.channels.connection_events import ConnectionChange, Unsubscribe
from aintandem_notify.client.channels.event_filter import SubscriptionFilter, filter_from_ids
from aintandem_notify.client.channels.subscriber_queue import QueueClosed, SubscriberQueue
from aintandem_notify.domain.events import ProgressEvent
from aintandem_notify.orchestrator import ConnectionState


class ProgressSubscription:
    """One subscription. ``dropped`` counts the events that did not fit into a ``buffer``.

    Example::

        subscription = await client.progress.subscribe_to_progress("project-123", print)
        ...
        subscription.unsubscribe()
    """

    def __init__(self, channel: Channel, queue: SubscriberQueue) -> None:
        self._channel = channel
        self._queue = queue

    def __repr__(self) -> str:
        return _subscription_repr(self, self._channel, self._queue)

    @property
    def project_id(self) -> str:
        """Id of the subscribed project."""
        return self._channel.project_id

    @property
    def dropped(self) -> int:
        """Number of events dropped because the callback was slow; 0 without a ``buffer``."""
        return self._queue.dropped

    @property
    def is_active(self) -> bool:
        """False once unsubscribed, or once the client is closed."""
        return not self._queue.is_closed

    def unsubscribe(self) -> None:
        """End the subscription. A callback in progress finishes.

        The last subscription of a project closes its socket, unless ``connect`` keeps it open. May be called
        again.
        """
        self._channel.remove(self._queue)


class EventStream:
    """The events of ``progress.events``, in order. ``dropped`` counts those that did not fit into a ``buffer``.

    Ends when the program disconnects. Raises LinkGivenUp, ProjectGone, LinkRefused or ApiError when the connection
    has ended for good.

    Example::

        async with client.progress.events("project-123", task_id="task-1", buffer=100) as events:
            async for event in events:
                if event.type == "task_completed":
                    break
            print(events.dropped, "events were dropped")
    """

    def __init__(self, channel: Channel, queue: SubscriberQueue) -> None:
        self._channel = channel
        self._queue = queue
        self._taken: list[ProgressEvent] = []

    def __repr__(self) -> str:
        return _subscription_repr(self, self._channel, self._queue)

    @property
    def dropped(self) -> int:
        """Number of events dropped because the reader was slow; 0 without a ``buffer``."""
        return self._queue.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ProgressEvent:
        """The next event. Events that have arrived are returned without a checkpoint between them."""
        if not self._taken:
            try:
                self._taken = cast("list[ProgressEvent]", await self._channel.callback_tasks.take(self._queue))
            except QueueClosed:
                raise StopAsyncIteration from None
            self._taken.reverse()
        return self._taken.pop()


class Progress:
    """Real-time events of projects. A project has one socket, however many subscriptions.

    Reach it as ``client.progress``, from tasks of the client's trio run. All calls raise TypeError or ValueError
    at once for an invalid id, and TypeError for a callback that is not callable.
    """

    def __init__(self, channels: ChannelRegistry) -> None:
        self._channels = channels

    async def subscribe_to_progress(
        self, project_id: str, on_event: Callback[ProgressEvent], *, buffer: int | None = None
    ) -> ProgressSubscription:
        """Call ``on_event``, sync or async, with every event of the project. Returns once connected.

        An exception of a callback is reported (to the log and the client's ``on_error``), and the callback is
        called again with the next event. While it runs, some thousand events may wait; then the socket is held
        back. With ``buffer``, that many of the newest events wait, and the others are dropped and counted. The
        subscription outlives lost connections and ``disconnect``: the next connection serves it again.

        Raises ProjectGone for an unknown project; LinkRefused, AuthenticationFailed or NotLoggedIn without a valid
        login; LinkGivenUp when all tries have failed; Disconnected when the client is closed meanwhile. Cancelling
        the call unsubscribes.

        Example::

            subscription = await client.progress.subscribe_to_progress("project-123", print)
            subscription.unsubscribe()
        """
        return ProgressSubscription(
            *await self._channels.subscribe(project_id, SubscriptionFilter(), on_event, {}, buffer=buffer)
        )

    @asynccontextmanager
    async def events(
        self,
        project_id: str,
        *,
        task_id: str | None = None,
        workflow_id: str | None = None,
        execution_id: str | None = None,
        sandbox_id: str | None = None,
        buffer: int | None = None,
    ) -> AsyncIterator[EventStream]:
        """The project's events as they arrive; those of one task, workflow or sandbox if an id is given.

            async with client.progress.events("project-123", task_id="task-1") as events:
                async for event in events:
                    print(event.type)
                    if event.type == "task_completed":
                        break

        A slow reader holds back the socket, and with it the project's other readers. With ``buffer``, that many of
        the newest events wait, and the others are dropped and counted (``events.dropped``). Raises as
        ``subscribe_to_progress``, and ValueError for ids of more than one kind.
        """
        event_filter = filter_from_ids(
            task_id=task_id, workflow_id=workflow_id, execution_id=execution_id, sandbox_id=sandbox_id
        )
        queue = make_queue(event_filter, buffer=buffer)
        channel = self._channels.get(project_id)
        async with channel.open(queue):
            yield EventStream(channel, queue)

    async def connect(self, project_id: str) -> None:
        """Connect, and stay connected until ``disconnect``, even without a subscription.

            await client.progress.connect("project-123")

        Returns when the socket is open. Raises as ``subscribe_to_progress``.
        """
        await self._channels.get(project_id).keep_open()

    def is_connected(self, project_id: str) -> bool:
        """Whether the project's socket is open now.

        Example::

            client.progress.is_connected("project-123")
        """
        return self.get_connection_state(project_id) is ConnectionState.CONNECTED

    def get_connection_state(self, project_id: str) -> ConnectionState:
        """The state of the project's connection.

        It is a str: ``"disconnected"``, ``"connecting"``, ``"connected"``, ``"reconnecting"`` or
        ``"disconnecting"``. A project that was never used is disconnected.

        Example::

            state = client.progress.get_connection_state("project-123")
        """
        channel = self._channels.find(project_id)
        return ConnectionState.DISCONNECTED if channel is None else channel.state

    async def disconnect(self, project_id: str) -> None:
        """Close the project's socket. Returns once it is closed.

            await client.progress.disconnect("project-123")

        Streams end, ``run_task`` raises Disconnected, and the history is cleared. Subscriptions stay; the next
        connection serves them again.
        """
        channel = self._channels.find(project_id)
        if channel is not None:
            await channel.disconnect()

    async def disconnect_all(self) -> None:
        """As ``disconnect``, for all projects concurrently.

        Example::

            await client.progress.disconnect_all()
        """
        await self._channels.disconnect_all()

    def on_connection_state(self, project_id: str, on_change: Callback[ConnectionChange]) -> Unsubscribe:
        """Call ``on_change``, sync or async, with every change of the project's connection (ConnectionChange).

            stop = client.progress.on_connection_state("project-123", print)

        It does not connect, and may be called before the first connect. Returns a function that ends the calls.
        """
        return self._channels.add_listener(project_id, on_change)

    def history(
        self,
        project_id: str,
        *,
        task_id: str | None = None,
        workflow_id: str | None = None,
        execution_id: str | None = None,
        sandbox_id: str | None = None,
    ) -> list[ProgressEvent]:
        """The events that the project's present connection has received, the oldest first.

            for event in client.progress.history("project-123", task_id="task-1"):
                print(event.timestamp, event.type)

        Holds the newest events, at most the client's ``history_limit``, until the project is disconnected or
        ``clear_history`` is called. Raises ValueError for ids of more than one kind.
        """
        event_filter = filter_from_ids(
            task_id=task_id, workflow_id=workflow_id, execution_id=execution_id, sandbox_id=sandbox_id
        )
        channel = self._channels.find(project_id)
        events = () if channel is None else channel.history.events()
        return cast("list[ProgressEvent]", [event for event in events if event_filter.matches(event)])

    def clear_history(self, project_id: str | None = None) -> None:
        """Clear the history of the project; of all projects if none is given.

        Example::

            client.progress.clear_history("project-123")
        """
        for channel in self._channels.all():
            if project_id in (None, channel.project_id):
                channel.history.clear()


def _subscription_repr(subscription: object, channel: Channel, queue: SubscriberQueue) -> str:
    state = "ended" if queue.is_closed else "active"
    return f"<{type(subscription).__name__} of {channel.project_id!r}: {state}, {queue.dropped} dropped>"
