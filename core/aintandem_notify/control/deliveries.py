"""What can be asked of the deliveries and done to them, on an open store: by the running agent, or without one."""

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
"""Deliveries that one transaction changes, so that the agent's own work waits for milliseconds only."""
MAX_PAGE_SIZE: Final = 200
MAX_REPORTED_IDS: Final = 1000
"""Ids that an answer names; the others are counted."""
MAX_ID_DIGITS: Final = 18
"""More than databases count with."""
MAX_CANDIDATES: Final = 5
"""Deliveries that are named when an id is ambiguous."""


class AdminAction(StrEnum):
    """What people can do to deliveries."""

    RETRY = "retry"
    DROP = "drop"


ELIGIBLE_STATES: Final = {
    AdminAction.DROP: frozenset({DeliveryState.QUEUED}),
    AdminAction.RETRY: frozenset(DeliveryState) - {DeliveryState.QUEUED, DeliveryState.DELIVERED},
}
"""The states that each is for; a filter means these, whatever else fits it."""


def page(store: Store, wanted: DeliveryFilter, *, most: int, before: int | None) -> DeliveryPageResponse:
    """The newest that are meant, before the id ``before``."""
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        entries = store.delivery_queries.page(wanted, limit=most + 1, before=before)
    return DeliveryPageResponse(
        deliveries=tuple(DeliveryResponse.model_validate(_facts(entry)) for entry in entries[:most]),
        next=entries[most - 1].id if len(entries) > most else None,
    )


def show(store: Store, reference: str, flying: Collection[int] = ()) -> DeliveryDetailResponse:
    """All about one delivery; raises Refused for what names none or several.

    ``flying``: the ids that this agent has in hand.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        entry = store.delivery_queries.get(resolve(store, reference))
        if entry is None:
            raise RequestRefused(f"there is no delivery {reference}", status=404)
        gate = store.gates.read(entry.destination, entry.variant)
        behind = store.delivery_queries.blocked_by(entry.id)
    in_flight = entry.claimed or entry.id in flying
    waits = entry.state is DeliveryState.QUEUED and not in_flight
    facts = _facts(entry) | {
        "thread": entry.thread,
        "fault": entry.fault,
        "fault_count": entry.fault_count,
        "plain": entry.plain,
        "in_flight": in_flight,
        "claimed_by": entry.claimed_by,
        "only_by": entry.node,
        "behind": behind if waits else None,
        "held": _held(gate) if waits and gate is not None else None,
        "content": entry.content,
        "receipt": entry.receipt,
    }
    return DeliveryDetailResponse.model_validate(facts)


def resolve(store: Store, reference: str) -> int:
    """The id of the delivery that a person means: its number, or how its notification's id begins.

    Raises Refused for what means none or several. Inside a transaction.
    """
    if reference.isascii() and reference.isdigit():
        if len(reference) > MAX_ID_DIGITS:
            raise RequestRefused(f"there is no delivery {reference[:MAX_ID_DIGITS]}…", status=404)
        return int(reference)
    text = reference.lower()
    if not text.startswith("ntf_") or len(text) < len("ntf_x"):
        raise RequestRefused(
            f"{reference} is no id of a delivery; write its number, or how its notification's id begins"
        )
    found = store.delivery_queries.find_by_notification(text, limit=MAX_CANDIDATES + 1)
    if not found:
        raise RequestRefused(f"there is no delivery of a notification {reference}", status=404)
    if len(found) > 1:
        named = ", ".join(f"{one} (to {destination})" for one, destination, _ in found[:MAX_CANDIDATES])
        more = " and more" if len(found) > MAX_CANDIDATES else ""
        raise RequestRefused(f"{reference} is ambiguous: it may be {named}{more}", status=409)
    return found[0][0]


def apply(
    store: Store,
    what: AdminAction,
    references: Sequence[str],
    *,
    now: datetime,
    in_flight: Callable[[], Collection[int]],
) -> BulkResult:
    """Retry or drop these; raises Refused, and then nothing has changed, when one of them names no delivery."""
    with store.transaction(fenced=False):
        ids = list(dict.fromkeys(resolve(store, reference) for reference in references))
        return _act(store, what, ids, now, in_flight)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What was done by one step of many; ``before`` is where the next begins, None when all is done."""

    handled: BulkResult
    before: int | None


def apply_to_batch(
    store: Store,
    what: AdminAction,
    wanted: DeliveryFilter,
    *,
    before: int | None,
    now: datetime,
    in_flight: Callable[[], Collection[int]],
) -> BatchResult:
    """Retry or drop the next ones that are meant; again with what it returns, until that is None."""
    states = ELIGIBLE_STATES[what] & (set(wanted.states) or ELIGIBLE_STATES[what])
    if not states:
        raise RequestRefused(f"{what} is for deliveries that are {_or(ELIGIBLE_STATES[what])}")
    with store.transaction(fenced=False):
        ids = store.delivery_queries.ids(replace(wanted, states=tuple(states)), limit=MAX_BATCH, before=before)
        handled = _act(store, what, ids, now, in_flight)
    return BatchResult(handled, ids[-1] if len(ids) == MAX_BATCH else None)


def _act(
    store: Store, what: AdminAction, ids: Sequence[int], now: datetime, in_flight: Callable[[], Collection[int]]
) -> BulkResult:
    if what is AdminAction.RETRY:
        return store.delivery_queries.retry(ids, now=now)
    return store.delivery_queries.drop(ids, now=now, in_flight=in_flight())


def summarize(handled: Iterable[BulkResult]) -> BulkResponse:
    """All that was done, in one answer."""
    steps = list(handled)
    changed = [one for step in steps for one in step.changed]
    refused = [RefusedDelivery(id=one, reason=why) for step in steps for one, why in step.refused.items()]
    return BulkResponse(
        count=len(changed),
        ids=tuple(sorted(changed)[:MAX_REPORTED_IDS]),
        refused=tuple(refused[:MAX_REPORTED_IDS]),
    )


def _or(states: Iterable[DeliveryState]) -> str:
    return " or ".join(sorted(states))


def _held(gate: GateRow) -> HoldResponse | None:
    """None where the destination takes what comes."""
    if gate.paused:
        return HoldResponse(state="paused", retry_at=None, last_error=gate.last_error)
    if gate.state == GateState.OPEN:
        return None
    disabled = gate.state == GateState.DISABLED
    return HoldResponse(state=gate.state, retry_at=None if disabled else gate.retry_at, last_error=gate.last_error)


def _facts(entry: DeliveryRow) -> dict[str, object]:
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
