"""Measures the delay from a frame to the webhook's receiver, with the store on disk in between."""

import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import PROJECT
from benchmarks.machine import now
from benchmarks.processes import open_agent, open_sender

Serve = Callable[[trio.SocketStream], Awaitable[None]]
"""Serves one connection."""

RATE: Final = 100
"""Events a second."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[[projects]]
id = "{project}"

[plugins.webhook.ops]
url = "http://127.0.0.1:{receiver}/"
events = ["task_failed"]
"""


class Receiver:
    """A webhook's receiver: accepts every request, and records the age of the event in it."""

    def __init__(self, expected: int) -> None:
        self.delays_s: list[float] = []
        self.complete = trio.Event()
        self._expected = expected

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        received = b""
        while arrived := await stream.receive_some(65536):
            received += arrived
            while (request := first_request(received)) is not None:
                body, received = request
                self._record_delay(body)
                await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    def _record_delay(self, body: bytes) -> None:
        self.delays_s.append(now() - json.loads(body)["data"]["event"]["sentAt"])
        if len(self.delays_s) == self._expected:
            self.complete.set()


def first_request(received: bytes) -> tuple[bytes, bytes] | None:
    """The body of the first request and the bytes after it; None while it is not complete."""
    head, separator, tail = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return (tail[:length], tail[length:]) if len(tail) >= length else None


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Send failures at an even rate to one webhook, and measure the delays."""
    log_progress(f"delay to a webhook at {RATE} events/s")
    receiver = Receiver(size.trickled)
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as folder:
        async with trio.open_nursery() as nursery, open_sender() as sender:
            port = await nursery.start(listen, receiver.serve)
            config = _CONFIG.format(port=sender.port, project=PROJECT, receiver=port)
            async with open_agent(Path(folder), config):
                await sender.command("wait", sockets=1)
                await sender.command("trickle", rate=RATE, events=size.trickled)
                await receiver.complete.wait()
            nursery.cancel_scope.cancel()
    cuts = statistics.quantiles(receiver.delays_s, n=100)
    return [
        Figure(f"frame to webhook at {RATE} events/s, p50", f"{cuts[49] * 1000:.1f} ms"),
        Figure(f"frame to webhook at {RATE} events/s, p99", f"{cuts[98] * 1000:.1f} ms"),
    ]


async def listen(serve: Serve, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve on a free port until cancelled; the port is the task's status."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)
