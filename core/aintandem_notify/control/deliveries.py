"""Lists, shows, retries and drops deliveries in an open store.

The control API (``server.app``) calls these functions in the running agent; ``client.offline_backend`` calls them
where no agent runs.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DeliveryResponse,
    HoldResponse,
    RefusedDelivery,
)
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.store import (
    BulkResult,
    DeliveryFilter,
    DeliveryRow,
    DeliveryState,
    GateRow,
    Store,
    TransactionPurpose,
)

MAX_BATCH: Final = 500
"""Maximum number of deliveries that one transaction changes, so that the agent's own work waits only milliseconds.
Also the maximum number of ids in one request.
"""
MAX_PAGE_SIZE: Final = 200
MAX_REPORTED_IDS: Final = 1000
"""Maximum number of ids that a response lists; the others are only counted."""
MAX_ID_DIGITS: Final = 18
"""Longer ids do not fit into a 64-bit column."""
MAX_CANDIDATES: Final = 5
"""Maximum number of deliveries that the error lists when an id is ambiguous."""


class AdminAction(StrEnum):
    """A change to deliveries that a person asks for."""

    RETRY = "retry"
    DROP = "drop"


ELIGIBLE_STATES: Final = {
    AdminAction.DROP: frozenset({DeliveryState.QUEUED}),
    AdminAction.RETRY: frozenset(DeliveryState) - {DeliveryState.QUEUED, DeliveryState.DELIVERED},
}
"""The states that each action applies to. A filter selects only deliveries in these states."""


def page(store: Store, delivery_filter: DeliveryFilter, *, limit: int, before: int | None) -> DeliveryPageResponse:
    """Returns up to ``limit`` matching deliveries with an id below ``before``, the newest first."""
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        entries = store.delivery_queries.page(delivery_filter, limit=limit + 1, before=before)
    return DeliveryPageResponse(
        deliveries=tuple(DeliveryResponse.model_validate(_fields(entry)) for entry in entries[:limit]),
        next=entries[limit - 1].id if len(entries) > limit else None,
    )


def show(store: Store, reference: str, in_flight_ids: Collection[int] = ()) -> DeliveryDetailResponse:
    """Returns everything about one delivery. Raises RequestRefused if ``reference`` names none or several.

    ``in_flight_ids``: the deliveries that this agent is sending.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        entry = store.delivery_queries.get(resolve(store, reference))
        if entry is None:
            raise RequestRefused(f"there is no delivery {reference}", status=404)
        gate = store.gates.read(entry.destination, entry.variant)
        blocked_by = store.delivery_queries.blocked_by(entry.id)
    in_flight = entry.claimed or entry.id in in_flight_ids
    is_waiting = entry.state is DeliveryState.QUEUED and not in_flight
    fields = _fields(entry) | {
        "thread": entry.thread,
        "fault": entry.fault,
        "fault_count": entry.fault_count,
        "plain": entry.plain,
        "in_flight": in_flight,
        "claimed_by": entry.claimed_by,
        "only_by": entry.node,
        "behind": blocked_by if is_waiting else None,
        "held": _hold(gate) if is_waiting and gate is not None else None,
        "content": entry.content,
        "receipt": entry.receipt,
    }
    return DeliveryDetailResponse.model_validate(fields)


def resolve(store: Store, reference: str) -> int:
    """Returns the id of the delivery with this number, or whose notification id starts with ``reference``.

    Raises RequestRefused if there is none, or several. Inside a transaction.
    """
    if reference.isascii() and reference.isdigit():
        if len(reference) > MAX_ID_DIGITS:
            raise RequestRefused(f"there is no delivery {reference[:MAX_ID_DIGITS]}…", status=404)
        return int(reference)
    text = reference.lower()
    if not text.startswith("ntf_") or len(text) < len("ntf_x"):
        raise RequestRefused(
            f"{reference} is no id of a delivery; write its number, or the beginning of its notification's id"
        )
    matches = store.delivery_queries.find_by_notification(text, limit=MAX_CANDIDATES + 1)
    if not matches:
        raise RequestRefused(f"there is no delivery of a notification {reference}", status=404)
    if len(matches) > 1:
        named = ", ".join(f"{id_} (to {destination})" for id_, destination, _ in matches[:MAX_CANDIDATES])
        more = " and more" if len(matches) > MAX_CANDIDATES else ""
        raise RequestRefused(f"{reference} is ambiguous: it may be {named}{more}", status=409)
    return matches[0][0]


def apply(
    store: Store,
    action: AdminAction,
    references: Sequence[str],
    *,
    now: datetime,
    in_flight: Callable[[], Collection[int]],
) -> BulkResult:
    """Retries or drops these deliveries.

    Raises RequestRefused, and has changed nothing, if a reference names no delivery or several.
    """
    with store.transaction(fenced=False):
        ids = list(dict.fromkeys(resolve(store, reference) for reference in references))
        return _apply_to_ids(store, action, ids, now, in_flight)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of one batch. ``before`` is the next batch's upper bound of ids; None after the last batch."""

    result: BulkResult
    before: int | None


def apply_to_batch(
    store: Store,
    action: AdminAction,
    delivery_filter: DeliveryFilter,
    *,
    before: int | None,
    now: datetime,
    in_flight: Callable[[], Collection[int]],
) -> BatchResult:
    """Retries or drops the next batch of matching deliveries.

    Call it again with the returned ``before`` until that is None. Raises RequestRefused if the action applies to
    none of the states in the filter.
    """
    states = ELIGIBLE_STATES[action] & (set(delivery_filter.states) or ELIGIBLE_STATES[action])
    if not states:
        raise RequestRefused(f"{action} is for deliveries that are {_join_with_or(ELIGIBLE_STATES[action])}")
    with store.transaction(fenced=False):
        ids = store.delivery_queries.ids(
            replace(delivery_filter, states=tuple(states)), limit=MAX_BATCH, before=before
        )
        result = _apply_to_ids(store, action, ids, now, in_flight)
    return BatchResult(result, ids[-1] if len(ids) == MAX_BATCH else None)


def _apply_to_ids(
    store: Store, action: AdminAction, ids: Sequence[int], now: datetime, in_flight: Callable[[], Collection[int]]
) -> BulkResult:
    if action is AdminAction.RETRY:
        return store.delivery_queries.retry(ids, now=now)
    return store.delivery_queries.drop(ids, now=now, in_flight=in_flight())


def summarize(batches: Sequence[BulkResult]) -> BulkResponse:
    """Combines the results of all batches into one response."""
    changed = [delivery_id for batch in batches for delivery_id in batch.changed]
    refused = [
        RefusedDelivery(id=id_, reason=reason) for batch in batches for id_, reason in batch.refused.items()
    ]
    return BulkResponse(
        count=len(changed),
        ids=tuple(sorted(changed)[:MAX_REPORTED_IDS]),
        refused=tuple(refused[:MAX_REPORTED_IDS]),
    )


def _join_with_or(states: Iterable[DeliveryState]) -> str:
    return " or ".join(sorted(states))


def _hold(gate: GateRow) -> HoldResponse | None:
    """Returns the state that holds the destination back; None if nothing does."""
    if gate.paused:
        return HoldResponse(state="paused", retry_at=None, last_error=gate.last_error)
    if gate.state == GateState.OPEN:
        return None
    disabled = gate.state == GateState.DISABLED
    return HoldResponse(state=gate.state, retry_at=None if disabled else gate.retry_at, last_error=gate.last_error)


def _fields(entry: DeliveryRow) -> dict[str, object]:
    content = entry.content or {}
    queued = entry.state is DeliveryState.QUEUED
    return {
        "id": entry.id,
        "notification": entry.notification_id,
        "destination": entry.destination,
        "state": entry.state,
        "created_at": entry.created_at,
        "due_at": entry.due_at if queued else None,
        "settled_at": entry.settled_at,
        "attempts": entry.attempts,
        "reason": entry.reason,
        "title": content.get("title"),
        "severity": content.get("severity"),
        "project": (content.get("project") or {}).get("name"),
        "instead_of": entry.instead_of,
    }
