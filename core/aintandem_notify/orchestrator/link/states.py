"""The five states of a project's connection as one table, with the names of the user's guide."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ConnectionState(StrEnum):
    """The state of a project's connection. Each is a str as well: ``"connected"``.

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
    """The events that change a connection's state."""

    START = "start"
    """Watching the project begins."""
    OPENED = "opened"
    """The WebSocket handshake is done."""
    LOST = "lost"
    """A try to connect failed or an open connection ended, and another try follows."""
    GAVE_UP = "gave up"
    """As ``LOST``, but no other try follows."""
    STOP = "stop"
    """Watching the project ends."""
    CLOSED = "closed"
    """The connection is closed after ``STOP``."""


class IllegalSignal(RuntimeError):
    """The signal cannot happen in this state: a bug."""


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
"""All transitions; a pair that is not here is illegal."""


def advance(state: ConnectionState, signal: Signal) -> ConnectionState:
    """The state after ``signal``. Raises ``IllegalSignal`` if the table has no such transition."""
    try:
        return TRANSITIONS[state, signal]
    except KeyError:
        raise IllegalSignal(f"{signal.value!r} cannot happen while {state.value}") from None
