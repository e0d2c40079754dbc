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
from aintandem_notify.delivery.gate import Gate
from aintandem_notify.delivery.gate_rows import from_row
from aintandem_notify.store import (
    BulkResult,
    DeliveryFilter,
    DeliveryRow,
    DeliveryState,
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


@dataclass(frozen=True, slots=True)
class PageSearch:
    """A page that is being searched for, with the rows of the search so far, newest first.

    ``rows`` may have one more than ``limit``, which shows that there is another page.
    """

    delivery_filter: DeliveryFilter
    limit: int
    before: int | None
    rows: tuple[DeliveryRow, ...] = ()
    is_complete: bool = False

    def response(self) -> DeliveryPageResponse:
        """Returns the page."""
        has_more = len(self.rows) > self.limit
        return DeliveryPageResponse(
            deliveries=tuple(DeliveryResponse.model_validate(_fields(row)) for row in self.rows[: self.limit]),
            next=self.rows[self.limit - 1].id if has_more else None,
        )


def search_on(store: Store, search: PageSearch, configured: Collection[str]) -> PageSearch:
    """Returns ``search`` with the next matching deliveries; call it again until it is complete.

    Each call is a short transaction. Raises RequestRefused if the filter names a destination that is neither
    ``configured`` nor in the store.
    """
    missing = search.limit + 1 - len(search.rows)
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        _require_known(store, search.delivery_filter, configured)
        scan = store.delivery_queries.scan(search.delivery_filter, limit=missing, before=search.before)
        rows = (*search.rows, *store.delivery_queries.rows(scan.ids))
    is_complete = scan.before is None or len(rows) > search.limit
    return replace(search, rows=rows, before=scan.before, is_complete=is_complete)


def _require_known(store: Store, delivery_filter: DeliveryFilter, configured: Collection[str]) -> None:
    name = delivery_filter.destination
    if name is None or name in configured:
        return
    known = list(dict.fromkeys([*configured, *store.delivery_queries.destinations()]))
    if name not in known:
        raise RequestRefused(
            f"there is no destination {name}; there are: {', '.join(known) or 'none'}", status=404
        )


def show(
    store: Store, reference: str, now: datetime, in_flight: Callable[[], Collection[int]] = tuple
) -> DeliveryDetailResponse:
    """Returns everything about one delivery. Raises RequestRefused if ``reference`` names none or several.

    ``in_flight``: returns the deliveries that this agent is sending.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        entry = store.delivery_queries.get(resolve(store, reference))
        if entry is None:
            raise RequestRefused(f"there is no delivery {reference}", status=404)
        gate = store.gates.read(entry.destination, entry.variant)
        blocked_by = store.delivery_queries.blocked_by(entry.id)
    is_in_flight = entry.claimed or entry.id in in_flight()
    is_waiting = entry.state is DeliveryState.QUEUED and not is_in_flight
    fields = _fields(entry) | {
        "thread": entry.thread,
        "fault": entry.fault,
        "fault_count": entry.fault_count,
        "plain": entry.plain,
        "in_flight": is_in_flight,
        "claimed_by": entry.claimed_by,
        "only_by": entry.node,
        "behind": blocked_by if is_waiting else None,
        "held": _hold(from_row(gate, 0.0, now), now) if is_waiting and gate is not None else None,
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
    configured: Collection[str],
) -> BatchResult:
    """Retries or drops the next batch of matching deliveries.

    Call it again with the returned ``before`` until that is None. Raises RequestRefused if the action applies to
    none of the states in the filter, or if the filter names a destination that is neither ``configured`` nor in
    the store.
    """
    states = ELIGIBLE_STATES[action] & (set(delivery_filter.states) or ELIGIBLE_STATES[action])
    if not states:
        raise RequestRefused(f"{action} is for deliveries that are {_join_with_or(ELIGIBLE_STATES[action])}")
    with store.transaction(fenced=False):
        _require_known(store, delivery_filter, configured)
        scan = store.delivery_queries.scan(
            replace(delivery_filter, states=tuple(states)), limit=MAX_BATCH, before=before
        )
        result = _apply_to_ids(store, action, scan.ids, now, in_flight)
    return BatchResult(result, scan.before)


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


def _hold(gate: Gate, now: datetime) -> HoldResponse | None:
    """Returns the state that holds the destination back; None if nothing does."""
    if gate.is_flowing:
        return None
    return HoldResponse(state=gate.label, retry_at=gate.retry_time(0.0, now), last_error=gate.last_error)


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
