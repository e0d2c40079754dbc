"""One request as the endpoints see it: checked values out of its path, query and body; Refused for wrong ones."""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from aintandem_notify.control.deliveries import MOST_AT_ONCE, MOST_ON_A_PAGE
from aintandem_notify.control.refusal import Refused
from aintandem_notify.store import DeliveryState, Wanted

MOST_BODY: Final = 65_536
"""Bytes of a request's body that are read."""
PAGE: Final = 50
"""Deliveries on a page, if nobody says how many."""

_FILTER: Final = frozenset({"destination", "state", "since", "until"})


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; an empty one if nothing was."""
    content = bytearray()
    try:
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > MOST_BODY:
                    raise Refused(f"the body has more than {MOST_BODY} bytes", status=413)
    except ClientDisconnect:
        raise Refused("the body did not end") from None
    try:
        found = from_json(bytes(content) or b"{}", allow_inf_nan=False)
    except ValueError:
        raise Refused("the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refused("the body is no JSON object")
    return found


def wanted_in(values: Mapping[str, Any]) -> Wanted:
    """The filter: destination, state (one or several, with commas between), since, until (ISO 8601)."""
    states = [name for name in _text(values, "state", "").split(",") if name]
    for name in states:
        if name not in set(DeliveryState):
            raise Refused(f"state should be {', '.join(DeliveryState)}, or several of these")
    return Wanted(
        destination=_text(values, "destination", "") or None,
        states=tuple(DeliveryState(name) for name in dict.fromkeys(states)),
        since=_moment(values, "since"),
        until=_moment(values, "until"),
    )


def filter_of(body: Mapping[str, Any]) -> Wanted:
    """The filter in a body, which must name something: nobody means all by leaving it out."""
    if unknown := body.keys() - _FILTER:
        raise Refused(f"unknown: {', '.join(sorted(unknown))}; a filter has {', '.join(sorted(_FILTER))}")
    if not body:
        raise Refused(f"name ids, or a filter of {', '.join(sorted(_FILTER))}")
    return wanted_in(body)


def references_in(body: Mapping[str, Any]) -> list[str] | None:
    """The deliveries that a body names; None if it has no ids."""
    if "ids" not in body:
        return None
    ids = body["ids"]
    if len(body) > 1:
        raise Refused("name ids or a filter, not both")
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise Refused("ids should be a list of texts")
    if len(ids) > MOST_AT_ONCE:
        raise Refused(f"at most {MOST_AT_ONCE} ids at once")
    return ids


def page_of(query: Mapping[str, str]) -> tuple[int, int | None]:
    """How many deliveries a page should have, and before which id it begins."""
    most = _number(query, "limit")
    if most is not None and not 1 <= most <= MOST_ON_A_PAGE:
        raise Refused(f"limit should be 1 to {MOST_ON_A_PAGE}")
    return most or PAGE, _number(query, "before")


def _text(values: Mapping[str, Any], name: str, default: str) -> str:
    value = values.get(name, default)
    if not isinstance(value, str):
        raise Refused(f"{name} should be a text")
    return value


def _number(values: Mapping[str, str], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise Refused(f"{name} should be a whole number")
    return int(value)


def _moment(values: Mapping[str, Any], name: str) -> datetime | None:
    text = _text(values, name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{name} should be a time, as 2026-03-01T12:00:00Z") from None
