"""The progress socket: serves one subscriber of one project."""

import json
from typing import Any

import trio
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from aintandem_notify.foundation.http_server.connections import mark_authenticated
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.wire.subscriptions import Subscription
from aintandem_notify.simulator.world.world import iso

UNAUTHORIZED = 4401
"""Our close code for a bad token; 4000 and up are free for applications (RFC 6455 §7.4.2)."""


async def subscribe(socket: WebSocket, simulator: Simulator) -> None:
    """Serve the socket until either side closes it."""
    project_id = socket.path_params["project_id"]
    if simulator.tokens.user_of(socket.query_params.get("token", "")) is None:
        await _refuse(socket, simulator)
        return
    mark_authenticated(socket.scope)
    simulator.world.project(project_id)
    await socket.accept()
    connection = simulator.front.connection_from(socket.client.port) if socket.client is not None else None
    with simulator.subscriptions.opened(project_id, connection) as subscription:
        subscription.put(_control("connected", simulator, projectId=project_id))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, socket, subscription, simulator, nursery.cancel_scope)
            if simulator.ping_interval is not None:
                nursery.start_soon(_ping, subscription, simulator, simulator.ping_interval)
            await _write(socket, subscription)
            nursery.cancel_scope.cancel()


async def _refuse(socket: WebSocket, simulator: Simulator) -> None:
    if simulator.refusal == "close":
        await socket.accept()
        await socket.close(UNAUTHORIZED, "Unauthorized")
        return
    content = {"error": "missing, wrong or expired token", "code": "UNAUTHORIZED", "statusCode": 401}
    await socket.send_denial_response(JSONResponse(content, 401))


async def _write(socket: WebSocket, subscription: Subscription) -> None:
    try:
        while (frame := await subscription.next()) is not None:
            if isinstance(frame, str):
                await socket.send_text(frame)
            else:
                await socket.send_bytes(frame)
        await socket.close(subscription.close_code or 1000)
    except WebSocketDisconnect:
        pass


async def _read(
    socket: WebSocket, subscription: Subscription, simulator: Simulator, scope: trio.CancelScope
) -> None:
    """Answer pings until the client disconnects."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        if _is_ping(message.get("text")):
            subscription.put(_control("pong", simulator))
    scope.cancel()


async def _ping(subscription: Subscription, simulator: Simulator, interval: float) -> None:
    while True:
        await trio.sleep(interval)
        subscription.put(_control("ping", simulator))


def _is_ping(text: str | None) -> bool:
    try:
        content = read_json(text or "")
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("type") == "ping"


def _control(kind: str, simulator: Simulator, **fields: Any) -> str:
    return json.dumps({"type": kind, "timestamp": iso(simulator.world.clock.now()), **fields})
