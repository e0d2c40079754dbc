"""When a destination may be sent to: its troubles and its rate, as a value that each try turns into the next.

All times are trio's, in float seconds, so a wall clock that is set changes nothing here. ``gate_rows`` brings a
gate into the store and back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery.judge import Action, Verdict
from aintandem_notify.foundation.backoff import Chance, stepped_delay

BACKOFF_S: Final[Sequence[float]] = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Pauses of a destination in trouble; the last repeats."""

PROBE_S: Final[Sequence[float]] = (300.0, 600.0, 1200.0, 2400.0, 3600.0)
"""Pauses between the probes of a parked destination; the last repeats."""

PROBE_LEASE_S: Final = 60.0
"""How long agents that share a destination wait for what one of them finds out."""

MIN_REQUESTED_PAUSE_S: Final = 1.0
"""A destination that asks for no pause at all and keeps failing gets this one."""


class GateState(StrEnum):
    """How a destination stands."""

    OPEN = "open"
    BACKING_OFF = "backing off"
    PARKED = "parked"
    DISABLED = "disabled"
    """It wants nothing more: never tried by itself, only when somebody lets it."""


HELD_STATES: Final = frozenset({GateState.PARKED, GateState.DISABLED})
"""What only a person can mend."""


@dataclass(frozen=True, slots=True)
class Gate:
    """``failures`` in a row; nothing is sent before ``retry_at`` (trouble) and ``slot_at`` (rate).

    ``pause_requested``: the destination itself asked for the pause until ``retry_at``.
    ``paused``: an operator has paused it.
    """

    state: GateState = GateState.OPEN
    failures: int = 0
    retry_at: float = 0.0
    slot_at: float = 0.0
    last_error: str | None = None
    pause_requested: bool = False
    paused: bool = False

    @property
    def opens_at(self) -> float:
        """When the next may be sent; infinity when only a hand opens it."""
        if self.paused or self.state is GateState.DISABLED:
            return math.inf
        return max(self.retry_at, self.slot_at)

    @property
    def is_flowing(self) -> bool:
        """Whether nothing but the rate holds anything back."""
        return self.state is GateState.OPEN and not self.paused

    @property
    def label(self) -> str:
        """The state for people; a pause by hand is what they asked for and comes first."""
        return "paused" if self.paused else self.state.value

    def claim_limit(self, in_flight: int, rate: Rate | None) -> int:
        """How many may be taken at once: one by one while in doubt (half-open) and under a rate."""
        return 1 if self.state is not GateState.OPEN or rate is not None else in_flight


def start_send(gate: Gate, rate: Rate | None, now: float) -> Gate:
    """The gate once a delivery is on its way: the next slot is one interval later."""
    return gate if rate is None else replace(gate, slot_at=now + rate.interval)


def start_probe(gate: Gate, now: float) -> Gate:
    """The gate while one delivery finds out whether the destination is well: nobody tries beside it.

    For agents that share it. It opens again should the one that tries be gone.
    """
    return gate if gate.state is GateState.OPEN else replace(gate, retry_at=now + PROBE_LEASE_S)


def cancel_probe(gate: Gate) -> Gate:
    """The gate when the delivery that was to find out was not made after all: the next one may."""
    return gate if gate.state is GateState.OPEN else replace(gate, retry_at=0.0)


def record_verdict(gate: Gate, verdict: Verdict, now: float, chance: Chance) -> Gate:
    """The gate after a try.

    A destination that answered, be it with a refusal of this one message, is well. A fault of the plugin
    says nothing about the destination: in trouble it rests as long as before, else nothing changes.
    """
    match verdict.action:
        case Action.DELIVERED if gate.state is GateState.OPEN and gate.last_error is None:
            return gate  # nearly always, and a copy would cost more than all else here
        case Action.DELIVERED:
            return _well(gate, None)
        case Action.REFUSE:
            return _well(gate, verdict.reason)
        case Action.DISABLE:
            return replace(_well(gate, verdict.reason), state=GateState.DISABLED, failures=gate.failures + 1)
        case Action.WAIT if gate.state not in HELD_STATES:
            return _rest(gate, GateState.BACKING_OFF, BACKOFF_S, verdict, now, chance)
        case Action.WAIT | Action.PARK:
            known = gate if gate.state in HELD_STATES else replace(gate, failures=0)
            return _rest(known, GateState.PARKED, PROBE_S, verdict, now, chance)
        case _ if gate.state is GateState.OPEN:
            return replace(gate, last_error=verdict.reason)
        case _:
            pauses = PROBE_S if gate.state in HELD_STATES else BACKOFF_S
            pause = stepped_delay(max(gate.failures - 1, 0), pauses=pauses, chance=chance)
            return replace(gate, retry_at=now + pause, pause_requested=False, last_error=verdict.reason)


def _well(gate: Gate, last_error: str | None) -> Gate:
    return Gate(slot_at=gate.slot_at, last_error=last_error, paused=gate.paused)


def _rest(
    gate: Gate, state: GateState, pauses: Sequence[float], verdict: Verdict, now: float, chance: Chance
) -> Gate:
    if verdict.retry_after_s is None:
        pause = stepped_delay(gate.failures, pauses=pauses, chance=chance)
    else:
        # Never earlier than asked, and not all at the same moment.
        pause = stepped_delay(0, pauses=(max(verdict.retry_after_s, MIN_REQUESTED_PAUSE_S),), chance=chance)
    return replace(
        gate,
        state=state,
        failures=gate.failures + 1,
        retry_at=now + pause,
        pause_requested=verdict.retry_after_s is not None,
        last_error=verdict.reason,
    )


def pause(gate: Gate) -> Gate:
    """Held back by hand, whatever else holds it back."""
    return replace(gate, paused=True)


def resume(gate: Gate) -> Gate:
    """Let go by hand: no pause of any kind holds it any more, and one in trouble is tried at once."""
    state = GateState.PARKED if gate.state is GateState.DISABLED else gate.state
    return replace(gate, state=state, paused=False, retry_at=0.0, pause_requested=False)


def unpark(gate: Gate) -> Gate:
    """Somebody may have mended the destination: a parked one is tried at once, unless it asked for its pause."""
    return gate if gate.paused or gate.state not in HELD_STATES or gate.pause_requested else resume(gate)


def after_restart(gate: Gate) -> Gate:
    """A gate that a new agent has from an earlier one.

    What was asked for holds: by hand, and by the destination. Our own pauses do not: one in trouble is tried once.
    """
    return gate if gate.pause_requested else replace(gate, retry_at=0.0)
