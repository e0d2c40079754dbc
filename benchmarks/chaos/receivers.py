"""The receivers of two webhooks: one is always healthy, the other ("moody") often fails."""

import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

import trio

from benchmarks.chaos.nasty import RandomInputs, play
from benchmarks.machine import now

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
_ANSWERS: Final = {
    "unavailable": b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 429 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
}
_ACCEPTED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class ReceiverMode(StrEnum):
    """The way in which a receiver treats requests."""

    HEALTHY = "well"
    UNAVAILABLE = "unavailable"
    BUSY = "busy"
    SILENT = "deaf"
    HANG_UP = "hang-up"
    NASTY = "nasty"


OnDelivery = Callable[[str, dict[str, Any], float], None]
"""Gets the ``webhook-id``, the event and the time of each accepted delivery."""


class Receiver:
    """Accepts deliveries while it is healthy. In every other mode it accepts none.

    With ``random_inputs`` its responses are drawn: any that accepts while healthy, any that refuses while nasty.
    """

    def __init__(self, on_delivery: OnDelivery, random_inputs: RandomInputs | None = None) -> None:
        self.mode = ReceiverMode.HEALTHY
        self._on_delivery = on_delivery
        self._random_inputs = random_inputs

    async def listen(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. The task's status is the URL to post to."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        task_status.started(f"http://127.0.0.1:{port}/")
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        received = b""
        with suppress(*_GONE):
            while arrived := await stream.receive_some(65536):
                received += arrived
                while (request := _first_request(received)) is not None:
                    identity, body, received = request
                    if not await self._answer(stream, identity, body):
                        return

    async def _answer(self, stream: trio.SocketStream, identity: str, body: bytes) -> bool:
        """Answer a request. Returns whether the connection stays open."""
        match self.mode:
            case ReceiverMode.SILENT:
                while await stream.receive_some(65536):
                    pass
                return False
            case ReceiverMode.HANG_UP:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case ReceiverMode.HEALTHY:
                # Recorded before the response: an agent that does not get the response must send it again.
                self._on_delivery(identity, json.loads(body)["data"]["event"], now())
                if self._random_inputs is not None:
                    return await play(self._random_inputs.accepted(), stream)
                await stream.send_all(_ACCEPTED)
            case ReceiverMode.NASTY if self._random_inputs is not None:
                return await play(self._random_inputs.refused(), stream)
            case mode:
                await stream.send_all(_ANSWERS[mode])
        return True


def _first_request(received: bytes) -> tuple[str, bytes, bytes] | None:
    """``webhook-id`` and body of the first request, and the bytes after it; None while it is not complete."""
    head, separator, tail = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    length = int(headers[b"content-length"])
    if len(tail) < length:
        return None
    return headers[b"webhook-id"].decode(), tail[:length], tail[length:]
