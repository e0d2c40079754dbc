"""The endpoints of the control API, as an ASGI application. Every error is JSON: ``{"error": one sentence}``."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aintandem_notify import log
from aintandem_notify.control import deliveries
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationChange,
    PauseResponse,
    PluginDetailResponse,
    ResponseModel,
    StatusResponse,
    printable_json,
)
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.control.server.auth import PUBLIC_PATHS, authorize
from aintandem_notify.control.server.plugins import plugin_detail
from aintandem_notify.control.server.request_parsing import (
    PAGE_KEYS,
    check_query,
    filter_from_body,
    filter_from_query,
    names_from_body,
    page_bounds,
    read_json_object,
    references_from_body,
)
from aintandem_notify.control.server.status import liveness, readiness, status_of
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.http_server.connections import mark_authenticated
from aintandem_notify.store import BulkResult

_log = log.get_logger(__name__)

Endpoint = Callable[[Request], Awaitable[ResponseModel]]

_WORDS: Final = {404: "there is nothing at {path}", 405: "{path} does not take {method}"}

_QUERIES: Final = {"/deliveries": PAGE_KEYS}
"""What may stand in the query; nothing at the other paths."""


def build_app(access: AgentAccess, *, token: str, address: str) -> ASGIApp:
    """The application; ``address`` is where it is served, for the status."""
    api = _Api(access, address)
    routes = [
        Route("/healthz", partial(_health, lambda: liveness(access))),
        Route("/readyz", partial(_health, lambda: readiness(access, access.clock.now()))),
        *(
            Route(path, _answering(endpoint, _QUERIES.get(path, frozenset())), methods=[method])
            for method, path, endpoint in (
                ("GET", "/status", api.status),
                ("GET", "/plugins/{name:path}", api.plugin),
                ("GET", "/deliveries", api.page),
                ("GET", "/deliveries/{id:path}", api.show),
                ("POST", "/deliveries/retry", partial(api.apply, AdminAction.RETRY)),
                ("POST", "/deliveries/drop", partial(api.apply, AdminAction.DROP)),
                ("POST", "/destinations/pause", partial(api.set_paused, access.pause)),
                ("POST", "/destinations/resume", partial(api.set_paused, access.resume)),
            )
        ),
    ]
    handlers = {RequestRefused: _refused, StoreError: _store_error, HTTPException: _no_route, Exception: _fault}
    return _guarded(Starlette(routes=routes, exception_handlers=handlers), token)


class _Json(Response):
    media_type = "application/json"


class _Api:
    """The endpoints that need the token."""

    def __init__(self, access: AgentAccess, address: str) -> None:
        self._access = access
        self._address = address

    async def status(self, _request: Request) -> StatusResponse:
        """GET /status"""
        return await status_of(self._access, self._address)

    async def plugin(self, request: Request) -> PluginDetailResponse:
        """GET /plugins/{name}"""
        return await plugin_detail(self._access, request.path_params["name"])

    async def page(self, request: Request) -> DeliveryPageResponse:
        """GET /deliveries?destination=&state=&since=&until=&limit=&before="""
        wanted, (most, before) = filter_from_query(request.query_params), page_bounds(request.query_params)
        return await self._access.storage.run(partial(deliveries.page, wanted=wanted, most=most, before=before))

    async def show(self, request: Request) -> DeliveryDetailResponse:
        """GET /deliveries/{id}"""
        reference, access = request.path_params["id"], self._access
        return await access.storage.run(lambda store: deliveries.show(store, reference, access.in_flight()))

    async def apply(self, what: AdminAction, request: Request) -> BulkResponse:
        """POST /deliveries/retry and /deliveries/drop, with ids or a filter"""
        body = await read_json_object(request)
        references, access = references_from_body(body), self._access
        now = access.clock.now()
        if references is not None:
            handled = [
                await access.storage.run(
                    partial(
                        deliveries.apply, what=what, references=references, now=now, in_flight=access.in_flight
                    )
                )
            ]
        else:
            handled = await self._apply_to_all(what, body)
        access.wake({name for step in handled for name in step.destinations})
        done = deliveries.summarize(handled)
        _log.info("deliveries changed by hand", act=what.value, count=done.count)
        return done

    async def _apply_to_all(self, what: AdminAction, body: dict[str, object]) -> "list[BulkResult]":
        """Step by step, so that the agent's own work goes on in between."""
        wanted, access = filter_from_body(body), self._access
        now = access.clock.now()
        steps: list[BulkResult] = []
        before: int | None = None
        while True:
            step = partial(
                deliveries.apply_to_batch,
                what=what,
                wanted=wanted,
                before=before,
                now=now,
                in_flight=access.in_flight,
            )
            portion = await access.storage.run(step)
            steps.append(portion.handled)
            if (before := portion.before) is None:
                return steps

    async def set_paused(self, how: Callable[[str], Awaitable[bool]], request: Request) -> PauseResponse:
        """POST /destinations/pause and /resume, with names"""
        names = names_from_body(await read_json_object(request))
        if unknown := [name for name in names if name not in self._access.pausable()]:
            raise self._no_destination(*unknown)
        turned: list[DestinationChange] = []
        for name in dict.fromkeys(names):
            try:
                turned.append(DestinationChange(name=name, changed=await how(name)))
            except LookupError:  # a reload has taken it away meanwhile
                raise self._no_destination(name) from None
        return PauseResponse(destinations=tuple(turned))

    def _no_destination(self, *names: str) -> RequestRefused:
        known = ", ".join(self._access.pausable()) or "none"
        return RequestRefused(f"there is no destination {', '.join(names)}; there are: {known}", status=404)


def _answering(endpoint: Endpoint, query: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    """``query``: the keys that the endpoint takes there."""

    async def respond(request: Request) -> Response:
        check_query(request, query)
        answer = await endpoint(request)
        return _Json(answer.to_json())

    return respond


async def _health(problem: Callable[[], str | None], _request: Request) -> Response:
    found = problem()
    return _Json(printable_json({"ok": found is None, "reason": found}), 200 if found is None else 503)


def _error(sentence: str, status: int) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return _Json(printable_json({"error": log.redact(sentence)}), status, headers)


async def _refused(_request: Request, error: Exception) -> Response:
    return _error(str(error), error.status if isinstance(error, RequestRefused) else 400)


async def _store_error(_request: Request, error: Exception) -> Response:
    return _error(str(error), 503)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    words = _WORDS.get(status, "this cannot be answered")
    return _error(words.format(path=request.url.path, method=request.method), status)


async def _fault(_request: Request, _error_raised: Exception) -> Response:
    return _error("the agent could not answer; its log says why", 500)


def _guarded(app: ASGIApp, token: str) -> ASGIApp:
    """``app`` behind its guard: what is refused never gets to it."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request = Request(scope)
        problem = authorize(request.method, scope["path"], request.headers, token)
        if problem is None:
            if scope["path"] not in PUBLIC_PATHS:
                mark_authenticated(scope)
            await app(scope, receive, send)
        else:
            await _error(str(problem), problem.status)(scope, receive, send)

    return guarded
