"""Who watches which project, and what is on its way to them: a bounded queue each, so that nobody waits."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from aintandem_notify.simulator.wire.fault_proxy import ProxiedConnection

MAX_QUEUED_FRAMES: Final = 10_000
"""How many frames may wait for one subscriber before it is cut off; ours. It can come back and ask REST."""

TRY_AGAIN_LATER: Final = 1013
"""The close code for a subscriber that does not keep up (RFC 6455 registry)."""


class Subscription:
    """One socket that watches a project. ``connection`` is the connection it came over, None when it is gone."""

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
        """Have the socket closed with this code, ahead of whatever is queued."""
        self.close_code = code
        self._frames.clear()
        self._arrived.set()

    async def next(self) -> str | bytes | None:
        """The next frame to send, None when the socket is to be closed with ``close_code``."""
        while not self._frames and self.close_code is None:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._frames.popleft() if self._frames else None


class Subscriptions:
    """All sockets there are."""

    def __init__(self) -> None:
        self._open: dict[str, list[Subscription]] = {}
        self._changed = trio.Event()

    @contextmanager
    def opened(self, project_id: str, connection: ProxiedConnection | None) -> Iterator[Subscription]:
        """A subscription for as long as the block runs."""
        subscription = Subscription(project_id, connection)
        self._open.setdefault(project_id, []).append(subscription)
        self._announce()
        try:
            yield subscription
        finally:
            self._open[project_id].remove(subscription)
            self._announce()

    def of(self, project_id: str | None) -> list[Subscription]:
        """The sockets that watch a project; None: all there are."""
        if project_id is not None:
            return list(self._open.get(project_id, ()))
        return [subscription for subscriptions in self._open.values() for subscription in subscriptions]

    def publish(self, project_id: str, frame: str | bytes, times: int = 1) -> None:
        """Queue a frame for all who watch the project."""
        for subscription in self._open.get(project_id, ()):
            for _ in range(times):
                subscription.put(frame)

    async def wait_for(self, project_id: str | None, *, at_least: int = 0, at_most: int | None = None) -> None:
        """Wait until that many sockets watch the project (None: any project); no ``at_most``, no upper bound."""
        while len(self.of(project_id)) < at_least or (at_most is not None and len(self.of(project_id)) > at_most):
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
