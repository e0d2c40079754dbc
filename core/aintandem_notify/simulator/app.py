"""The simulator as an ASGI application: REST and the progress socket, under ``/api`` and bare."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from aintandem_notify.errors import ApiError
from aintandem_notify.foreign_json import read_json
from aintandem_notify.simulator.asked import Asked
from aintandem_notify.simulator.calls import Call
from aintandem_notify.simulator.control import CONTROL_CALLS
from aintandem_notify.simulator.progress import subscribe
from aintandem_notify.simulator.rest import CALLS, OPEN_CALLS, STATUSES
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world import iso

PREFIXES: Final = ("/api", "")
"""Where the API lives: the guide's URLs have ``/api``, the official SDK appends bare paths to its base URL."""

_CODES: Final[Mapping[int, str]] = {404: "NOT_FOUND", 405: "NOT_FOUND"}

Handler = Callable[[Request], Awaitable[Response]]


def build_app(simulator: Simulator) -> Starlette:
    """The application over a simulator."""
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
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route})


def bearer(request: Request) -> str | None:
    """The token of a request, None without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _handler(simulator: Simulator, call: Call, *, guarded: bool, faulty: bool, status: int = 200) -> Handler:
    async def handle_request(request: Request) -> Response:
        try:
            if faulty:
                await trio.sleep(simulator.faults.take_delay())
            if faulty and (failure := simulator.faults.take_failure()) is not None:
                raise ApiError("simulated trouble", status=failure, code="INTERNAL_ERROR")
            if guarded and simulator.tokens.user_of(bearer(request) or "") is None:
                raise ApiError("missing, wrong or expired token", status=401, code="UNAUTHORIZED")
            body = await _body(request)
            answer = await call(Asked(simulator, request.path_params, request.query_params, body, bearer(request)))
        except ApiError as error:
            return _error(request, error, simulator)
        return JSONResponse(answer, status)

    return handle_request


async def _body(request: Request) -> dict[str, Any]:
    try:
        content = await request.body()
    except ClientDisconnect:
        raise ApiError("the body did not end", status=400, code="VALIDATION_ERROR") from None
    if not content:
        body: object = {}
    else:
        try:
            # Refuses lone surrogates and NaN, which could not be sent on.
            body = read_json(content, mends=False)
        except ValueError:
            raise ApiError("the body is no JSON", status=400, code="VALIDATION_ERROR") from None
    if not isinstance(body, dict):
        raise ApiError("the body is no JSON object", status=400, code="VALIDATION_ERROR")
    return body


def _error(request: Request, error: ApiError, simulator: Simulator) -> Response:
    content = {
        "error": error.message,
        "code": error.code,
        "statusCode": error.status,
        "timestamp": iso(simulator.world.clock.now()),
        "path": request.url.path,
    }
    # A refused login is told in the form of the login's answer too: clients look for "success".
    if request.url.path.removeprefix("/api").startswith("/auth/"):
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
