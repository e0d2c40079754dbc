"""The WebSocket protocol, without I/O: turns arriving bytes into messages, and messages into bytes.

This module and ``handshake`` are the only ones that use wsproto. All that it raises becomes LinkLost here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import ProtocolError

from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.errors import LinkLost
from aintandem_notify.orchestrator.link.close_codes import TOO_BIG

MAX_MESSAGE_SIZE: Final = 16 * 2**20
"""Bytes of one message; an ``output`` can be large, but nobody reads a larger event."""


@contextmanager
def library_errors() -> Iterator[None]:
    """Raises LinkLost for an error of the WebSocket library, also for one that it should not raise."""
    try:
        yield
    except ProtocolError as error:
        raise LinkLost("the server broke the WebSocket protocol", 1002) from error
    except MemoryError:
        raise
    except Exception as error:
        raise LinkLost(f"the WebSocket library failed ({type(error).__name__})", 1002) from error


class Decoded(NamedTuple):
    """The result of ``WebSocketProtocol.decode``.

    ``answer`` are bytes to send. ``closed`` is the close code and the reason, if the connection ends here: those
    of the peer, or those to send because it broke the protocol.
    """

    messages: list[str | bytes]
    answer: bytes
    closed: tuple[int, str | None] | None


class WebSocketProtocol:
    """A client's side of the connection, after the handshake. Its methods raise LinkLost."""

    def __init__(self) -> None:
        with library_errors():
            self._connection = Connection(ConnectionType.CLIENT)
        self._message = bytearray()

    @property
    def is_open(self) -> bool:
        """True if neither side has sent a close frame."""
        return self._connection.state is ConnectionState.OPEN

    def decode(self, content: bytes) -> Decoded:
        """Decodes bytes that have arrived."""
        messages: list[str | bytes] = []
        answer, closed = b"", None
        with library_errors():
            self._connection.receive_data(content)
            for event in self._connection.events():
                match event:
                    case TextMessage() | BytesMessage():
                        self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
                        if len(self._message) > MAX_MESSAGE_SIZE:
                            return Decoded(messages, answer, (TOO_BIG, None))
                        if event.message_finished:
                            messages.append(self._take_message(is_binary=isinstance(event, BytesMessage)))
                    case Ping() if self.is_open:
                        answer += self._connection.send(event.response())
                    case CloseConnection():
                        closed = int(event.code), event.reason
                        if self._connection.state is ConnectionState.REMOTE_CLOSING:
                            answer += self._connection.send(event.response())
                        break
        return Decoded(messages, answer, closed)

    def _take_message(self, *, is_binary: bool) -> str | bytes:
        message, self._message = bytes(self._message), bytearray()
        return BinaryFrame(message) if is_binary else message

    def text(self, content: str) -> bytes:
        """A text message."""
        return self._encode(TextMessage(content))

    def ping(self) -> bytes:
        """A ping of the protocol."""
        return self._encode(Ping())

    def close(self, code: int) -> bytes:
        """A close frame."""
        return self._encode(CloseConnection(code))

    def _encode(self, event: Event) -> bytes:
        with library_errors():
            return self._connection.send(event)
