"""One request as the endpoints see it: checked values out of its path, query and body; Refused for wrong ones."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request

from aintandem_notify.control.deliveries import MAX_BATCH, MAX_PAGE_SIZE
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.foundation.http_server.server import BodyRefused, read_body
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.store import DeliveryFilter, DeliveryState

MAX_BODY_BYTES: Final = 65_536
"""Bytes of a request's body that are read."""
BODY_TIMEOUT_S: Final = 10.0
"""Seconds that a body has to arrive."""
DEFAULT_PAGE_SIZE: Final = 50
"""Deliveries on a page, if nobody says how many."""

FILTER_KEYS: Final = frozenset({"destination", "state", "since", "until"})
"""What a filter may name."""
PAGE_KEYS: Final = FILTER_KEYS | {"limit", "before"}
"""What may be asked of a page."""


def check_query(request: Request, keys: frozenset[str]) -> None:
    """Raises Refused for a query with other keys, or with one of them twice: what is left out widens a filter."""
    query = request.query_params
    if unknown := query.keys() - keys:
        takes = f"has {_listed(keys)}" if keys else "has no keys"
        raise RequestRefused(f"unknown: {_listed(unknown)}; the query of {request.url.path} {takes}")
    if twice := {name for name in query if len(query.getlist(name)) > 1}:
        raise RequestRefused(f"{_listed(twice)}: given twice; once is enough, with commas between several states")


async def read_json_object(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; an empty one if nothing was."""
    try:
        content = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
    except BodyRefused as error:
        raise RequestRefused(str(error), status=error.status) from None
    try:
        found = read_json(content or b"{}", replace_invalid=False)
    except ValueError:
        raise RequestRefused("the body is no JSON") from None
    if not isinstance(found, dict):
        raise RequestRefused("the body is no JSON object")
    return found


def filter_from_query(values: Mapping[str, Any]) -> DeliveryFilter:
    """The filter: destination, state (one or several, with commas between), since, until (ISO 8601).

    What is there but empty is refused: nobody means all by it.
    """
    return DeliveryFilter(
        destination=_text(values, "destination"),
        states=_states(values),
        since=_moment(values, "since"),
        until=_moment(values, "until"),
    )


def filter_from_body(body: Mapping[str, Any]) -> DeliveryFilter:
    """The filter in a body, which must name something: nobody means all by leaving it out."""
    if unknown := body.keys() - FILTER_KEYS:
        raise RequestRefused(f"unknown: {_listed(unknown)}; a filter has {_listed(FILTER_KEYS)}")
    if not body:
        raise RequestRefused(f"name ids, or a filter of {_listed(FILTER_KEYS)}")
    return filter_from_query(body)


def references_from_body(body: Mapping[str, Any]) -> list[str] | None:
    """The deliveries that a body names; None if it has no ids."""
    if "ids" not in body:
        return None
    if len(body) > 1:
        raise RequestRefused("name ids or a filter, not both")
    return _texts(body, "ids")


def names_from_body(body: Mapping[str, Any]) -> list[str]:
    """The destinations that a body names."""
    if body.keys() != {"names"}:
        raise RequestRefused('name the destinations, and nothing else, as {"names": ["slack.team"]}')
    return _texts(body, "names")


def page_bounds(query: Mapping[str, str]) -> tuple[int, int | None]:
    """How many deliveries a page should have, and before which id it begins."""
    most = _number(query, "limit")
    if most is not None and not 1 <= most <= MAX_PAGE_SIZE:
        raise RequestRefused(f"limit should be 1 to {MAX_PAGE_SIZE}")
    return most or DEFAULT_PAGE_SIZE, _number(query, "before")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _text(values: Mapping[str, Any], name: str) -> str | None:
    """None if it is left out."""
    if name not in values:
        return None
    value = values[name]
    if not isinstance(value, str):
        raise RequestRefused(f"{name} should be a text")
    if not value:
        raise RequestRefused(f"{name} is empty; leave it out if it does not matter")
    return value


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    texts = body[name]
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise RequestRefused(f"{name} should be a list of texts")
    if len(texts) > MAX_BATCH:
        raise RequestRefused(f"at most {MAX_BATCH} {name} at once")
    return texts


def _states(values: Mapping[str, Any]) -> tuple[DeliveryState, ...]:
    text = _text(values, "state")
    names = [] if text is None else text.split(",")
    if not set(names) <= set(DeliveryState):
        raise RequestRefused(f"state should be {', '.join(DeliveryState)}, or several of these")
    return tuple(DeliveryState(name) for name in dict.fromkeys(names))


def _number(values: Mapping[str, str], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise RequestRefused(f"{name} should be a whole number")
    return int(value)


def _moment(values: Mapping[str, Any], name: str) -> datetime | None:
    text = _text(values, name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestRefused(f"{name} should be a time, as 2026-03-01T12:00:00Z") from None
