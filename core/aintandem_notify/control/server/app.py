"""The endpoints of the control API, as an ASGI application. Errors are JSON: ``{"error": "<a sentence>"}``.

``auth`` authorizes a request, ``request_parsing`` reads it, ``control.deliveries`` and ``access`` do the work.
"""

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
from aintandem_notify.control import deliveries, silences
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.delivery_filters import filter_from_texts
from aintandem_notify.control.episodes import changes
from aintandem_notify.control.episodes.lists import list_episodes
from aintandem_notify.control.episodes.schemas import (
    AcknowledgementResponse,
    EpisodeEndResponse,
    EpisodeListResponse,
)
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.made_up import explain_made_up, stage_state
from aintandem_notify.control.explain.past import EventSearch, explain_stored, search_on
from aintandem_notify.control.explain.requests import made_up_from_body
from aintandem_notify.control.explain.schemas import ExplanationResponse
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationChange,
    DestinationListResponse,
    DestinationResponse,
    HealthAnswer,
    PauseResponse,
    PluginDetailResponse,
    ReloadResponse,
    ResponseModel,
    SilenceListResponse,
    SilenceResponse,
    StatusResponse,
    printable_json,
)
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.control.server.auth import PUBLIC_PATHS, authorize, has_token
from aintandem_notify.control.server.plugins import plugin_detail
from aintandem_notify.control.server.reload import reload_config
from aintandem_notify.control.server.request_parsing import (
    EPISODES_KEYS,
    PAGE_KEYS,
    acknowledgement_from_body,
    check_query,
    filter_from_body,
    ids_from_body,
    names_from_body,
    page_bounds,
    read_json_object,
    references_from_body,
    silence_from_body,
    snooze_from_body,
    wants_ended,
)
from aintandem_notify.control.server.status import liveness, readiness, status_of
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.http_server.connections import mark_authenticated
from aintandem_notify.store import BulkResult

_log = log.get_logger(__name__)

Endpoint = Callable[[Request], Awaitable[ResponseModel]]

_HTTP_ERROR_TEXTS: Final = {404: "there is nothing at {path}", 405: "{path} does not take {method}"}

_QUERIES: Final = {"/deliveries": PAGE_KEYS, "/episodes": EPISODES_KEYS}
"""The keys that a path's query may have. All other paths accept no query."""


def build_app(access: AgentAccess, *, token: str, address: str) -> ASGIApp:
    """Returns the application. ``address`` is the URL at which it is served; the status shows it."""
    api = _ControlApi(access, address)
    routes = [
        Route("/healthz", partial(_health, lambda _request: liveness(access))),
        Route(
            "/readyz",
            partial(_health, lambda request: readiness(access, shows_details=has_token(request.headers, token))),
        ),
        *(
            Route(path, _with_checked_query(endpoint, _QUERIES.get(path, frozenset())), methods=[method])
            for method, path, endpoint in (
                ("GET", "/status", api.status),
                ("GET", "/plugins/{name:path}", api.plugin),
                ("GET", "/destinations", api.destinations),
                ("GET", "/deliveries", api.page),
                ("GET", "/deliveries/{id:path}", api.show),
                ("POST", "/deliveries/retry", partial(api.apply, AdminAction.RETRY)),
                ("POST", "/deliveries/drop", partial(api.apply, AdminAction.DROP)),
                ("POST", "/destinations/pause", partial(api.set_paused, access.pause)),
                ("POST", "/destinations/resume", partial(api.set_paused, access.resume)),
                ("GET", "/silences", api.silences),
                ("POST", "/silences", api.add_silence),
                ("POST", "/silences/end", api.end_silences),
                ("GET", "/episodes", api.episodes),
                ("POST", "/episodes/end", api.end_episodes),
                ("POST", "/episodes/acknowledge", api.acknowledge),
                ("POST", "/episodes/snooze", api.snooze),
                ("GET", "/explain/{reference:path}", api.explain),
                ("POST", "/explain", api.explain_made_up),
                ("POST", "/reload", api.reload),
            )
        ),
    ]
    handlers = {
        RequestRefused: _on_refused,
        StoreError: _on_store_error,
        HTTPException: _on_http_exception,
        Exception: _on_exception,
    }
    return _require_authorization(Starlette(routes=routes, exception_handlers=handlers), token)


class _JsonResponse(Response):
    media_type = "application/json"


class _ControlApi:
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

    async def destinations(self, _request: Request) -> DestinationListResponse:
        """GET /destinations"""
        snapshot = await self._access.destinations()
        return DestinationListResponse(destinations=tuple(map(DestinationResponse.model_validate, snapshot)))

    async def page(self, request: Request) -> DeliveryPageResponse:
        """GET /deliveries?destination=&project=&task=&state=&since=&until=&limit=&before="""
        delivery_filter = filter_from_texts(request.query_params)
        limit, before = page_bounds(request.query_params)
        search = deliveries.PageSearch(delivery_filter, limit, before)
        while not search.is_complete:
            step = partial(deliveries.search_on, search=search, configured=self._access.pausable())
            search = await self._access.storage.run(step)
        return search.response()

    async def show(self, request: Request) -> DeliveryDetailResponse:
        """GET /deliveries/{id}"""
        reference, access = request.path_params["id"], self._access
        show = partial(deliveries.show, reference=reference, now=access.clock.now(), in_flight=access.in_flight)
        return await access.storage.run(show)

    async def apply(self, action: AdminAction, request: Request) -> BulkResponse:
        """POST /deliveries/retry and /deliveries/drop, with ids or a filter"""
        body = await read_json_object(request, self._access.times.body_s)
        references, access = references_from_body(body), self._access
        now = access.clock.now()
        if references is not None:
            results = [
                await access.storage.run(
                    partial(
                        deliveries.apply, action=action, references=references, now=now, in_flight=access.in_flight
                    )
                )
            ]
        else:
            results = await self._apply_to_all(action, body)
        access.wake({name for batch in results for name in batch.destinations})
        response = deliveries.summarize(results)
        _log.info("deliveries changed by hand", act=action.value, count=response.count)
        return response

    async def _apply_to_all(self, action: AdminAction, body: dict[str, object]) -> "list[BulkResult]":
        """Works in batches, so that the agent's own work goes on in between."""
        delivery_filter, access = filter_from_body(body), self._access
        now = access.clock.now()
        batches: list[BulkResult] = []
        before: int | None = None
        while True:
            step = partial(
                deliveries.apply_to_batch,
                action=action,
                delivery_filter=delivery_filter,
                before=before,
                now=now,
                in_flight=access.in_flight,
                configured=access.pausable(),
            )
            batch = await access.storage.run(step)
            batches.append(batch.result)
            if (before := batch.before) is None:
                return batches

    async def set_paused(self, change: Callable[[str], Awaitable[bool]], request: Request) -> PauseResponse:
        """POST /destinations/pause and /resume, with names"""
        names = names_from_body(await read_json_object(request, self._access.times.body_s))
        if unknown := [name for name in names if name not in self._access.pausable()]:
            raise self._unknown_destination_error(*unknown)
        changes: list[DestinationChange] = []
        for name in dict.fromkeys(names):
            try:
                changes.append(DestinationChange(name=name, changed=await change(name)))
            except LookupError:  # a reload has removed it meanwhile
                raise self._unknown_destination_error(name) from None
        return PauseResponse(destinations=tuple(changes))

    async def silences(self, _request: Request) -> SilenceListResponse:
        """GET /silences"""
        now = self._access.clock.now()
        return await self._access.storage.run(lambda store: silences.list_active(store, now))

    async def add_silence(self, request: Request) -> SilenceResponse:
        """POST /silences, with matchers, expires_at, owner and reason"""
        silence = silence_from_body(
            await read_json_object(request, self._access.times.body_s), self._access.clock.now()
        )
        response = await self._access.storage.run(lambda store: silences.add(store, silence))
        _log.info("silence added by hand", id=silence.id, matchers=dict(silence.matchers), owner=silence.owner)
        self._access.look_again()
        return response

    async def end_silences(self, request: Request) -> SilenceListResponse:
        """POST /silences/end, with ids"""
        silence_ids = ids_from_body(await read_json_object(request, self._access.times.body_s))
        now = self._access.clock.now()
        response = await self._access.storage.run(lambda store: silences.end(store, silence_ids, now))
        _log.info("silences ended by hand", ids=silence_ids)
        self._access.look_again()
        return response

    async def episodes(self, request: Request) -> EpisodeListResponse:
        """GET /episodes?all="""
        with_ended, policy = wants_ended(request.query_params), self._access.explainer().policy
        return await self._access.storage.run(lambda store: list_episodes(store, policy, with_ended=with_ended))

    async def end_episodes(self, request: Request) -> EpisodeEndResponse:
        """POST /episodes/end, with ids"""
        references = ids_from_body(await read_json_object(request, self._access.times.body_s), example="ep_3f9a2b")
        access, explainer, now = self._access, self._access.explainer(), self._access.clock.now()
        result = await access.storage.run(
            lambda store: changes.end(store, references, explainer.policy, explainer.router, now)
        )
        access.wake(result.queued)
        access.look_again()
        _log.info("episodes ended by hand", ids=[episode.id for episode in result.response.episodes])
        return result.response

    async def acknowledge(self, request: Request) -> AcknowledgementResponse:
        """POST /episodes/acknowledge, with ids and by"""
        references, by = acknowledgement_from_body(await read_json_object(request, self._access.times.body_s))
        access, policy, now = self._access, self._access.explainer().policy, self._access.clock.now()
        response = await access.storage.run(lambda store: changes.acknowledge(store, references, by, policy, now))
        access.look_again()
        changed = [episode.id for episode in response.episodes if episode.changed]
        _log.info("episodes acknowledged by hand", ids=changed, by=by)
        return response

    async def snooze(self, request: Request) -> SilenceResponse:
        """POST /episodes/snooze, with id, expires_at, owner and reason"""
        wanted = snooze_from_body(await read_json_object(request, self._access.times.body_s))
        now = self._access.clock.now()
        response = await self._access.storage.run(lambda store: changes.snooze(store, wanted, now))
        _log.info("silence added by hand", id=response.id, matchers=response.matchers, owner=response.owner)
        self._access.look_again()
        return response

    async def explain(self, request: Request) -> ExplanationResponse:
        """GET /explain/{reference}"""
        access, explainer = self._access, self._access.explainer()
        search = EventSearch(request.path_params["reference"])
        while not search.is_complete:
            search = await access.storage.run(partial(search_on, search=search))
        known = [status.project for status in access.projects()]
        events = [
            await access.storage.run(partial(explain_stored, stored=stored, explainer=explainer, known=known))
            for stored in search.events
        ]
        return ExplanationResponse(
            config=str(access.config), reference=search.reference, events=tuple(events), more=search.more
        )

    async def explain_made_up(self, request: Request) -> ExplanationResponse:
        """POST /explain, with event, sample, project and at"""
        made_up = made_up_from_body(await read_json_object(request, self._access.times.body_s))
        access, explainer, now = self._access, self._access.explainer(), self._access.clock.now()
        known = [status.project for status in access.projects()]
        explanation = await access.storage.run(
            lambda store: explain_made_up(made_up, explainer, known, stage_state(store, now), now)
        )
        return ExplanationResponse(config=str(access.config), reference=None, events=(explanation,))

    async def reload(self, request: Request) -> ReloadResponse:
        """POST /reload"""
        if await read_json_object(request, self._access.times.body_s):
            raise RequestRefused("/reload takes no fields: the agent reads the config that it was started with")
        return await reload_config(self._access)

    def _unknown_destination_error(self, *names: str) -> RequestRefused:
        known = ", ".join(self._access.pausable()) or "none"
        return RequestRefused(f"there is no destination {', '.join(names)}; there are: {known}", status=404)


def _with_checked_query(endpoint: Endpoint, query: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    """Returns a handler that refuses keys outside ``query`` and sends the endpoint's response as JSON."""

    async def respond(request: Request) -> Response:
        check_query(request, query)
        answer = await endpoint(request)
        return _JsonResponse(answer.to_json())

    return respond


async def _health(ask: Callable[[Request], HealthAnswer], request: Request) -> Response:
    answer = ask(request)
    return _JsonResponse(answer.to_json(), 200 if answer.ok else 503)


def _error(sentence: str, status: int) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return _JsonResponse(printable_json({"error": log.redact(sentence)}), status, headers)


async def _on_refused(_request: Request, error: Exception) -> Response:
    return _error(str(error), error.status if isinstance(error, RequestRefused) else 400)


async def _on_store_error(_request: Request, error: Exception) -> Response:
    return _error(str(error), 503)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    text = _HTTP_ERROR_TEXTS.get(status, "this request is not possible")
    return _error(text.format(path=request.url.path, method=request.method), status)


async def _on_exception(_request: Request, _error_raised: Exception) -> Response:
    return _error("the agent could not answer; its log says why", 500)


def _require_authorization(app: ASGIApp, token: str) -> ASGIApp:
    """Wraps ``app`` so that only authorized requests reach it."""

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
