"""The subscribed sockets by project. Each has a bounded queue of frames, so that a slow socket delays no other."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from aintandem_notify.simulator.wire.fault_proxy import ProxiedConnection

MAX_QUEUED_FRAMES: Final = 10_000
"""Frames that may wait for one socket before it is closed; our choice. Its client can reconnect and ask REST."""

TRY_AGAIN_LATER: Final = 1013
"""Close code for a socket that does not keep up (RFC 6455 registry)."""


class Subscription:
    """One socket that watches a project. ``connection`` is its proxied connection, None when that is gone."""

    def __init__(self, project_id: str, connection: ProxiedConnection | None) -> None:
        self.project_id = project_id
        self.connection = connection
        self.close_code: int | None = None
        self._frames: deque[str | bytes] = deque()
        self._arrived = trio.Event()

    def put(self, frame: str | bytes) -> None:
        """Queue a frame; never blocks."""
        if self.close_code is not None:
            return
        if len(self._frames) >= MAX_QUEUED_FRAMES:
            self.end(TRY_AGAIN_LATER)
            return
        self._frames.append(frame)
        self._arrived.set()

    def end(self, code: int) -> None:
        """Close the socket with this code, and discard queued frames."""
        self.close_code = code
        self._frames.clear()
        self._arrived.set()

    async def next(self) -> str | bytes | None:
        """Wait for the next frame to send; None once the socket must be closed with ``close_code``."""
        while not self._frames and self.close_code is None:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._frames.popleft() if self._frames else None


class Subscriptions:
    """All subscribed sockets."""

    def __init__(self) -> None:
        self._open: dict[str, list[Subscription]] = {}
        self._changed = trio.Event()

    @contextmanager
    def opened(self, project_id: str, connection: ProxiedConnection | None) -> Iterator[Subscription]:
        """A subscription for the block."""
        subscription = Subscription(project_id, connection)
        self._open.setdefault(project_id, []).append(subscription)
        self._announce()
        try:
            yield subscription
        finally:
            self._open[project_id].remove(subscription)
            self._announce()

    def of(self, project_id: str | None) -> list[Subscription]:
        """The sockets of a project; all sockets for None."""
        if project_id is not None:
            return list(self._open.get(project_id, ()))
        return [subscription for subscriptions in self._open.values() for subscription in subscriptions]

    def publish(self, project_id: str, frame: str | bytes, times: int = 1) -> None:
        """Queue a frame for all sockets of the project, ``times`` times."""
        for subscription in self._open.get(project_id, ()):
            for _ in range(times):
                subscription.put(frame)

    async def wait_for(self, project_id: str | None, *, at_least: int = 0, at_most: int | None = None) -> None:
        """Wait until the number of the project's sockets is within the bounds; None counts all sockets."""
        while len(self.of(project_id)) < at_least or (at_most is not None and len(self.of(project_id)) > at_most):
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
