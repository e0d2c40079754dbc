"""The backend of a running agent: sends each operation as a request to its control API."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import trio

from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.discovery import ControlEndpoint
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationListResponse,
    PauseResponse,
    PluginDetailResponse,
    ResponseModel,
    StatusResponse,
)
from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.store import DeliveryFilter

ANSWER_TIMEOUT_S: Final = 30.0
"""Seconds that a response may take. A change of 100,000 deliveries takes several."""
MAX_RESPONSE_BYTES: Final = 32 * 2**20

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
            _filter_fields(delivery_filter)
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
        return self._call(BulkResponse, "POST", f"/deliveries/{action}", _filter_fields(delivery_filter))

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pauses or resumes these destinations."""
        path = f"/destinations/{'pause' if paused else 'resume'}"
        return self._call(PauseResponse, "POST", path, {"names": list(names)})

    def health(self, path: str) -> str | None:
        """Returns the reason that ``/healthz`` or ``/readyz`` gives; None if the agent is well."""
        reason: str | None = _json_object(self._request("GET", path, None)).get("reason")
        return reason

    def _call(self, kind: type[R], method: str, path: str, body: Mapping[str, Any] | None = None) -> R:
        response = self._request(method, path, body)
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

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> HttpAnswer:
        endpoint = self._endpoint

        async def send() -> HttpAnswer:
            async with HttpClient() as http:
                return await http.request(
                    method,
                    endpoint.address + path,
                    headers={"Authorization": f"Bearer {endpoint.token}"},
                    json=body,
                    timeout=ANSWER_TIMEOUT_S,
                    max_body=MAX_RESPONSE_BYTES,
                )

        try:
            return trio.run(send)
        except HttpFailed as error:
            address, pid = endpoint.address, endpoint.pid
            raise RequestRefused(
                f"an agent runs (process {pid}) but does not answer at {address}: {error.reason}", status=503
            ) from None


def _filter_fields(delivery_filter: DeliveryFilter) -> dict[str, str]:
    fields = {
        "destination": delivery_filter.destination,
        "project": delivery_filter.project,
        "task": delivery_filter.task,
        "state": ",".join(delivery_filter.states) or None,
        "since": None if delivery_filter.since is None else delivery_filter.since.isoformat(),
        "until": None if delivery_filter.until is None else delivery_filter.until.isoformat(),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _json_object(response: HttpAnswer) -> Mapping[str, Any]:
    try:
        value = read_json(response.body, strict=False)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
