"""When a destination may be sent to: its troubles and its rate, as a value that each try turns into the next.

All times are trio's, in float seconds, so a wall clock that is set changes nothing here. A gate lives in
memory: after a restart every destination is tried at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aintandem_notify.backoff import Chance, stepped
from aintandem_notify.config.values import Rate
from aintandem_notify.delivery.judge import Action, Verdict

BACKOFF_S: Final[Sequence[float]] = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Pauses of a destination in trouble; the last repeats."""

PROBE_S: Final[Sequence[float]] = (300.0, 600.0, 1200.0, 2400.0, 3600.0)
"""Pauses between the probes of a parked destination; the last repeats."""

LEAST_ASKED_S: Final = 1.0
"""A destination that asks for no pause at all and keeps failing gets this one."""


class GateState(StrEnum):
    """How a destination stands."""

    OPEN = "open"
    BACKING_OFF = "backing off"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Gate:
    """``failures`` in a row; nothing is sent before ``retry_at`` (trouble) and ``slot_at`` (rate)."""

    state: GateState = GateState.OPEN
    failures: int = 0
    retry_at: float = 0.0
    slot_at: float = 0.0
    last_error: str | None = None

    @property
    def opens_at(self) -> float:
        """When the next may be sent."""
        return max(self.retry_at, self.slot_at)

    def room(self, in_flight: int, rate: Rate | None) -> int:
        """How many may be taken at once: one by one while in doubt (half-open) and under a rate."""
        return 1 if self.state is not GateState.OPEN or rate is not None else in_flight


def sending(gate: Gate, rate: Rate | None, now: float) -> Gate:
    """The gate once a delivery is on its way: the next slot is one interval later."""
    return gate if rate is None else replace(gate, slot_at=now + rate.interval)


def after(gate: Gate, verdict: Verdict, now: float, chance: Chance) -> Gate:
    """The gate after a try.

    A destination that answered, be it with a refusal of this one message, is well. A fault of the plugin
    says nothing about the destination: in trouble it rests as long as before, else nothing changes.
    """
    match verdict.action:
        case Action.DELIVERED if gate.state is GateState.OPEN and gate.last_error is None:
            return gate  # nearly always, and a copy would cost more than all else here
        case Action.DELIVERED:
            return replace(gate, state=GateState.OPEN, failures=0, retry_at=0.0, last_error=None)
        case Action.REFUSE:
            return replace(gate, state=GateState.OPEN, failures=0, retry_at=0.0, last_error=verdict.reason)
        case Action.WAIT if gate.state is not GateState.PARKED:
            return _rest(gate, GateState.BACKING_OFF, BACKOFF_S, verdict, now, chance)
        case Action.WAIT | Action.PARK:
            known = gate if gate.state is GateState.PARKED else replace(gate, failures=0)
            return _rest(known, GateState.PARKED, PROBE_S, verdict, now, chance)
        case _ if gate.state is GateState.OPEN:
            return replace(gate, last_error=verdict.reason)
        case _:
            pauses = PROBE_S if gate.state is GateState.PARKED else BACKOFF_S
            pause = stepped(max(gate.failures - 1, 0), pauses=pauses, chance=chance)
            return replace(gate, retry_at=now + pause, last_error=verdict.reason)


def _rest(
    gate: Gate, state: GateState, pauses: Sequence[float], verdict: Verdict, now: float, chance: Chance
) -> Gate:
    if verdict.after is None:
        pause = stepped(gate.failures, pauses=pauses, chance=chance)
    else:
        # Never earlier than asked, and not all at the same moment.
        pause = stepped(0, pauses=(max(verdict.after, LEAST_ASKED_S),), chance=chance)
    return replace(
        gate,
        state=state,
        failures=gate.failures + 1,
        retry_at=now + pause,
        last_error=verdict.reason,
    )
