"""The tests' own orchestrator sends exactly the planned bytes, which the tests of links rely on."""

import json
import struct
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
import trio_websocket

from support.plain_client import open_socket
from support.raw_http import RestAnswer
from support.raw_orchestrator import (
    Accept,
    Garbage,
    RawOrchestrator,
    Refuse,
    Reset,
    Silence,
    UpgradeAnswer,
    WrongAccept,
    event_text,
    frame,
    open_raw_orchestrator,
)


@pytest.fixture
async def raw() -> AsyncIterator[RawOrchestrator]:
    async with open_raw_orchestrator() as server:
        yield server


async def call(raw: RawOrchestrator, method: str, path: str, body: object = None) -> tuple[int, object]:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    async with await trio.open_tcp_stream("127.0.0.1", raw.port) as stream:
        await stream.send_all(head + content)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.split(b"\r\n\r\n", 1)[1]:
            answer += await stream.receive_some()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(rest)


def subscribe_url(raw: RawOrchestrator, project: str = "p") -> str:
    return f"http://127.0.0.1:{raw.port}/api/progress/subscribe/{project}?token=abc"


async def until_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def upgrade_bytes(raw: RawOrchestrator) -> bytes:
    """All bytes that follow an upgrade request until the server closes the connection."""
    async with await trio.open_tcp_stream("127.0.0.1", raw.port) as stream:
        await stream.send_all(
            b"GET /api/progress/subscribe/p HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = await stream.receive_some()
        await stream.send_eof()
        while chunk := await stream.receive_some():
            answer += chunk
    return answer


async def test_login_and_refresh_rotate_tokens(raw: RawOrchestrator) -> None:
    _, first = await call(raw, "POST", "/api/auth/login", {"username": "admin", "password": "x"})
    assert isinstance(first, dict)
    assert raw.logins == [{"username": "admin", "password": "x"}]
    status, second = await call(raw, "POST", "/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert isinstance(second, dict)
    assert status == 200
    assert second["token"] != first["token"]
    status, _ = await call(raw, "POST", "/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert status == 401


async def test_rest_answers_can_be_set(raw: RawOrchestrator) -> None:
    raw.rest["GET /api/projects"] = [{"id": "only"}]
    raw.rest["GET /api/x"] = RestAnswer({"error": "no"}, 503)
    raw.rest["GET /api/y"] = lambda request: {"asked": request.path}
    assert await call(raw, "GET", "/api/projects") == (200, [{"id": "only"}])
    assert await call(raw, "GET", "/api/x") == (503, {"error": "no"})
    assert await call(raw, "GET", "/api/y") == (200, {"asked": "/api/y"})


async def test_only_the_given_prefixes_answer(raw: RawOrchestrator) -> None:
    raw.prefixes = ("",)
    assert (await call(raw, "POST", "/api/auth/login", {}))[0] == 404
    assert (await call(raw, "POST", "/auth/login", {}))[0] == 200


async def test_a_subscription_sends_and_receives(raw: RawOrchestrator, mock_clock: trio.testing.MockClock) -> None:
    async with open_socket(subscribe_url(raw, "a%20b")) as client:
        socket = await raw.connections.receive()
        assert (socket.project_id, socket.token) == ("a b", "abc")
        await socket.send_event("task_started", taskId="t")
        assert json.loads(await client.get_message())["taskId"] == "t"
        await client.send_message('{"type": "ping"}')
        assert json.loads(await client.get_message())["type"] == "pong"
        assert await socket.receive() == '{"type": "ping"}'
        await client.ping(b"x")
        assert socket.pings == [b"x"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.blast, frame(event_text("output", "p", output="x" * 70000)) * 3, 2)
            for _ in range(6):
                assert len(json.loads(await client.get_message())["output"]) == 70000
    await socket.closed.wait()
    assert socket.close_code == 1000
    assert raw.open_sockets == []


@pytest.mark.parametrize("code", [1000, 1008, 4001, 4401, 4404])
async def test_close_codes_are_exact(raw: RawOrchestrator, code: int) -> None:
    async with open_socket(subscribe_url(raw)) as client:
        socket = await raw.connections.receive()
        await socket.close(code, "because")
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await client.get_message()
    reason = caught.value.reason
    assert reason is not None
    assert (reason.code, reason.reason) == (code, "because")


async def test_reset_reaches_the_client_as_a_reset(raw: RawOrchestrator) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", raw.port) as stream:
        await stream.send_all(
            b"GET /api/progress/subscribe/p HTTP/1.1\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        socket = await raw.connections.receive()
        await socket.reset()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await until_end(stream)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        (Accept(frame("hello")), b"HTTP/1.1 101"),
        (Refuse(401), b"HTTP/1.1 401"),
        (Refuse(302, {"Location": "http://elsewhere"}), b"HTTP/1.1 302"),
        (WrongAccept(), b"HTTP/1.1 101"),
        (Garbage(b"\x00\x01nonsense"), b"\x00\x01nonsense"),
    ],
)
async def test_upgrade_answers(raw: RawOrchestrator, answer: UpgradeAnswer, start: bytes) -> None:
    raw.upgrade_answers.append(answer)
    got = await upgrade_bytes(raw)
    assert got.startswith(start)
    right_key = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in got
    assert right_key == isinstance(answer, Accept)
    assert b"hello" in got or not isinstance(answer, Accept)
    assert (await upgrade_bytes(raw)).startswith(b"HTTP/1.1 101"), "the next one is accepted again"


async def test_a_reset_instead_of_an_answer(raw: RawOrchestrator) -> None:
    raw.upgrade_answers.append(Reset())
    with pytest.raises(trio.BrokenResourceError):
        await upgrade_bytes(raw)


async def test_silence_answers_nothing_until_the_client_goes(raw: RawOrchestrator) -> None:
    raw.upgrade_answers.append(Silence())
    async with await trio.open_tcp_stream("127.0.0.1", raw.port) as stream:
        await stream.send_all(
            b"GET /api/progress/subscribe/p HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        )
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert len(raw.upgrades) == 1


async def test_away_refuses_on_the_same_port_and_comes_back(raw: RawOrchestrator) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", raw.port) as stream:
        await stream.send_all(b"GET /api/health HTTP/1.1\r\n\r\n")
        await stream.receive_some()
        await raw.go_away()
        assert await stream.receive_some() == b""
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", raw.port)
    raw.come_back()
    assert (await call(raw, "GET", "/api/health"))[0] == 200


def test_frames_of_every_length() -> None:
    assert frame("a") == b"\x81\x01a"
    assert frame(b"\xff", final=False) == b"\x01\x01\xff"
    assert frame("x" * 126)[:4] == b"\x81\x7e" + struct.pack("!H", 126)
    assert frame("x" * 65536)[:10] == b"\x81\x7f" + struct.pack("!Q", 65536)
