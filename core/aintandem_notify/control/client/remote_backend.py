"""The backend of a running agent: sends each operation as a request to its control API."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import trio

from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.delivery_filters import texts_of_filter
from aintandem_notify.control.discovery import ControlEndpoint
from aintandem_notify.control.episodes.changes import Snooze
from aintandem_notify.control.episodes.schemas import (
    AcknowledgementResponse,
    EpisodeEndResponse,
    EpisodeListResponse,
)
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.made_up import MadeUpEvent
from aintandem_notify.control.explain.requests import body_of
from aintandem_notify.control.explain.schemas import ExplanationResponse
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationListResponse,
    HealthAnswer,
    PauseResponse,
    PluginDetailResponse,
    ReloadResponse,
    ResponseModel,
    SilenceListResponse,
    SilenceResponse,
    StatusResponse,
)
from aintandem_notify.control.silences import check_texts
from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.store import DeliveryFilter

ANSWER_TIMEOUT_S: Final = 30.0
"""Seconds that a response may take. A change of 100,000 deliveries takes several."""
MAX_RESPONSE_BYTES: Final = 32 * 2**20

SLOW_S: Final = 2.0
"""Seconds after which the person who waits for a reload gets a word."""

A = TypeVar("A")
R = TypeVar("R", bound=ResponseModel)


class RemoteBackend:
    """Implements ``backend.ControlBackend``."""

    def __init__(self, endpoint: ControlEndpoint) -> None:
        self._endpoint = endpoint

    def status(self) -> StatusResponse:
        """Returns the state of the agent, its projects, plugins, destinations and store."""
        return self._call(StatusResponse, "GET", "/status")

    def plugin(self, name: str) -> PluginDetailResponse:
        """Returns everything about a plugin instance."""
        return self._call(PluginDetailResponse, "GET", f"/plugins/{quote(name, safe='')}")

    def destinations(self) -> DestinationListResponse:
        """Returns the destinations of the config, and those that only have a queue."""
        return self._call(DestinationListResponse, "GET", "/destinations")

    def page(self, delivery_filter: DeliveryFilter, *, limit: int, before: int | None) -> DeliveryPageResponse:
        """Returns up to ``limit`` matching deliveries with an id below ``before``, the newest first."""
        query = (
            texts_of_filter(delivery_filter)
            | {"limit": str(limit)}
            | ({} if before is None else {"before": str(before)})
        )
        return self._call(DeliveryPageResponse, "GET", f"/deliveries?{urlencode(query)}")

    def show(self, reference: str) -> DeliveryDetailResponse:
        """Returns everything about one delivery."""
        return self._call(DeliveryDetailResponse, "GET", f"/deliveries/{quote(reference, safe='')}")

    def apply(self, action: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retries or drops these deliveries."""
        return self._call(BulkResponse, "POST", f"/deliveries/{action}", {"ids": list(references)})

    def apply_to_all(self, action: AdminAction, delivery_filter: DeliveryFilter) -> BulkResponse:
        """Retries or drops all matching deliveries."""
        return self._call(BulkResponse, "POST", f"/deliveries/{action}", texts_of_filter(delivery_filter))

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pauses or resumes these destinations."""
        path = f"/destinations/{'pause' if paused else 'resume'}"
        return self._call(PauseResponse, "POST", path, {"names": list(names)})

    def silences(self) -> SilenceListResponse:
        """Returns the active silences, the next to expire first."""
        return self._call(SilenceListResponse, "GET", "/silences")

    def add_silence(
        self, matchers: Mapping[str, str], *, expires_at: datetime, owner: str, reason: str
    ) -> SilenceResponse:
        """Adds a silence that begins now."""
        check_texts(matchers, owner, reason)
        body = {
            "matchers": dict(matchers),
            "expires_at": expires_at.isoformat(),
            "owner": owner,
            "reason": reason,
        }
        return self._call(SilenceResponse, "POST", "/silences", body)

    def end_silences(self, silence_ids: Sequence[str]) -> SilenceListResponse:
        """Ends these silences, and returns them."""
        return self._call(SilenceListResponse, "POST", "/silences/end", {"ids": list(silence_ids)})

    def episodes(self, *, with_ended: bool) -> EpisodeListResponse:
        """Returns the open episodes, the oldest first; then the last ended ones if wanted."""
        return self._call(EpisodeListResponse, "GET", "/episodes?all=true" if with_ended else "/episodes")

    def end_episodes(self, references: Sequence[str]) -> EpisodeEndResponse:
        """Ends these episodes; whoever was told of the trouble is told."""
        return self._call(EpisodeEndResponse, "POST", "/episodes/end", {"ids": list(references)})

    def acknowledge(self, references: Sequence[str], by: str) -> AcknowledgementResponse:
        """Ends reminders and escalation of these episodes."""
        check_texts({}, owner=by, reason="")
        body = {"ids": list(references), "by": by}
        return self._call(AcknowledgementResponse, "POST", "/episodes/acknowledge", body)

    def snooze(self, wanted: Snooze) -> SilenceResponse:
        """Silences the subject of an episode."""
        check_texts({}, wanted.owner, wanted.reason)
        body = {
            "id": wanted.reference,
            "expires_at": wanted.expires_at.isoformat(),
            "owner": wanted.owner,
            "reason": wanted.reason,
        }
        return self._call(SilenceResponse, "POST", "/episodes/snooze", body)

    def explain(self, reference: str) -> ExplanationResponse:
        """Returns the fate of the events that ``reference`` names."""
        return self._call(ExplanationResponse, "GET", f"/explain/{quote(reference, safe='')}")

    def explain_made_up(self, made_up: MadeUpEvent) -> ExplanationResponse:
        """Returns the fate that the event would have by the rules that the agent uses."""
        return self._call(ExplanationResponse, "POST", "/explain", body_of(made_up))

    def health(self, path: str) -> HealthAnswer:
        """Returns the answer at ``/healthz`` or ``/readyz``."""
        response = self._request("GET", path, None)
        return HealthAnswer(ok=response.status == 200, health=str(_json_object(response).get("health", "unknown")))

    def reload(self, *, timeout_s: float, on_slow: Callable[[], None], slow_s: float = SLOW_S) -> ReloadResponse:
        """Has the agent read its config again. Calls ``on_slow`` once if that takes more than ``slow_s`` seconds.

        Raises RequestRefused if the agent has not finished after ``timeout_s`` seconds.
        """

        async def ask() -> HttpAnswer | None:
            answer: HttpAnswer | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_call_after, slow_s, on_slow)
                with trio.move_on_after(timeout_s):
                    answer = await self._send("POST", "/reload", {}, timeout_s=math.inf)
                nursery.cancel_scope.cancel()
            return answer

        if (answer := self._run(ask)) is None:
            raise RequestRefused(
                f"the agent has not finished after {timeout_s:g} s and goes on; its log will have the result",
                status=504,
            )
        return _parse(ReloadResponse, answer)

    def _call(self, kind: type[R], method: str, path: str, body: Mapping[str, Any] | None = None) -> R:
        return _parse(kind, self._request(method, path, body))

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> HttpAnswer:
        return self._run(partial(self._send, method, path, body))

    def _run(self, ask: Callable[[], Awaitable[A]]) -> A:
        try:
            return trio.run(ask)
        except* HttpFailed as errors:
            error = errors.exceptions[0]
            address, pid = self._endpoint.address, self._endpoint.pid
            raise RequestRefused(
                f"an agent runs (process {pid}) but does not answer at {address}: {error}; its log names the code"
                " if a plugin blocks it",
                status=503,
            ) from None

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> HttpAnswer:
        async with HttpClient() as http:
            return await http.request(
                method,
                self._endpoint.address + path,
                headers={"Authorization": f"Bearer {self._endpoint.token}"},
                json=body,
                timeout=timeout_s,
                max_body=MAX_RESPONSE_BYTES,
            )


def _parse(kind: type[R], response: HttpAnswer) -> R:
    """Returns the response of this kind. Raises RequestRefused with the agent's sentence if it is an error."""
    if response.status != 200:
        raise RequestRefused(
            str(_json_object(response).get("error", f"HTTP {response.status}")), status=response.status
        )
    try:
        return kind.from_json(response.body)
    except ValueError:
        raise RequestRefused(
            "the agent answers in a way that this version does not understand", status=502
        ) from None


async def _call_after(seconds: float, function: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    function()


def _json_object(response: HttpAnswer) -> Mapping[str, Any]:
    try:
        value = read_json(response.body, strict=False)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
