"""Parses a request's query and body into checked values. Raises RequestRefused for wrong ones.

For ``app``; the results are arguments of ``control.deliveries``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request

from aintandem_notify.control.deliveries import MAX_BATCH, MAX_PAGE_SIZE
from aintandem_notify.control.delivery_filters import FILTER_KEYS, filter_from_texts, text_of, time_of
from aintandem_notify.control.episodes.changes import Snooze
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.silences import new_silence
from aintandem_notify.foundation.http_server.server import BodyRefused, read_body
from aintandem_notify.foundation.untrusted_json import read_json
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import DeliveryFilter

MAX_BODY_BYTES: Final = 65_536
"""Maximum size of a request's body."""
DEFAULT_PAGE_SIZE: Final = 50
"""Deliveries on a page if the query has no ``limit``."""

SILENCE_KEYS: Final = frozenset({"matchers", "expires_at", "owner", "reason"})
"""The keys of a silence."""
SNOOZE_KEYS: Final = frozenset({"id", "expires_at", "owner", "reason"})
"""The keys of a snooze."""
EPISODES_KEYS: Final = frozenset({"all"})
"""The keys of a query for episodes."""
PAGE_KEYS: Final = FILTER_KEYS | {"limit", "before"}
"""The keys of a query for a page."""


def check_query(request: Request, keys: frozenset[str]) -> None:
    """Raises RequestRefused for a query with other keys, or with a key twice.

    If a key were ignored, the filter would select more than the client meant.
    """
    query = request.query_params
    if unknown := query.keys() - keys:
        accepted = f"accepts {_join(keys)}" if keys else "accepts no query"
        raise RequestRefused(f"unknown: {_join(unknown)}; {request.url.path} {accepted}")
    if repeated := {name for name in query if len(query.getlist(name)) > 1}:
        raise RequestRefused(f"{_join(repeated)}: given twice; once is enough, with commas between several states")


async def read_json_object(request: Request, timeout_s: float) -> dict[str, Any]:
    """Returns the JSON object in the body, which must arrive in time; an empty one for an empty body."""
    try:
        content = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=timeout_s)
    except BodyRefused as error:
        raise RequestRefused(str(error), status=error.status) from None
    try:
        value = read_json(content or b"{}", replace_invalid=False)
    except ValueError:
        raise RequestRefused("the body is no JSON") from None
    if not isinstance(value, dict):
        raise RequestRefused("the body is no JSON object")
    return value


def filter_from_body(body: Mapping[str, Any]) -> DeliveryFilter:
    """Returns the filter in a body. An empty body is refused: it is more likely a mistake."""
    if unknown := body.keys() - FILTER_KEYS:
        raise RequestRefused(f"unknown: {_join(unknown)}; a filter has {_join(FILTER_KEYS)}")
    if not body:
        raise RequestRefused(f"name ids, or a filter of {_join(FILTER_KEYS)}")
    return filter_from_texts(body)


def references_from_body(body: Mapping[str, Any]) -> list[str] | None:
    """Returns the references to deliveries in a body; None if it has no ``ids``."""
    if "ids" not in body:
        return None
    if len(body) > 1:
        raise RequestRefused("name ids or a filter, not both")
    return _texts(body, "ids")


def names_from_body(body: Mapping[str, Any]) -> list[str]:
    """Returns the names of destinations in a body."""
    if body.keys() != {"names"}:
        raise RequestRefused('name the destinations, and nothing else, as {"names": ["slack.team"]}')
    return _texts(body, "names")


def ids_from_body(body: Mapping[str, Any], *, example: str = "3f9a2b1c") -> list[str]:
    """Returns the ids of silences or episodes in a body; an error shows an ``example``."""
    if body.keys() != {"ids"}:
        raise RequestRefused(f'name the ids, and nothing else, as {{"ids": ["{example}"]}}')
    return _texts(body, "ids")


def wants_ended(query: Mapping[str, str]) -> bool:
    """Returns whether a list of episodes should have the ended ones, too."""
    value = query.get("all", "false")
    if value not in ("true", "false"):
        raise RequestRefused("all should be true or false")
    return value == "true"


def acknowledgement_from_body(body: Mapping[str, Any]) -> tuple[list[str], str]:
    """Returns the ids of episodes in a body, and who acknowledges them."""
    if not body.keys() <= {"ids", "by"} or "ids" not in body:
        raise RequestRefused('name the ids, and who acknowledges, as {"ids": ["ep_3f9a2b"], "by": "ana"}')
    return _texts(body, "ids"), _optional_text(body, "by")


def snooze_from_body(body: Mapping[str, Any]) -> Snooze:
    """Returns the snooze of id, expires_at (ISO 8601), owner and reason."""
    if unknown := body.keys() - SNOOZE_KEYS:
        raise RequestRefused(f"unknown: {_join(unknown)}; a snooze has {_join(SNOOZE_KEYS)}")
    reference, expires_at = text_of(body, "id"), time_of(body, "expires_at")
    if reference is None:
        raise RequestRefused('id is missing: that of an episode, as "ep_3f9a2b"')
    if expires_at is None:
        raise RequestRefused("expires_at is missing: the time at which the silence ends")
    return Snooze(reference, expires_at, _optional_text(body, "owner"), _optional_text(body, "reason"))


def silence_from_body(body: Mapping[str, Any], now: datetime) -> Silence:
    """Returns the silence of matchers, expires_at (ISO 8601), owner and reason."""
    if unknown := body.keys() - SILENCE_KEYS:
        raise RequestRefused(f"unknown: {_join(unknown)}; a silence has {_join(SILENCE_KEYS)}")
    matchers = body.get("matchers")
    if not isinstance(matchers, dict) or not all(isinstance(glob, str) for glob in matchers.values()):
        raise RequestRefused('matchers should be an object of globs, as {"task": "train-*"}')
    expires_at = time_of(body, "expires_at")
    if expires_at is None:
        raise RequestRefused("expires_at is missing: the time at which the silence ends")
    owner, reason = _optional_text(body, "owner"), _optional_text(body, "reason")
    return new_silence(matchers, expires_at=expires_at, owner=owner, reason=reason, now=now)


def page_bounds(query: Mapping[str, str]) -> tuple[int, int | None]:
    """Returns the number of deliveries on the page, and the id that theirs must be below (None: no limit)."""
    limit = _number(query, "limit")
    if limit is not None and not 1 <= limit <= MAX_PAGE_SIZE:
        raise RequestRefused(f"limit should be 1 to {MAX_PAGE_SIZE}")
    return limit or DEFAULT_PAGE_SIZE, _number(query, "before")


def _optional_text(body: Mapping[str, Any], name: str) -> str:
    return "" if body.get(name) == "" else text_of(body, name) or ""


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    texts = body[name]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestRefused(f"{name} should be a list of texts")
    if len(texts) > MAX_BATCH:
        raise RequestRefused(f"at most {MAX_BATCH} {name} at once")
    return texts


def _number(values: Mapping[str, str], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise RequestRefused(f"{name} should be a whole number")
    return int(value)
