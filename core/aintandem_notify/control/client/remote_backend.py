"""The backend of a running agent: each question is a request to its control API."""

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
"""Seconds that an answer may take; to change 100,000 deliveries takes some of them."""
MOST_ANSWER: Final = 32 * 2**20

V = TypeVar("V", bound=ResponseModel)


class RemoteBackend:
    """As ``ControlBackend`` says."""

    def __init__(self, whereabouts: ControlEndpoint) -> None:
        self._whereabouts = whereabouts

    def status(self) -> StatusResponse:
        """All at a glance."""
        return self._ask(StatusResponse, "GET", "/status")

    def plugin(self, name: str) -> PluginDetailResponse:
        """All about a plugin instance."""
        return self._ask(PluginDetailResponse, "GET", f"/plugins/{quote(name, safe='')}")

    def page(self, wanted: DeliveryFilter, *, most: int, before: int | None) -> DeliveryPageResponse:
        """The newest deliveries that are meant, before the id ``before``."""
        query = _filter(wanted) | {"limit": str(most)} | ({} if before is None else {"before": str(before)})
        return self._ask(DeliveryPageResponse, "GET", f"/deliveries?{urlencode(query)}")

    def show(self, reference: str) -> DeliveryDetailResponse:
        """All about one delivery."""
        return self._ask(DeliveryDetailResponse, "GET", f"/deliveries/{quote(reference, safe='')}")

    def apply(self, what: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retry or drop these."""
        return self._ask(BulkResponse, "POST", f"/deliveries/{what}", {"ids": list(references)})

    def apply_to_all(self, what: AdminAction, wanted: DeliveryFilter) -> BulkResponse:
        """Retry or drop all that are meant."""
        return self._ask(BulkResponse, "POST", f"/deliveries/{what}", _filter(wanted))

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pause or resume these destinations."""
        path = f"/destinations/{'pause' if paused else 'resume'}"
        return self._ask(PauseResponse, "POST", path, {"names": list(names)})

    def health(self, path: str) -> str | None:
        """What ``/healthz`` or ``/readyz`` complain of; None when all is well."""
        reason: str | None = _parsed(self._request("GET", path, None)).get("reason")
        return reason

    def _ask(self, kind: type[V], method: str, path: str, body: Mapping[str, Any] | None = None) -> V:
        answer = self._request(method, path, body)
        if answer.status != 200:
            raise RequestRefused(str(_parsed(answer).get("error", f"HTTP {answer.status}")), status=answer.status)
        try:
            return kind.from_json(answer.body)
        except ValueError:
            raise RequestRefused(
                "the agent answers in a way that this version does not understand", status=502
            ) from None

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> HttpAnswer:
        where = self._whereabouts

        async def send() -> HttpAnswer:
            async with HttpClient() as http:
                return await http.request(
                    method,
                    where.address + path,
                    headers={"Authorization": f"Bearer {where.token}"},
                    json=body,
                    timeout=ANSWER_TIMEOUT_S,
                    max_body=MOST_ANSWER,
                )

        try:
            return trio.run(send)
        except HttpFailed as error:
            raise RequestRefused(
                f"an agent runs (process {where.pid}) but does not answer at {where.address}: {error.reason}",
                status=503,
            ) from None


def _filter(wanted: DeliveryFilter) -> dict[str, str]:
    fields = {
        "destination": wanted.destination,
        "state": ",".join(wanted.states) or None,
        "since": None if wanted.since is None else wanted.since.isoformat(),
        "until": None if wanted.until is None else wanted.until.isoformat(),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _parsed(answer: HttpAnswer) -> Mapping[str, Any]:
    try:
        found = read_json(answer.body, strict=False)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
