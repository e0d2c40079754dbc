"""A webhook's receiver that counts requests, and answers as receivers on the internet do: well, late or busy."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Final

import trio

from benchmarks.latency import first_request
from benchmarks.machine import now

ACCEPTED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n"
BODY: Final = b'{"ok":true}'
REFUSED: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

LATENCY_S: Final = 0.1
"""Seconds until a distant receiver answers, the round trip included."""
BUSY_EVERY: Final = 20
"""One in so many requests is refused by a busy receiver."""

Answer = Callable[[trio.SocketStream], Awaitable[bool]]
"""Answers one request. Returns True if it accepted it."""


class RequestCounter:
    """The receiver of all webhooks: records the times of the first and the last request that it accepts."""

    def __init__(self, expected: int, answer: Answer) -> None:
        self.began_s = 0.0
        self.ended_s = 0.0
        self.begun, self.complete = trio.Event(), trio.Event()
        self._missing = expected
        self._answer = answer

    @property
    def took_s(self) -> float:
        """Seconds from the first to the last accepted request."""
        return self.ended_s - self.began_s

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        received = b""
        with suppress(trio.BrokenResourceError):  # a sender that is ended after the last request resets it
            while arrived := await stream.receive_some(65536):
                received += arrived
                while (request := first_request(received)) is not None:
                    _, received = request
                    if not self.begun.is_set():
                        self.began_s = now()
                        self.begun.set()
                    if await self._answer(stream):
                        self._count()

    def _count(self) -> None:
        self._missing -= 1
        self.ended_s = now()
        if self._missing == 0:
            self.complete.set()


async def at_once(stream: trio.SocketStream) -> bool:
    """Answer in one write."""
    await stream.send_all(ACCEPTED + BODY)
    return True


async def from_far_away(stream: trio.SocketStream) -> bool:
    """Answer after ``LATENCY_S``."""
    await trio.sleep(LATENCY_S)
    return await at_once(stream)


async def in_two_writes(stream: trio.SocketStream) -> bool:
    """Answer with the head first, and let the system hold the body back until the head is acknowledged."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # trio sets it; many servers do not
    await stream.send_all(ACCEPTED)
    await stream.send_all(BODY)
    return True


def sometimes_busy() -> Answer:
    """Refuse one in ``BUSY_EVERY`` requests, without a time at which to try again."""
    numbers = count(1)

    async def answer(stream: trio.SocketStream) -> bool:
        if next(numbers) % BUSY_EVERY == 0:
            await stream.send_all(REFUSED)
            return False
        return await at_once(stream)

    return answer
