"""The simulator's progress socket over a real port, and the effects of faults on it."""

import json
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES
from aintandem_notify.errors import ApiError
from aintandem_notify.simulator import open_simulator
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator
from support.plain_client import open_socket
from support.simulated import call, login, watching

WIRE_TYPES = {name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}


async def read(socket: WebSocketConnection) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(await socket.get_message())
    return content


async def close_code(socket: WebSocketConnection) -> int:
    """The way in which the server closed the socket. Skips earlier frames."""
    with pytest.raises(ConnectionClosed) as closed:
        await read_until_closed(socket)
    return closed.value.reason.code if closed.value.reason is not None else 1006


async def read_until_closed(socket: WebSocketConnection) -> None:
    while True:
        await socket.get_message()


async def until_types(socket: WebSocketConnection, expected: set[str]) -> None:
    received: set[str] = set()
    while not expected <= received:
        received.add((await read(socket))["type"])


@pytest.mark.parametrize("prefix", ["/api", ""])
async def test_all_types_arrive_where_they_belong(simulator: Simulator, prefix: str) -> None:
    token = (await login(simulator))["token"]
    url = f"{simulator.url}{prefix}/progress/subscribe/project-123?token={token}"
    async with open_socket(url) as socket, watching(simulator, "project-456") as other:
        assert (await read(socket))["type"] == "connected"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_types, socket, WIRE_TYPES)
            await all_types(simulator, "project-123")
        simulator.send("project-456", '{"type": "task_queued"}')
        assert await read(other) == {"type": "task_queued"}, "nothing of the other project"


async def test_json_pings_are_answered_and_garbage_is_not(simulator: Simulator) -> None:
    async with watching(simulator) as socket:
        for text in ("garbage", "[]", '{"type": "hello"}', '{"type": "ping"}'):
            await socket.send_message(text)
        await socket.send_message(b"\x00")
        assert (await read(socket))["type"] == "pong"
        await socket.ping()


async def test_the_server_may_ping_by_itself() -> None:
    async with open_simulator(ping_interval=0.01) as simulator, watching(simulator) as socket:
        assert (await read(socket))["type"] == "ping"


@pytest.mark.parametrize("query", ["", "?token=", "?token=a.b.c"])
async def test_a_bad_token_is_refused_at_the_upgrade(simulator: Simulator, query: str) -> None:
    with pytest.raises(ConnectionRejected) as refused:
        async with open_socket(f"{simulator.url}/api/progress/subscribe/p{query}"):
            pass
    assert refused.value.status_code == 401


async def test_a_bad_token_is_refused_by_a_close_on_request() -> None:
    async with (
        open_simulator(refusal="close") as simulator,
        open_socket(f"{simulator.url}/api/progress/subscribe/p?token=x") as socket,
    ):
        assert await close_code(socket) == 4401


async def test_leaving_ends_the_subscription(simulator: Simulator) -> None:
    async with watching(simulator, "p"):
        await simulator.wait_subscribed("p")
    await simulator.wait_unsubscribed("p")


@pytest.mark.parametrize("code", [1001, 1008, 1011, 4001, 4404])
async def test_a_drop_with_a_close_code(simulator: Simulator, code: int) -> None:
    async with watching(simulator) as socket, watching(simulator, "project-456") as other:
        assert simulator.drop("project-123", code=code) == 1
        assert await close_code(socket) == code
        simulator.send("project-456", "{}")
        assert await read(other) == {}


@pytest.mark.parametrize("reset", [False, True])
async def test_a_drop_without_a_close_frame(simulator: Simulator, reset: bool) -> None:
    async with watching(simulator, "p") as socket:
        simulator.drop(reset=reset)
        assert await close_code(socket) == 1006
        await simulator.wait_unsubscribed("p")


async def test_a_reset_is_a_reset(simulator: Simulator) -> None:
    token = (await login(simulator))["token"]
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(
            f"GET /api/progress/subscribe/p?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await simulator.wait_subscribed("p")
        simulator.drop("p", reset=True)
        with pytest.raises(trio.BrokenResourceError) as broken:
            await drain(stream)
    assert isinstance(broken.value.__cause__, ConnectionResetError)


async def drain(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def test_a_stall_holds_back_frames_and_pongs_until_it_ends(simulator: Simulator) -> None:
    async with watching(simulator) as socket, watching(simulator, "project-456") as other:
        assert simulator.stall("project-123") == 1
        simulator.send("project-123", "{}")
        simulator.send("project-456", "{}")
        assert await read(other) == {}
        async with trio.open_nursery() as nursery:
            answered = trio.Event()

            async def ping() -> None:
                await socket.ping()
                answered.set()

            nursery.start_soon(ping)
            # Bytes from the client still arrive; they are answered after the stall.
            await other.ping()
            assert not answered.is_set()
            simulator.resume()
            await answered.wait()
        assert await read(socket) == {}


async def test_a_stalled_socket_can_be_left(simulator: Simulator) -> None:
    async with watching(simulator, "p") as socket:
        simulator.stall()
        await trio.aclose_forcefully(socket._stream)
    await simulator.wait_unsubscribed("p")


async def test_a_stall_may_end_by_itself(simulator: Simulator) -> None:
    async with watching(simulator, "p") as socket:
        simulator.stall("p", seconds=0.01)
        simulator.send("p", "{}")
        assert await read(socket) == {}


async def test_duplicates_and_malformed_frames(simulator: Simulator) -> None:
    async with watching(simulator, "p") as socket:
        simulator.duplicate(1)
        simulator.world.emit("p", "task_queued", taskId="t1")
        simulator.world.emit("p", "task_queued", taskId="t2")
        assert [(await read(socket))["taskId"] for _ in range(3)] == ["t1", "t1", "t2"]
        simulator.send("p", "{not json")
        simulator.send("p", b"\xff\xfe")
        assert [await socket.get_message(), await socket.get_message()] == ["{not json", b"\xff\xfe"]


async def test_an_invalid_frame_raises(simulator: Simulator) -> None:
    async with watching(simulator, "p") as socket:
        for project in ("p", "nobody-watches"):
            with pytest.raises(TypeError, match="a frame is str or bytes, not dict"):
                simulator.send(project, {"type": "task_queued"})  # type: ignore[arg-type]
            with pytest.raises(ApiError, match="frame holds a lone surrogate"):
                simulator.send(project, "\ud800")
        simulator.send("p", "{}")
        assert await read(socket) == {}


async def test_expiring_tokens_can_close_open_sockets(simulator: Simulator) -> None:
    async with watching(simulator) as socket:
        simulator.expire_tokens(close_code=4401)
        assert await close_code(socket) == 4401


async def test_a_restart_keeps_the_port_and_the_world(simulator: Simulator) -> None:
    task = simulator.tasks.submit("p")
    port = simulator.port
    async with watching(simulator, "p") as socket:
        with simulator.front.away():
            assert await close_code(socket) == 1006
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", port)
    async with watching(simulator, "p") as socket:
        await simulator.restart(0.0)
        assert await close_code(socket) == 1006
    assert simulator.port == port
    token = (await login(simulator))["token"]
    assert (await call(simulator, "GET", f"/projects/p/tasks/{task.id}", token=token))[0] == 200


async def test_a_client_that_reads_nothing_delays_neither_others_nor_the_end() -> None:
    async with open_simulator() as simulator, watching(simulator, "p") as quick:
        token = simulator.tokens.login("admin").token
        async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as slow:
            await slow.send_all(
                f"GET /progress/subscribe/p?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n".encode()
            )
            await simulator.wait_subscribed("p", sockets=2)
            big = json.dumps({"type": "output", "output": "x" * 1_000_000})
            for _ in range(20):
                simulator.send("p", big)
                assert len((await read(quick))["output"]) == 1_000_000
            # This test is about leaving both blocks: sends to the slow client block in the server.


async def test_faults_over_rest(simulator: Simulator) -> None:
    async def fault(name: str, **fields: Any) -> int:
        status, _ = await call(simulator, "POST", "/simulator/faults", {"fault": name, **fields})
        return status

    async with watching(simulator, "p") as socket:
        assert await call(simulator, "GET", "/simulator") == (
            200,
            {"subscribers": {"project-123": 0, "project-456": 0, "p": 1}},
        )
        assert await fault("malformed", projectId="p") == 200
        assert not str(await socket.get_message()).endswith("}")
        assert await fault("malformed", projectId="p", frame="x", binary=True) == 200
        assert await socket.get_message() == b"x"
        assert await fault("malformed", projectId="p", frame="\ud800") == 400
        assert await fault("duplicate", count=2) == 200
        assert simulator.faults.duplicates == 2
        assert await fault("stall", projectId="p") == 200
        assert await fault("resume") == 200
        assert await fault("drop", code=4001) == 200
        assert await close_code(socket) == 4001
    assert await fault("refuse_logins", count=3) == 200
    assert simulator.faults.refused_logins == 3
    assert await fault("expire_tokens", refreshTokens=True) == 200
    assert await fault("fail_requests", count=1, status=500) == 200
    assert (await call(simulator, "GET", "/health"))[0] == 500
    assert await fault("fail_requests", status=200) == 400
    assert await fault("drop", code=7) == 400
    assert await fault("earthquake") == 400
    assert await fault("restart", seconds=0) == 200


async def test_all_types_over_rest(simulator: Simulator) -> None:
    status, answer = await call(simulator, "POST", "/simulator/all-types", {"projectId": "p"})
    assert status == 200
    assert set(answer["ids"]) == {
        "task_completed",
        "task_failed",
        "task_cancelled",
        "workflow_execution_completed",
        "workflow_execution_failed",
        "sandbox_stopped",
        "sandbox_error",
    }
    assert {frame["type"] for frame in simulator.world.history} == WIRE_TYPES
