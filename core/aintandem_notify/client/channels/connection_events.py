"""What listeners hear of a project's connection, in the guide's words."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import trio

from aintandem_notify.client.channels.callbacks import Callback, CallbackRunner
from aintandem_notify.domain.events import ConnectionDisconnectedEvent, ConnectionErrorEvent, Event


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """Something happened to a project's connection.

    ``type`` is ``"connected"``; ``"disconnecting"``: the program itself closes it, and ``"disconnected"`` follows
    once it is closed; ``"disconnected"`` with ``code`` (the WebSocket close code, 1006 when there was none),
    ``reason`` and ``will_reconnect``; or ``"error"`` with ``error`` and ``will_reconnect``: a try to
    connect that failed. ``timestamp`` is aware UTC.

        def on_change(change):
            if change.type == "error" and not change.will_reconnect:
                print(change.project_id, "is given up:", change.error)
    """

    type: Literal["connected", "disconnecting", "disconnected", "error"]
    project_id: str
    timestamp: datetime
    code: int | None = None
    reason: str | None = None
    error: str | None = None
    will_reconnect: bool = True


def change_from_event(event: Event, project_id: str) -> ConnectionChange:
    """One of our own connection events as listeners get it."""
    match event:
        case ConnectionDisconnectedEvent(code=code, reason=reason, will_reconnect=again):
            return ConnectionChange(
                "disconnected", project_id, event.timestamp, code=code, reason=reason, will_reconnect=again
            )
        case ConnectionErrorEvent(error=error, will_reconnect=again):
            return ConnectionChange("error", project_id, event.timestamp, error=error, will_reconnect=again)
        case _:
            return ConnectionChange("connected", project_id, event.timestamp)


class Listener:
    """One listener's changes on their way to it; nobody ever waits for a listener."""

    def __init__(self, callback: Callback[ConnectionChange]) -> None:
        self._callback = callback
        self._waiting: list[ConnectionChange] = []
        self._arrived = trio.Event()
        self._ended = False

    def put(self, change: ConnectionChange) -> None:
        """One more."""
        self._waiting.append(change)
        self._arrived.set()

    def close(self) -> None:
        """Nothing comes any more; what waits is still told."""
        self._ended = True
        self._arrived.set()

    def discard(self) -> None:
        """Nothing is wanted any more."""
        self._waiting.clear()
        self.close()

    async def run(self, callback_runner: CallbackRunner) -> None:
        """Call it until the end."""
        while True:
            while self._waiting:
                await callback_runner.call(self._callback, self._waiting.pop(0))
            if self._ended:
                return
            self._arrived = trio.Event()
            await self._arrived.wait()


Unsubscribe = Callable[[], None]
"""Ends a subscription; may be called more than once, from the task of trio that runs the client."""
