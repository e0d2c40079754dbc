"""A second orchestrator for the tests, on bare trio sockets, under full control of a test.

The simulator behaves as an orchestrator does; this one can also misbehave, byte by byte. Hypercorn is not
involved: HTTP is parsed here, and wsproto only decodes the client's frames. The server sends well-formed frames
(``send_text``, ``close``) or any bytes (``send_bytes_raw``, ``blast``).

    async with open_raw_orchestrator() as raw:
        raw.upgrade_answers.append(Refuse(401))          # the next upgrade; later ones are accepted
        ...                                              # start a client at raw.url
        socket = await raw.connections.receive()
        await socket.send_event("task_failed", taskId="t1", error="boom")
        await socket.close(4401)
"""

from __future__ import annotations

import base64
import json
import math
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from aintandem_notify.simulator.wire.fault_proxy import PausableListener, reset_on_close
from support.nasty.wire import WireAnswer
from support.raw_http import HttpRequest, RequestReader, RestAnswer, error_answer, http_answer
from support.wire_player import play

HOST: Final = "127.0.0.1"
_SUBSCRIBE: Final = "/progress/subscribe/"
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept the upgrade; ``then`` is sent in the same segment as the answer."""

    then: bytes = b""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the upgrade with plain HTTP (401, 403, 302, 404, 500 …)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class WrongAccept:
    """101 with an accept key that does not belong to the request."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Never answer the handshake; the connection stays open until the client goes."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Answer with bytes that are not HTTP, and close."""

    data: bytes = b"\x16\x03\x01\x00\x05\xff\xfe\x00\x01\x02 this is no HTTP\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the TCP connection instead of answering."""


UpgradeAnswer = Accept | Refuse | WrongAccept | Silence | Garbage | Reset | WireAnswer


def frame(payload: str | bytes, *, opcode: int = 0x1, final: bool = True) -> bytes:
    """One server frame with any payload; text (opcode 1) need not be UTF-8."""
    content = payload.encode() if isinstance(payload, str) else payload
    first = opcode | (0x80 if final else 0)
    if len(content) < 126:
        return struct.pack("!BB", first, len(content)) + content
    if len(content) < 65536:
        return struct.pack("!BBH", first, 126, len(content)) + content
    return struct.pack("!BBQ", first, 127, len(content)) + content


def event_text(event_type: str, project_id: str, **fields: Any) -> str:
    """An event as JSON text, with a timestamp; fields are named as on the wire."""
    content = {"type": event_type, "timestamp": "2026-01-05T09:30:00.000Z", "projectId": project_id}
    return json.dumps(content | fields)


def make_token(number: int, lifetime: float) -> str:
    """A token in the form of a JWT that expires in ``lifetime`` seconds; its signature is invalid."""

    def part(content: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    claims = {"sub": "admin", "jti": number, "iat": time.time(), "exp": time.time() + lifetime}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJl{number}"


class RawSocket:
    """One accepted subscription, seen from the server.

    ``received`` holds every text or binary message of the client, ``pings`` the payloads of its protocol pings.
    ``close_code`` is the code of its close frame (1006: it left without one; None: it is still connected).
    ``answers_pings`` and ``answers_json_pings`` switch the pongs.
    """

    def __init__(self, stream: trio.SocketStream, request: HttpRequest) -> None:
        self.request = request
        self.project_id = unquote(request.path.partition(_SUBSCRIBE)[2])
        self.token = request.query.get("token")
        self.received: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.close_code: int | None = None
        self.closed = trio.Event()
        self.answers_pings = True
        self.answers_json_pings = True
        self._stream = stream
        self._connection = Connection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._reading = trio.Event()
        self._reading.set()
        self._inbox, self.messages = trio.open_memory_channel[str | bytes](math.inf)

    async def receive(self) -> str | bytes:
        """The client's next message; raises trio.EndOfChannel when the connection has ended."""
        return await self.messages.receive()

    async def send_text(self, text: str | bytes) -> None:
        """One text frame; bytes need not be UTF-8."""
        await self.send_bytes_raw(frame(text))

    async def send_binary(self, content: bytes) -> None:
        """One binary frame."""
        await self.send_bytes_raw(frame(content, opcode=0x2))

    async def send_event(self, event_type: str, **fields: Any) -> None:
        """An event of this project; fields are named as on the wire."""
        await self.send_text(event_text(event_type, fields.pop("projectId", self.project_id), **fields))

    async def send_bytes_raw(self, content: bytes) -> None:
        """Any bytes; they may be half a frame, or no frame."""
        async with self._sending:
            await self._stream.send_all(content)

    async def blast(self, frames: bytes, times: int = 1) -> None:
        """Pre-encoded frames, repeated, as fast as the socket takes them."""
        async with self._sending:
            for _ in range(times):
                await self._stream.send_all(frames)

    async def ping(self, payload: bytes = b"") -> None:
        """A protocol ping."""
        await self.send_bytes_raw(frame(payload, opcode=0x9))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """A close frame with exactly this code, then wait until the client has gone."""
        await self.send_bytes_raw(frame(struct.pack("!H", code) + reason.encode(), opcode=0x8))
        await self.closed.wait()

    async def drop(self) -> None:
        """Close the TCP connection without a close frame."""
        await self._stream.aclose()

    async def reset(self) -> None:
        """Reset the TCP connection."""
        reset_on_close(self._stream)
        await self._stream.aclose()

    def fall_silent(self) -> None:
        """Go on reading, but answer no ping of either kind from now on."""
        self.answers_pings = self.answers_json_pings = False

    def stop_reading(self) -> None:
        """Leave the client's messages in the kernel's buffers from now on."""
        self._reading = trio.Event()

    def go_on_reading(self) -> None:
        """Undo ``stop_reading``."""
        self._reading.set()

    async def _serve(self, first_bytes: bytes) -> None:
        """Read until the client goes."""
        try:
            self._connection.receive_data(first_bytes)
            while await self._take_events():
                await self._reading.wait()
                content = await self._stream.receive_some(65536)
                self._connection.receive_data(content or None)
        except (*_GONE, RemoteProtocolError):
            self.close_code = self.close_code or 1006
        finally:
            self._inbox.close()
            self.closed.set()

    async def _take_events(self) -> bool:
        """Returns whether the connection goes on."""
        for event in self._connection.events():
            match event:
                case TextMessage() | BytesMessage():
                    await self._take_message(event.data if isinstance(event, TextMessage) else bytes(event.data))
                case Ping(payload=payload):
                    self.pings.append(bytes(payload))
                    if self.answers_pings:
                        await self.send_bytes_raw(frame(bytes(payload), opcode=0xA))
                case Pong():
                    pass
                case CloseConnection(code=code):
                    self.close_code = int(code)
                    if self.close_code != 1006:
                        await self.send_bytes_raw(frame(struct.pack("!H", self.close_code), opcode=0x8))
                    return False
        return True

    async def _take_message(self, message: str | bytes) -> None:
        self.received.append(message)
        self._inbox.send_nowait(message)
        if self.answers_json_pings and isinstance(message, str) and '"ping"' in message:
            await self.send_text(json.dumps({"type": "pong", "timestamp": "2026-01-05T09:30:00.000Z"}))


@dataclass
class RawOrchestrator:
    """The server. All fields may be changed while it runs.

    Each upgrade takes the next of ``upgrade_answers``; then the project's entry in ``upgrades_by_project``
    applies, then ``default_upgrade``. ``rest`` maps ``"GET /api/projects"`` (method and path as requested) to a
    JSON value, a ``RestAnswer``, a ``WireAnswer`` or a function of the request. Other requests are answered as by
    an empty orchestrator. A request in ``delays`` is answered once the event there is set. ``prefixes`` are the
    bases of the API; requests elsewhere are answered 404. ``connections`` gives each accepted subscription.
    """

    port: int
    token_lifetime: float = 3600.0
    prefixes: tuple[str, ...] = ("/api", "")
    projects: list[str] = field(default_factory=lambda: ["project-123", "project-456"])
    upgrade_answers: deque[UpgradeAnswer] = field(default_factory=deque)
    upgrades_by_project: dict[str, UpgradeAnswer] = field(default_factory=dict)
    default_upgrade: UpgradeAnswer = field(default_factory=Accept)
    rest: dict[str, Any] = field(default_factory=dict)
    delays: dict[str, trio.Event] = field(default_factory=dict)
    logins: list[dict[str, Any]] = field(default_factory=list)
    refreshes: list[dict[str, Any]] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)
    upgrades: list[HttpRequest] = field(default_factory=list)
    sockets: list[RawSocket] = field(default_factory=list)
    tcp_connections: int = 0

    def __post_init__(self) -> None:
        self._arrivals, self.connections = trio.open_memory_channel[RawSocket](math.inf)
        self._tokens = 0
        self._refresh_token = ""
        self._streams: set[trio.SocketStream] = set()
        self._left = trio.Event()
        self._listener = PausableListener(HOST, self.port)
        self.port = self._listener.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"http://{HOST}:{self.port}"

    @property
    def open_sockets(self) -> list[RawSocket]:
        """The accepted subscriptions that are still open."""
        return [socket for socket in self.sockets if not socket.closed.is_set()]

    def new_token(self) -> str:
        """The next token."""
        self._tokens += 1
        return make_token(self._tokens, self.token_lifetime)

    async def go_away(self) -> None:
        """Close every connection and refuse new ones, on the same port, until ``come_back``."""
        self._listener.pause()
        for stream in list(self._streams):
            await stream.aclose()

    def come_back(self) -> None:
        """Undo ``go_away``."""
        self._listener.resume()

    async def until_left(self) -> None:
        """Return once no connection is left, so that all their bytes have been read."""
        while self._streams:
            await self._left.wait()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._listener.accept()
                self.tcp_connections += 1
                nursery.start_soon(self._serve_connection, stream)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        self._streams.add(stream)
        reader = RequestReader(stream)
        try:
            async with stream:
                while (request := await reader.request()) is not None:
                    if request.headers.get("upgrade", "").lower() == "websocket":
                        await self._upgrade(stream, request, reader)
                        return
                    if not await self._answer(stream, request):
                        return
        except _GONE:
            pass
        finally:
            self._streams.discard(stream)
            self._left.set()
            self._left = trio.Event()

    async def _upgrade(self, stream: trio.SocketStream, request: HttpRequest, reader: RequestReader) -> None:
        self.upgrades.append(request)
        project = unquote(request.path.partition(_SUBSCRIBE)[2])
        usual = self.upgrades_by_project.get(project, self.default_upgrade)
        answer = self.upgrade_answers.popleft() if self.upgrade_answers else usual
        key = request.headers["sec-websocket-key"].encode()
        if not any(request.path.startswith(prefix + _SUBSCRIBE) for prefix in self.prefixes):
            answer = Refuse(404)
        match answer:
            case Accept(then=then):
                socket = RawSocket(stream, request)
                await stream.send_all(_switching(generate_accept_token(key)) + then)
                self.sockets.append(socket)
                self._arrivals.send_nowait(socket)
                await socket._serve(reader.remaining())
            case Refuse(status=status, headers=headers, body=body):
                await stream.send_all(http_answer(RestAnswer(body, status, headers)))
            case WrongAccept():
                await stream.send_all(_switching(generate_accept_token(b"another key altogether==")))
                await reader.until_closed()
            case Silence():
                await reader.until_closed()
            case WireAnswer():
                await play(answer, stream)
            case Garbage(data=content):
                await stream.send_all(content)
            case Reset():
                reset_on_close(stream)

    async def _answer(self, stream: trio.SocketStream, request: HttpRequest) -> bool:
        """Returns whether the connection goes on."""
        self.requests.append(request)
        if (delay := self.delays.get(f"{request.method} {request.path}")) is not None:
            await delay.wait()
        answer = self.rest.get(f"{request.method} {request.path}", self._default_answer)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, WireAnswer):
            return await play(answer, stream)
        if not isinstance(answer, RestAnswer):
            answer = RestAnswer(answer)
        await stream.send_all(http_answer(answer))
        return True

    def _default_answer(self, request: HttpRequest) -> RestAnswer:
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if request.path.startswith(prefix + "/"):
                bare = request.path.removeprefix(prefix)
                break
        else:
            return error_answer(404, "NOT_FOUND", "no such route")
        auth: dict[str, Callable[[HttpRequest], RestAnswer]] = {
            "POST /auth/login": self._login,
            "POST /auth/refresh": self._refresh,
            "POST /auth/verify": lambda _: RestAnswer({"success": True, "user": {"id": "1", "username": "admin"}}),
            "POST /auth/logout": lambda _: RestAnswer({"success": True}),
        }
        if (answer := auth.get(f"{request.method} {bare}")) is not None:
            return answer(request)
        if request.method == "GET" and bare == "/projects":
            return RestAnswer([{"id": project, "name": project} for project in self.projects])
        if request.method == "GET" and unquote(bare.removeprefix("/projects/")) in self.projects:
            return RestAnswer({"id": unquote(bare.removeprefix("/projects/")), "name": "a project"})
        if request.method == "GET" and bare == "/health":
            return RestAnswer({"status": "ok", "uptime": 1})
        if request.method == "GET" and bare.endswith(("/tasks", "/executions", "/operations", "/flexy")):
            return RestAnswer([])
        return error_answer(404, "NOT_FOUND", "no such route")

    def _login(self, request: HttpRequest) -> RestAnswer:
        self.logins.append(request.json())
        return self._tokens_answer()

    def _refresh(self, request: HttpRequest) -> RestAnswer:
        self.refreshes.append(request.json())
        if request.json().get("refreshToken") != self._refresh_token:
            return RestAnswer({"success": False, "error": "the refresh token was used already"}, 401)
        return self._tokens_answer()

    def _tokens_answer(self) -> RestAnswer:
        token = self.new_token()
        self._refresh_token = f"refresh-{self._tokens}"
        return RestAnswer(
            {
                "success": True,
                "token": token,
                "refreshToken": self._refresh_token,
                "user": {"id": "1", "username": "admin"},
            }
        )


@asynccontextmanager
async def open_raw_orchestrator(port: int = 0, **settings: Any) -> AsyncIterator[RawOrchestrator]:
    """The server, listening; ``settings`` are fields of ``RawOrchestrator``. Every connection ends with it."""
    async with trio.open_nursery() as nursery:
        server = RawOrchestrator(port, **settings)
        nursery.start_soon(server.run)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            server._listener.close()


def _switching(accept_token: bytes) -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_token + b"\r\n\r\n"
    )
