"""The protocol of an open link: messages, answers and ends, without a socket."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.errors import LinkLost
from aintandem_notify.orchestrator.link.close_codes import TOO_BIG
from aintandem_notify.orchestrator.link.library import MAX_MESSAGE_SIZE, WebSocketProtocol


class Pair:
    """A link's protocol and a server that speaks with it."""

    def __init__(self) -> None:
        self.ours = WebSocketProtocol()
        self._server = Connection(ConnectionType.SERVER)

    def send(self, *events: Event) -> bytes:
        return b"".join(map(self._server.send, events))

    def receive(self, content: bytes) -> list[Event]:
        self._server.receive_data(content)
        return list(self._server.events())


def test_messages_in_pieces_are_put_together_and_pings_between_them_are_answered() -> None:
    pair = Pair()
    decoded = pair.ours.decode(
        pair.send(
            TextMessage("ü", message_finished=False),
            Ping(b"first"),
            TextMessage("b"),
            BytesMessage(b"\x00", message_finished=False),
            BytesMessage(b"\x01"),
            Ping(b"second"),
        )
    )
    assert decoded.messages == ["üb".encode(), BinaryFrame(b"\x00\x01")]
    assert isinstance(decoded.messages[1], BinaryFrame)
    assert decoded.closed is None
    assert pair.receive(decoded.answer) == [Pong(b"first"), Pong(b"second")]


def test_a_close_frame_is_answered_and_is_the_end() -> None:
    pair = Pair()
    decoded = pair.ours.decode(pair.send(TextMessage("last"), CloseConnection(4401, "no")))
    assert decoded.messages == [b"last"]
    assert decoded.closed == (4401, "no")
    assert [type(event) for event in pair.receive(decoded.answer)] == [CloseConnection]
    assert not pair.ours.is_open


def test_the_answer_to_our_close_frame_is_not_answered() -> None:
    pair = Pair()
    (closing,) = pair.receive(pair.ours.close(1000))
    assert isinstance(closing, CloseConnection)
    decoded = pair.ours.decode(pair.send(closing.response()))
    assert (decoded.closed, decoded.answer) == ((1000, ""), b"")


def test_after_our_close_frame_pings_are_not_answered() -> None:
    pair = Pair()
    pair.ours.close(1000)
    assert pair.ours.decode(pair.send(Ping(b"late"))).answer == b""


@pytest.mark.parametrize(("broken", "code"), [(b"\xc1\x01x", 1002), (b"\x01\x01\xff", 1007)])
def test_a_broken_frame_is_the_end_and_its_close_frame_is_still_to_send(broken: bytes, code: int) -> None:
    pair = Pair()
    decoded = pair.ours.decode(pair.send(BytesMessage(b"good")) + broken)
    assert decoded.messages == [b"good"]
    assert decoded.closed is not None
    assert decoded.closed[0] == code
    assert decoded.answer == b""
    assert pair.ours.is_open


def test_a_message_that_is_too_large_is_the_end() -> None:
    pair = Pair()
    half = b"x" * (MAX_MESSAGE_SIZE // 2)
    assert pair.ours.decode(pair.send(BytesMessage(half, message_finished=False))).closed is None
    assert pair.ours.decode(pair.send(BytesMessage(half, message_finished=False))).closed is None
    assert pair.ours.decode(pair.send(BytesMessage(b"x"))).closed == (TOO_BIG, None)


def test_what_we_send_is_understood() -> None:
    pair = Pair()
    assert pair.receive(pair.ours.text("hello") + pair.ours.ping()) == [TextMessage("hello"), Ping(b"")]


def test_nothing_can_be_sent_after_the_close_frame() -> None:
    ours = WebSocketProtocol()
    ours.close(1000)
    with pytest.raises(LinkLost):
        ours.text("too late")
