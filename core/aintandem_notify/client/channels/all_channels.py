"""All projects of a client: one channel each, made when it is first asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from aintandem_notify.client.channels.callbacks import Callback, checked_callback, pump
from aintandem_notify.client.channels.channel import Channel, Shared
from aintandem_notify.client.channels.connection_events import ConnectionChange, Listener, Unsubscribe
from aintandem_notify.client.channels.event_filter import RunFilter
from aintandem_notify.client.channels.subscriber_queue import RunQueue, SubscriberQueue
from aintandem_notify.orchestrator import checked_id


class Channels:
    """The projects that anybody has asked for. ``readers`` is where callbacks run."""

    def __init__(self, shared: Shared, readers: trio.Nursery) -> None:
        self._shared = shared
        self._readers = readers
        self._all: dict[str, Channel] = {}

    def get(self, project_id: str) -> Channel:
        """The project's channel; raises TypeError or ValueError for what cannot be an id."""
        self._shared.block.check()
        checked_id(project_id, "project_id")
        if project_id not in self._all:
            self._all[project_id] = Channel(project_id, self._shared)
        return self._all[project_id]

    def find(self, project_id: str) -> Channel | None:
        """The project's channel, None when nobody has asked for it yet."""
        self._shared.block.check()
        return self._all.get(checked_id(project_id, "project_id"))

    def all(self) -> list[Channel]:
        """Every channel there is."""
        self._shared.block.check()
        return list(self._all.values())

    async def subscribe(
        self,
        project_id: str,
        interest: RunFilter,
        on_event: Callback[Any],
        more: Mapping[str, Sequence[Callback[Any]]],
        *,
        buffer: int | None,
    ) -> tuple[Channel, SubscriberQueue]:
        """As ``Progress.subscribe_to_progress``, for ``interest``; ``more`` callbacks follow by event type."""
        checked_callback(on_event, "on_event")
        for kind, callbacks in more.items():
            for callback in callbacks:
                checked_callback(callback, f"the callback for {kind}")
        channel, outlet = self.get(project_id), make_outlet(interest, buffer=buffer, lasting=True)
        channel.add(outlet)
        try:
            await channel.connected()
        except BaseException:
            channel.remove(outlet)
            raise

        async def call_back() -> None:
            with channel.calling_back(outlet):
                await pump(outlet, on_event, more, self._shared.reporter)

        self._readers.start_soon(call_back)
        channel.look_up(outlet)
        return channel, outlet

    def listen(self, project_id: str, on_change: Callback[ConnectionChange]) -> Unsubscribe:
        """As ``Progress.on_connection_state``."""
        checked_callback(on_change, "on_change")
        channel, listener = self.get(project_id), Listener(on_change)
        channel.listen(listener)
        self._readers.start_soon(listener.run, self._shared.reporter)
        return lambda: channel.unlisten(listener)

    async def disconnect_all(self) -> None:
        """Close every socket, side by side."""
        channels = self.all()
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(channel.disconnect)

    def end(self) -> None:
        """Nothing comes any more; readers may take what is there."""
        for channel in self.all():
            channel.end()


def make_outlet(interest: RunFilter, *, buffer: int | None, lasting: bool = False) -> SubscriberQueue:
    """One that also learns how the run ended, where the interest is in one run."""
    kind = SubscriberQueue if interest.run_id is None else RunQueue
    return kind(interest, buffer=buffer, lasting=lasting)
