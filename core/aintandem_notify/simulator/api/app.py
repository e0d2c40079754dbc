"""The simulator as an ASGI application: REST and the progress socket, under ``/api`` and without a prefix."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from aintandem_notify.errors import ApiError
from aintandem_notify.foundation.http_server.connections import mark_authenticated
from aintandem_notify.foundation.http_server.cross_site import has_json_body, is_cross_site_write, is_loopback_host
from aintandem_notify.foundation.http_server.server import BodyRefused, read_body
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.simulator.api.control import CONTROL_CALLS
from aintandem_notify.simulator.api.progress_socket import subscribe
from aintandem_notify.simulator.api.request_parsing import ApiRequest
from aintandem_notify.simulator.api.rest import CALLS, OPEN_CALLS, STATUSES
from aintandem_notify.simulator.api.routes import Call
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.world import iso

PREFIXES: Final = ("/api", "")
"""Prefixes of the API: the guide's URLs have ``/api``, the official SDK appends bare paths to its base URL."""

MAX_BODY_BYTES: Final = 2**20
"""Bytes of a request's body; our choice, ten times the longest prompt."""
BODY_S: Final = 30.0
"""Seconds for a request's body to arrive."""

_CODES: Final[Mapping[int, str]] = {404: "NOT_FOUND", 405: "NOT_FOUND"}

Handler = Callable[[Request], Awaitable[Response]]


def build_app(simulator: Simulator) -> ASGIApp:
    """The application for ``simulator``."""
    routes: list[BaseRoute] = []
    for prefix in PREFIXES:
        for (method, path), call in CALLS.items():
            handler = _handler(
                simulator,
                call,
                guarded=(method, path) not in OPEN_CALLS,
                faulty=True,
                status=STATUSES.get((method, path), 200),
            )
            routes.append(Route(prefix + path, handler, methods=[method]))
        routes.append(
            WebSocketRoute(
                prefix + "/progress/subscribe/{project_id}", lambda socket: subscribe(socket, simulator)
            )
        )
    for (method, path), call in CONTROL_CALLS.items():
        routes.append(Route(path, _handler(simulator, call, guarded=False, faulty=False), methods=[method]))
    return _guarded(Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route}), simulator)


def _guarded(app: ASGIApp, simulator: Simulator) -> ASGIApp:
    """Wraps ``app``: requests from web pages of other sites are refused before they reach it."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        problem = _refusal(HTTPConnection(scope), simulator.host) if scope["type"] != "lifespan" else None
        if problem is None:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(_error(scope["path"], problem, simulator))
        else:
            await _error(scope["path"], problem, simulator)(scope, receive, send)

    return guarded


def _refusal(request: HTTPConnection, bound_to: str) -> ApiError | None:
    """The error for a request that is refused, else None."""
    # A simulator that does not listen on loopback serves a network, under any host name.
    if is_loopback_host(f"[{bound_to}]" if ":" in bound_to else bound_to) and not is_loopback_host(
        request.headers.get("host", "")
    ):
        message = "this host name is not served here; use 127.0.0.1 or localhost"
        return ApiError(message, status=403, code="FORBIDDEN")
    if is_cross_site_write(request.scope.get("method", "CONNECT"), request.headers):
        return ApiError("requests from other sites are refused", status=403, code="FORBIDDEN")
    if not has_json_body(request.headers):
        message = "the body needs the header Content-Type: application/json"
        return ApiError(message, status=415, code="VALIDATION_ERROR")
    return None


def bearer(request: Request) -> str | None:
    """The bearer token of a request, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _handler(simulator: Simulator, call: Call, *, guarded: bool, faulty: bool, status: int = 200) -> Handler:
    async def handle_request(request: Request) -> Response:
        try:
            if faulty:
                await trio.sleep(simulator.faults.take_delay())
            if faulty and (failure := simulator.faults.take_failure()) is not None:
                raise ApiError("simulated trouble", status=failure, code="INTERNAL_ERROR")
            if guarded:
                if simulator.tokens.user_of(bearer(request) or "") is None:
                    raise ApiError("missing, wrong or expired token", status=401, code="UNAUTHORIZED")
                mark_authenticated(request.scope)
            body = await _body(request)
            answer = await call(
                ApiRequest(simulator, request.path_params, request.query_params, body, bearer(request))
            )
        except ApiError as error:
            return _error(request.url.path, error, simulator)
        return JSONResponse(answer, status)

    return handle_request


async def _body(request: Request) -> dict[str, Any]:
    try:
        content = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_S)
    except BodyRefused as error:
        raise ApiError(str(error), status=error.status, code="VALIDATION_ERROR") from None
    if not content:
        body: object = {}
    else:
        try:
            # Refuses lone surrogates and NaN, which could not be sent on in events.
            body = read_json(content, replace_invalid=False)
        except ValueError:
            raise ApiError("the body is no JSON", status=400, code="VALIDATION_ERROR") from None
    if not isinstance(body, dict):
        raise ApiError("the body is no JSON object", status=400, code="VALIDATION_ERROR")
    return body


def _error(path: str, error: ApiError, simulator: Simulator) -> Response:
    content = {
        "error": error.message,
        "code": error.code,
        "statusCode": error.status,
        "timestamp": iso(simulator.world.clock.now()),
        "path": path,
    }
    # A refused login has the form of a login's response as well: clients look for "success".
    if path.removeprefix("/api").startswith("/auth/"):
        content["success"] = False
    if error.details:
        content["details"] = error.details
    return JSONResponse(content, error.status)


async def _no_such_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    content = {
        "error": f"no route for {request.method} {request.url.path}",
        "code": _CODES.get(status, "INTERNAL_ERROR"),
        "statusCode": status,
        "path": request.url.path,
    }
    return JSONResponse(content, status)
