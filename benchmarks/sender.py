"""An orchestrator that only sends, as fast as the socket accepts: ``python -m benchmarks.sender``.

The first line on stdout is ``{"port": …}``. After that, each line on stdin is a command and gets one line as
response:

    {"do": "wait", "sockets": 3}                     when three subscriptions are open
    {"do": "fall", "sockets": 3}                     when there are fewer than three
    {"do": "quiet", "seconds": 10}                   once no REST request has come for so long: {"began": …}
    {"do": "prepare", "events": 1000, "salt": "a"}   encodes the frames of the mix
    {"do": "send"}                                   {"began": …, "ended": …}, once the kernel has taken all
    {"do": "greet"}                                  the next subscription gets them with its handshake's answer
    {"do": "history", "tasks": 2000, "output": 150000}   so many tasks of each project have just ended, with output
    {"do": "drop"}                                   all subscriptions are cut
    {"do": "prepare_flood", "rate": 10000, "seconds": 20}   encodes so many events a second for each subscription
    {"do": "flood"}                                  sends them evenly: {"began": …, "behind": …}; see ``pacing``
    {"do": "trickle", "rate": 100, "events": 1000}   failures, evenly spaced, each with the moment it was sent
"""

import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping
from wsproto.utilities import generate_accept_token

from benchmarks.frames import chunks, event, text_frame
from benchmarks.machine import now
from benchmarks.pacing import Paced, send_evenly

BACKLOG = 1024
"""Connections that may wait to be accepted; a thousand projects connect at once."""
PONG = b"\x8a"


class Subscription:
    """One subscribed socket."""

    def __init__(self, stream: trio.SocketStream, project_id: str) -> None:
        self.project_id = project_id
        self._stream = stream
        self._writing = trio.Lock()
        self._client = Connection(ConnectionType.SERVER)

    async def close(self) -> None:
        """Cut the connection."""
        await self._stream.aclose()

    async def send(self, frames: bytes) -> None:
        """Send encoded frames."""
        async with self._writing:
            await self._stream.send_all(frames)

    async def read(self) -> None:
        """Answer pings until the client disconnects."""
        while arrived := await self._stream.receive_some(65536):
            self._client.receive_data(arrived)
            for frame in self._client.events():
                if isinstance(frame, Ping):
                    await self.send(PONG + bytes([len(frame.payload)]) + bytes(frame.payload))
                elif isinstance(frame, CloseConnection):
                    return
                elif '"ping"' in str(getattr(frame, "data", "")):
                    await self.send(text_frame({"type": "pong"}))


class History:
    """Tasks that have just ended, the same in each project, each with so many characters of output."""

    def __init__(self, tasks: int, output: int) -> None:
        self._tasks = tasks
        self._ended = datetime.now(UTC).isoformat()
        self._output = json.dumps("line of output\n" * (output // 15)).encode()

    def page(self, offset: int, limit: int) -> bytes:
        """The response body for a page of tasks."""
        rows = [self._row(number) for number in range(offset, min(offset + limit, self._tasks))]
        return b'{"tasks": [' + b", ".join(rows) + b"]}"

    def _row(self, number: int) -> bytes:
        fields = {"id": f"task-{number}", "status": "completed", "task": "train", "completedAt": self._ended}
        return json.dumps(fields)[:-1].encode() + b', "output": ' + self._output + b"}"


class Sender:
    """The orchestrator; runs the commands from stdin."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._change = trio.Condition()
        self._prepared: list[bytes] = []
        self._greeting: list[bytes] = []
        self._paced: list[Paced] = []
        self._history = History(0, 0)
        self._requested_at = now()

    async def run(self) -> None:
        """Serve until stdin ends."""
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(self._listen)
            port = listeners[0].socket.getsockname()[1]
            print(json.dumps({"port": port}), flush=True)
            commands = trio.wrap_file(sys.stdin)
            async for line in commands:
                print(json.dumps(await self._run_command(json.loads(line))), flush=True)
            nursery.cancel_scope.cancel()

    async def _listen(self, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await trio.serve_tcp(self._serve, 0, host="127.0.0.1", backlog=BACKLOG, task_status=task_status)

    async def _run_command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        match command:
            case {"do": "wait", "sockets": int(number)}:
                return await self._wait(lambda: len(self._subscriptions) >= number)
            case {"do": "fall", "sockets": int(number)}:
                return await self._wait(lambda: len(self._subscriptions) < number)
            case {"do": "quiet", "seconds": int(seconds)}:
                return await self._quiet(seconds)
            case {"do": "prepare", "events": int(events), "salt": str(salt)}:
                self._prepared = chunks(events, salt)
                return {"bytes": sum(map(len, self._prepared))}
            case {"do": "send"}:
                return await self._send()
            case {"do": "history", "tasks": int(tasks), "output": int(output)}:
                self._history = History(tasks, output)
                return {"tasks": tasks}
            case {"do": "drop"}:
                return await self._drop()
            case {"do": "greet"}:
                self._greeting = self._prepared
                return {"bytes": sum(map(len, self._greeting))}
            case {"do": "prepare_flood", "rate": int(rate), "seconds": int(seconds)}:
                self._paced = [Paced(each.project_id, each.send, rate, seconds) for each in self._subscriptions]
                return {"ends": sum(paced.ends for paced in self._paced)}
            case {"do": "flood"}:
                return await send_evenly(self._paced)
            case {"do": "trickle", "rate": int(rate), "events": int(events)}:
                return await self._trickle(rate, events)
            case _:
                return {"error": f"no such command: {command}"}

    async def _drop(self) -> dict[str, int]:
        dropped = list(self._subscriptions)
        for subscription in dropped:
            await subscription.close()
        return {"sockets": len(dropped)}

    async def _wait(self, condition: Callable[[], bool]) -> dict[str, int]:
        async with self._change:
            while not condition():
                await self._change.wait()
        return {"sockets": len(self._subscriptions)}

    async def _quiet(self, seconds: int) -> dict[str, float]:
        while (silence := now() - self._requested_at) < seconds:  # noqa: ASYNC110  # each request prolongs it
            await trio.sleep(seconds - silence)
        return {"began": self._requested_at}

    async def _send(self) -> dict[str, float]:
        subscription = self._subscriptions[-1]
        began = now()
        for piece in self._prepared:
            await subscription.send(piece)
        return {"began": began, "ended": now()}

    async def _trickle(self, rate: int, events: int) -> dict[str, float]:
        subscription = self._subscriptions[-1]
        began = trio.current_time()
        latest = 0.0
        for number in range(events):
            await trio.sleep_until(began + number / rate)
            latest = max(latest, trio.current_time() - began - number / rate)
            failure = event(
                "task_failed", number, taskId=f"latency-{number}", error="the disk is full", sentAt=now()
            )
            await subscription.send(text_frame(failure))
        return {"late_at_most_s": latest}

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            while (request := await _request(stream)) is not None:
                path, headers = request
                if "sec-websocket-key" in headers:
                    await self._subscribe(stream, path, headers["sec-websocket-key"])
                    return
                self._requested_at = now()
                await stream.send_all(_answer(path, self._history))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _subscribe(self, stream: trio.SocketStream, path: str, key: str) -> None:
        subscription = Subscription(stream, unquote(path.partition("?")[0].rpartition("/")[2]))
        accepted = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + generate_accept_token(key.encode()) + b"\r\n\r\n"
        )
        greeting, self._greeting = self._greeting, []
        await subscription.send(accepted + b"".join(greeting[:1]))
        for piece in greeting[1:]:
            await subscription.send(piece)
        await self._update(self._subscriptions.append, subscription)
        try:
            await subscription.read()
        finally:
            with trio.CancelScope(shield=True):
                await self._update(self._subscriptions.remove, subscription)

    async def _update(self, change: Any, subscription: Subscription) -> None:
        async with self._change:
            change(subscription)
            self._change.notify_all()


async def _request(stream: trio.SocketStream) -> tuple[str, dict[str, str]] | None:
    """Path and headers of the next request, None at the end. Bodies are read and discarded."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        arrived = await stream.receive_some(65536)
        if not arrived:
            return None
        head += arrived
    raw, _, body = bytes(head).partition(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    missing = int(headers.get("content-length", "0")) - len(body)
    while missing > 0:
        arrived = await stream.receive_some(missing)
        if not arrived:
            return None
        missing -= len(arrived)
    return first.split()[1], headers


def _answer(path: str, history: "History") -> bytes:
    place, _, query = path.partition("?")
    if place.endswith("/tasks"):
        parameters = {name: int(value) for name, value in parse_qsl(query) if value.isdecimal()}
        body = history.page(parameters.get("offset", 0), parameters.get("limit", 50))
    else:
        content: Any = {"success": True, "token": _token()} if "/auth/" in path else []
        body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _token() -> str:
    """A token in the form of a JWT, valid for an hour; its signature is not checked."""
    claims = json.dumps({"sub": "admin", "iat": time.time(), "exp": time.time() + 3600}).encode()
    return f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


if __name__ == "__main__":
    trio.run(Sender().run)
