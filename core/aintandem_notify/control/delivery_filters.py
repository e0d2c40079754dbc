"""The filter of deliveries as texts: how the client writes it into a request, and how the server reads it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.store import DeliveryFilter, DeliveryState

FILTER_KEYS: Final = frozenset({"destination", "project", "task", "state", "since", "until"})
"""The keys of a filter."""


def texts_of_filter(delivery_filter: DeliveryFilter) -> dict[str, str]:
    """Returns the texts from which ``filter_from_texts`` makes the same filter."""
    fields = {
        "destination": delivery_filter.destination,
        "project": delivery_filter.project,
        "task": delivery_filter.task,
        "state": ",".join(delivery_filter.states) or None,
        "since": None if delivery_filter.since is None else delivery_filter.since.isoformat(),
        "until": None if delivery_filter.until is None else delivery_filter.until.isoformat(),
    }
    return {name: value for name, value in fields.items() if value is not None}


def filter_from_texts(values: Mapping[str, Any]) -> DeliveryFilter:
    """Returns the filter of destination, project, task, state (several with commas), since, until (ISO 8601).

    An empty value is refused: it is more likely a mistake than a wish for all.
    """
    return DeliveryFilter(
        destination=text_of(values, "destination"),
        project=text_of(values, "project"),
        task=text_of(values, "task"),
        states=_states(values),
        since=time_of(values, "since"),
        until=time_of(values, "until"),
    )


def text_of(values: Mapping[str, Any], name: str) -> str | None:
    """Returns None if the key is missing."""
    if name not in values:
        return None
    value = values[name]
    if not isinstance(value, str):
        raise RequestRefused(f"{name} should be a text")
    if not value:
        raise RequestRefused(f"{name} is empty; leave it out if it does not matter")
    return value


def _states(values: Mapping[str, Any]) -> tuple[DeliveryState, ...]:
    text = text_of(values, "state")
    names = [] if text is None else text.split(",")
    if not set(names) <= set(DeliveryState):
        raise RequestRefused(f"state should be {', '.join(DeliveryState)}, or several of these")
    return tuple(DeliveryState(name) for name in dict.fromkeys(names))


def time_of(values: Mapping[str, Any], name: str) -> datetime | None:
    text = text_of(values, name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestRefused(f"{name} should be a time, as 2026-03-01T12:00:00Z") from None
