"""Changes of a project's connection, and their delivery to listeners."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import trio

from aintandem_notify.client.channels.callbacks import Callback, CallbackRunner
from aintandem_notify.domain.events import ConnectionDisconnectedEvent, ConnectionErrorEvent, Event


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """A change of a project's connection. ``timestamp`` is aware UTC. ``type`` is one of:

    - ``"connected"``
    - ``"disconnecting"``: the program itself closes the connection; ``"disconnected"`` follows once it is closed
    - ``"disconnected"``, with ``code`` (the WebSocket close code, 1006 if there was none), ``reason`` and
      ``will_reconnect``
    - ``"error"``, with ``error`` and ``will_reconnect``: a try to connect has failed

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
    """The change that listeners get for a connection event of ``orchestrator``."""
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
    """Queues changes for one listener's callback. The connection never waits for it."""

    def __init__(self, callback: Callback[ConnectionChange]) -> None:
        self._callback = callback
        self._waiting: list[ConnectionChange] = []
        self._arrived = trio.Event()
        self._ended = False

    def put(self, change: ConnectionChange) -> None:
        """Queue a change."""
        self._waiting.append(change)
        self._arrived.set()

    def close(self) -> None:
        """End ``run`` once the waiting changes are delivered."""
        self._ended = True
        self._arrived.set()

    def discard(self) -> None:
        """End ``run`` and discard waiting changes."""
        self._waiting.clear()
        self.close()

    async def run(self, callback_runner: CallbackRunner) -> None:
        """Call the callback with each change until closed."""
        while True:
            while self._waiting:
                await callback_runner.call(self._callback, self._waiting.pop(0))
            if self._ended:
                return
            self._arrived = trio.Event()
            await self._arrived.wait()


Unsubscribe = Callable[[], None]
"""Ends a subscription. May be called more than once, from a task of the client's trio run."""
