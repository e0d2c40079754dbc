"""A world in virtual time for the simulator's unit tests, and a small REST client for those with sockets."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import trio
from trio_websocket import WebSocketConnection

from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.wire.fault_proxy import FaultProxy
from aintandem_notify.simulator.wire.subscriptions import Subscriptions
from aintandem_notify.simulator.world.tokens import TokenIssuer
from aintandem_notify.simulator.world.world import World
from support.plain_client import open_socket
from support.trio_clock import TrioClock


@contextmanager
def simulated(nursery: trio.Nursery, *, seed: int = 1, speed: float = 1.0) -> Iterator[Simulator]:
    """A simulator without a server. Its clock is trio's."""
    clock = TrioClock()
    world = World(
        clock=clock,
        seed=seed,
        speed=speed,
        publish=lambda project_id, frame: simulator.publish(project_id, frame),
        spawn=nursery.start_soon,
    )
    with closing(FaultProxy("127.0.0.1", 0)) as front:
        simulator = Simulator(
            host="127.0.0.1",
            world=world,
            tokens=TokenIssuer(clock, 60.0),
            subscriptions=Subscriptions(),
            front=front,
            nursery=nursery,
        )
        yield simulator
        nursery.cancel_scope.cancel()


def types(simulator: Simulator, run_id: str) -> list[str]:
    """The types of the events about a task, execution or sandbox, in order."""
    return [frame["type"] for frame in about(simulator, run_id)]


def about(simulator: Simulator, run_id: str) -> list[dict[str, Any]]:
    """The events about a task, execution or sandbox, in order."""
    return [
        frame
        for frame in simulator.world.history
        if run_id in (frame.get("taskId"), frame.get("executionId"), frame.get("sandboxId"))
    ]


async def call(
    simulator: Simulator,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    raw: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
) -> tuple[int, Any]:
    """Send one REST call on a new connection. Returns the status and the JSON of the response.

    A header that is None is left out.
    """
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    fields = {"Host": f"127.0.0.1:{simulator.port}", "Connection": "close", "Content-Length": str(len(content))}
    fields |= {"Content-Type": "application/json"} if content else {}
    fields |= {} if token is None else {"Authorization": f"Bearer {token}"}
    all_headers = (fields | dict(headers or {})).items()
    head = f"{method} {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in all_headers if value is not None)
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(head.encode() + b"\r\n" + content)
        answer = b""
        while chunk := await stream.receive_some():
            answer += chunk
    top, _, answer_body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(answer_body)


async def login(simulator: Simulator) -> Mapping[str, str]:
    """Log in with the right password. Returns the response."""
    status, answer = await call(
        simulator, "POST", "/api/auth/login", {"username": "admin", "password": "admin123"}
    )
    assert status == 200
    tokens: Mapping[str, str] = answer
    return tokens


@asynccontextmanager
async def watching(simulator: Simulator, project_id: str = "project-123") -> AsyncIterator[WebSocketConnection]:
    """A socket that watches the project. Its ``connected`` frame has been read."""
    token = simulator.tokens.login("admin").token
    url = f"{simulator.url}/api/progress/subscribe/{project_id}?token={token}"
    async with open_socket(url) as socket:
        assert json.loads(await socket.get_message())["type"] == "connected"
        yield socket
