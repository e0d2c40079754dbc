"""The five states of a project's connection as one table; the words are the ones of the user's guide."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ConnectionState(StrEnum):
    """Where a project's connection stands. Each is a text as well: ``"connected"``.

    Example::

        if client.progress.get_connection_state("project-123") is ConnectionState.RECONNECTING:
            print("the connection was lost, and is being made again")
    """

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTING = "disconnecting"


class Signal(StrEnum):
    """What can happen to a connection."""

    START = "start"
    """Somebody wants the project to be watched."""
    OPENED = "opened"
    """The WebSocket handshake is done."""
    LOST = "lost"
    """A try failed or an open connection ended, and there will be another try."""
    GAVE_UP = "gave up"
    """As ``LOST``, and there will be no other try."""
    STOP = "stop"
    """Nobody wants the project to be watched any more."""
    CLOSED = "closed"
    """What ``STOP`` began is done."""


class IllegalSignal(RuntimeError):
    """The signal cannot happen in this state: a fault of ours."""


_S = ConnectionState

TRANSITIONS: Final[Mapping[tuple[ConnectionState, Signal], ConnectionState]] = {
    (_S.DISCONNECTED, Signal.START): _S.CONNECTING,
    (_S.CONNECTING, Signal.OPENED): _S.CONNECTED,
    (_S.CONNECTING, Signal.LOST): _S.RECONNECTING,
    (_S.CONNECTING, Signal.GAVE_UP): _S.DISCONNECTED,
    (_S.CONNECTING, Signal.STOP): _S.DISCONNECTING,
    (_S.CONNECTED, Signal.LOST): _S.RECONNECTING,
    (_S.CONNECTED, Signal.GAVE_UP): _S.DISCONNECTED,
    (_S.CONNECTED, Signal.STOP): _S.DISCONNECTING,
    (_S.RECONNECTING, Signal.OPENED): _S.CONNECTED,
    (_S.RECONNECTING, Signal.LOST): _S.RECONNECTING,
    (_S.RECONNECTING, Signal.GAVE_UP): _S.DISCONNECTED,
    (_S.RECONNECTING, Signal.STOP): _S.DISCONNECTING,
    (_S.DISCONNECTING, Signal.CLOSED): _S.DISCONNECTED,
}
"""Every move there is; a pair that is not here is illegal."""


def advance(state: ConnectionState, signal: Signal) -> ConnectionState:
    """The state after ``signal``; raises ``IllegalSignal`` where the table has no move."""
    try:
        return TRANSITIONS[state, signal]
    except KeyError:
        raise IllegalSignal(f"{signal.value!r} cannot happen while {state.value}") from None
