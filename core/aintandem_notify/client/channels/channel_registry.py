"""All channels of a client: one for each project, created on first use."""

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from aintandem_notify.client.channels.callbacks import Callback, require_callable, run_callbacks
from aintandem_notify.client.channels.channel import Channel, ChannelContext
from aintandem_notify.client.channels.connection_events import ConnectionChange, Listener, Unsubscribe
from aintandem_notify.client.channels.event_filter import SubscriptionFilter
from aintandem_notify.client.channels.subscriber_queue import RunQueue, SubscriberQueue
from aintandem_notify.orchestrator import validate_id


class ChannelRegistry:
    """The channels by project id. Callbacks run in the nursery ``readers``."""

    def __init__(self, context: ChannelContext, readers: trio.Nursery) -> None:
        self._context = context
        self._readers = readers
        self._all: dict[str, Channel] = {}

    def get(self, project_id: str) -> Channel:
        """The project's channel, created if necessary. Raises TypeError or ValueError for an invalid id."""
        self._context.lifetime.require_open()
        validate_id(project_id, "project_id")
        if project_id not in self._all:
            self._all[project_id] = Channel(project_id, self._context)
        return self._all[project_id]

    def find(self, project_id: str) -> Channel | None:
        """The project's channel; None if it was never used."""
        self._context.lifetime.require_open()
        return self._all.get(validate_id(project_id, "project_id"))

    def all(self) -> list[Channel]:
        """Every channel."""
        self._context.lifetime.require_open()
        return list(self._all.values())

    async def subscribe(
        self,
        project_id: str,
        event_filter: SubscriptionFilter,
        on_event: Callback[Any],
        callbacks_by_type: Mapping[str, Sequence[Callback[Any]]],
        *,
        buffer: int | None,
    ) -> tuple[Channel, SubscriberQueue]:
        """As ``Progress.subscribe_to_progress``, for events that match ``event_filter``.

        After ``on_event``, each event goes to the callbacks that ``callbacks_by_type`` has for its type.
        """
        require_callable(on_event, "on_event")
        for kind, callbacks in callbacks_by_type.items():
            for callback in callbacks:
                require_callable(callback, f"the callback for {kind}")
        channel, queue = self.get(project_id), make_queue(event_filter, buffer=buffer, persistent=True)
        channel.add(queue)
        try:
            await channel.wait_connected()
        except BaseException:
            channel.remove(queue)
            raise

        async def call_back() -> None:
            with channel.callback_tasks.calling(queue):
                await run_callbacks(queue, on_event, callbacks_by_type, self._context.callback_runner)

        self._readers.start_soon(call_back)
        channel.start_lookup(queue)
        return channel, queue

    def add_listener(self, project_id: str, on_change: Callback[ConnectionChange]) -> Unsubscribe:
        """As ``Progress.on_connection_state``."""
        require_callable(on_change, "on_change")
        channel, listener = self.get(project_id), Listener(on_change)
        channel.add_listener(listener)
        self._readers.start_soon(listener.run, self._context.callback_runner)
        return lambda: channel.remove_listener(listener)

    async def disconnect_all(self) -> None:
        """Close all sockets concurrently."""
        channels = self.all()
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(channel.disconnect)

    def close(self) -> None:
        """Close all queues and listeners. Events that wait in them are still delivered."""
        for channel in self.all():
            channel.close()


def make_queue(
    event_filter: SubscriptionFilter, *, buffer: int | None, persistent: bool = False
) -> SubscriberQueue:
    """A queue for ``event_filter``: a RunQueue if the filter selects one run."""
    kind = SubscriberQueue if event_filter.run_id is None else RunQueue
    return kind(event_filter, buffer=buffer, persistent=persistent)
