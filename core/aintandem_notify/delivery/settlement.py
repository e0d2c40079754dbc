"""Turns the outcome of a try into the record for the store: state, due time and reason. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.delivery.gate import BACKOFF_S, Gate, GateState, is_late, record_verdict
from aintandem_notify.delivery.judge import MIN_BLAMED_AGE_S, Action, FaultHistory, Verdict, assign_blame
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.hookspecs import Receipt
from aintandem_notify.store import Claim, DeliveryState, Settlement

MESSAGE_PAUSES_S: Final[Sequence[float]] = (5.0, 30.0, 120.0, 300.0)
"""Pauses in seconds before a message is tried again after trouble of its own; the last repeats."""

MAX_DUE_AHEAD: Final = timedelta(seconds=2 * max(MESSAGE_PAUSES_S))
"""Longer than every pause above with jitter. If a due time is further ahead, the clock was set back since it was
stored; such a delivery counts as due.
"""

_STATES: Final = {
    Action.DELIVERED: DeliveryState.DELIVERED,
    Action.WAIT: DeliveryState.QUEUED,
    Action.PARK: DeliveryState.QUEUED,
    Action.DISABLE: DeliveryState.QUEUED,
    Action.RETRY: DeliveryState.QUEUED,
    Action.REFUSE: DeliveryState.DEAD,
    Action.GIVE_UP: DeliveryState.DEAD,
}

_COUNTED: Final = frozenset({Action.RETRY, Action.REFUSE, Action.GIVE_UP})
"""Actions for trouble of the message. Only these tries are counted in ``attempts``."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a destination and a message in trouble are waited for; described at the constants."""

    backoff_s: Sequence[float] = BACKOFF_S
    message_pauses_s: Sequence[float] = MESSAGE_PAUSES_S
    min_blamed_age_s: float = MIN_BLAMED_AGE_S


USUAL_PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a claimed delivery at ``at``, which is ``at_s`` of trio's clock.

    ``verdict``: from the error of this try alone; None if the delivery was too old to be tried. ``turn``: the
    ``turns`` of the gate when the try began; None: just now.
    """

    claim: Claim
    at: datetime
    at_s: float
    verdict: Verdict | None = None
    receipt: Receipt | None = None
    turn: int | None = None


def settle(
    gate: Gate, outcome: Outcome, max_age: float, chance: Chance, patience: Patience = USUAL_PATIENCE
) -> tuple[Settlement, Verdict | None, Gate]:
    """Returns the record of the delivery, the final verdict on it, and the gate after it.

    ``gate``: the gate before. It decides whose trouble a failure is.
    """
    claim, verdict = outcome.claim, outcome.verdict
    if verdict is None:
        return give_up(claim, max_age, outcome.at), None, gate
    # A late failure is no other one than that which turned the gate, so nobody is to blame for it.
    if verdict.action is Action.WAIT and not is_late(gate, outcome.turn):
        is_open = gate.state is GateState.OPEN
        is_well, is_common = is_open and gate.last_error is None, not is_open and not gate.doubted
        age_s = (outcome.at - claim.created_at).total_seconds()
        verdict = assign_blame(
            verdict,
            is_well=is_well,
            is_common=is_common,
            age_s=age_s,
            min_age_s=patience.min_blamed_age_s,
            plain=claim.plain,
        )
    record = settlement(claim, verdict, outcome.receipt, outcome.at, chance, patience.message_pauses_s)
    gate = record_verdict(
        gate,
        verdict,
        outcome.at_s,
        chance,
        claim.id,
        began_at_turn=outcome.turn,
        backoff_s=patience.backoff_s,
    )
    return record, verdict, gate


def fault_history(claim: Claim) -> FaultHistory:
    """Returns the claim's stored fault, its count, and its blame."""
    return FaultHistory(claim.fault, claim.fault_count, claim.blame)


def settlement(
    claim: Claim,
    verdict: Verdict,
    receipt: Receipt | None,
    now: datetime,
    chance: Chance,
    pauses_s: Sequence[float] = MESSAGE_PAUSES_S,
) -> Settlement:
    """Returns the record of the delivery after the try. ``pauses_s``: as ``MESSAGE_PAUSES_S``."""
    due_at, state = now, DeliveryState.QUEUED if verdict.retries_as_plain else _STATES[verdict.action]
    if verdict.action is Action.RETRY:
        due_at += timedelta(seconds=stepped_delay(claim.attempts, pauses=pauses_s, chance=chance))
    elif verdict.retries_as_plain:
        due_at += timedelta(seconds=stepped_delay(0, pauses=pauses_s, chance=chance))
    return Settlement(
        claim=claim,
        state=state,
        at=now,
        due_at=due_at,
        attempts=claim.attempts + (verdict.action in _COUNTED),
        fault=verdict.history.fault,
        fault_count=verdict.history.count,
        plain=claim.plain or verdict.retries_as_plain,
        reason=_reason(claim, verdict),
        receipt=dict(receipt) if receipt is not None else None,
        blame=verdict.history.blame,
    )


def _reason(claim: Claim, verdict: Verdict) -> str | None:
    suffix = ", also as plain text" if claim.plain and _STATES[verdict.action] is DeliveryState.DEAD else ""
    return f"{verdict.reason}{suffix}" or None


def is_too_old(claim: Claim, max_age: float, now: datetime) -> bool:
    """True if the delivery has waited longer than ``max_age`` seconds."""
    return now - claim.created_at > timedelta(seconds=max_age)


def give_up(claim: Claim, max_age: float, now: datetime) -> Settlement:
    """Returns the record of a delivery that waited too long: dead."""
    unchanged: dict[str, Any] = {
        name: getattr(claim, name) for name in ("attempts", "fault", "fault_count", "plain", "blame")
    }
    return Settlement(
        claim=claim, state=DeliveryState.DEAD, at=now, due_at=now, reason=too_old_reason(max_age), **unchanged
    )


def too_old_reason(max_age: float) -> str:
    """Returns the reason for a delivery that waited too long, with ``max_age`` in the largest unit that fits
    evenly.
    """
    for seconds, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if max_age >= seconds and max_age % seconds == 0:
            return f"waited longer than {max_age / seconds:.0f}{unit}"
    return f"waited longer than {max_age:g}s"
