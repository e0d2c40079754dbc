"""The opening handshake of a WebSocket: asks for the upgrade, and judges the answer.

The answer's status is read here, because wsproto would wait for the end of a refusal without a length.
"""

import re
from typing import Final

import trio
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, Request
from wsproto.handshake import H11Handshake

from aintandem_notify.errors import LinkLost
from aintandem_notify.orchestrator.link.close_codes import error_for_status
from aintandem_notify.orchestrator.link.library import library_errors
from aintandem_notify.orchestrator.protocol.address import SocketTarget

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_MIN_STATUS_BYTES: Final = len(b"HTTP/1.1 101 ")
MAX_HEAD_BYTES: Final = 65536
"""Bytes of a response to the upgrade; servers send far less."""
SWITCHING_PROTOCOLS: Final = 101
_END_OF_HEAD: Final = b"\r\n\r\n"


async def upgrade(stream: trio.abc.Stream, target: SocketTarget) -> bytes:
    """Make a WebSocket of ``stream``. Returns the bytes that have arrived behind the answer: the first frames.

    Raises LinkLost, LinkRefused or ProjectGone. Has no deadline of its own.
    """
    with library_errors():
        handshake = H11Handshake(ConnectionType.CLIENT)
        request = handshake.send(Request(host=target.endpoint.authority, target=target.resource))
    try:
        await stream.send_all(request)
        head, rest = await _read_head(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise LinkLost("the connection broke during the handshake") from error
    with library_errors():
        handshake.receive_data(head)
        answer = next(handshake.events(), None)
    if not isinstance(answer, AcceptConnection):
        raise LinkLost("the server broke the WebSocket handshake", 1002)
    return rest


async def _read_head(stream: trio.abc.Stream) -> tuple[bytes, bytes]:
    """The head of an answer with status 101, and the bytes behind it."""
    head = bytearray()
    while _END_OF_HEAD not in head:
        arrived = await stream.receive_some()
        if not arrived:
            raise LinkLost("the orchestrator hung up during the handshake")
        head += arrived
        _check_start(head)
    end = head.index(_END_OF_HEAD) + len(_END_OF_HEAD)
    return bytes(head[:end]), bytes(head[end:])


def _check_start(head: bytearray) -> None:
    """Raises our errors if this is not the start of an answer with status 101."""
    status = _STATUS_LINE.match(head)
    if status is None and len(head) >= _MIN_STATUS_BYTES:
        raise LinkLost("the server does not speak HTTP", 1002)
    if status is not None and int(status[1]) != SWITCHING_PROTOCOLS:
        raise error_for_status(int(status[1]))
    if len(head) > MAX_HEAD_BYTES and _END_OF_HEAD not in head[:MAX_HEAD_BYTES]:
        raise LinkLost("the answer to the handshake does not end", 1002)
