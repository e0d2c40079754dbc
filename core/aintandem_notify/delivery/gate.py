"""Decides when a destination may be sent to. A gate is immutable; each try gives the next one. Pure.

All times but ``since`` are trio's, in float seconds, so that setting the wall clock changes nothing here.
``gate_rows`` converts a gate to a row of the store and back; ``stored_gate`` reads and writes it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery.judge import SUSPECT_AFTER, TROUBLE, Action, Verdict
from aintandem_notify.foundation.backoff import Chance, stepped_delay

BACKOFF_S: Final[Sequence[float]] = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0)
"""Pauses in seconds of a destination in trouble; the last repeats. The first is short: most failures of a
destination that was well until now are over at once.
"""

PROBE_S: Final[Sequence[float]] = (300.0, 600.0, 1200.0, 2400.0, 3600.0)
"""Pauses in seconds between the probes of a parked destination; the last repeats."""

PROBE_LEASE_S: Final = 60.0
"""Seconds for which the other agents on a shared store wait for the result of one agent's probe."""

MIN_REQUESTED_PAUSE_S: Final = 1.0
"""Pause in seconds of a failing destination that asks for less."""


class GateState(StrEnum):
    """State of a destination."""

    OPEN = "open"
    BACKING_OFF = "backing off"
    PARKED = "parked"
    DISABLED = "disabled"
    """It accepts no more deliveries: tried only after a resume by hand, a reload or a change of its settings."""


HELD_STATES: Final = frozenset({GateState.PARKED, GateState.DISABLED})
"""States that a person probably has to end, by repairing the destination."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether and when a destination may be sent to. Times are trio's, in seconds, except ``since``.

    Nothing is sent before ``retry_at``, the end of the pause after trouble, nor before ``slot_at``, the next send
    that the rate allows. ``failures``: the number of failures in a row.

    ``pause_requested``: the destination itself asked for the pause until ``retry_at``.
    ``paused``: an operator has paused it.

    ``probe_after``: the id of the delivery that failed last in trouble that may be a message's own. The next probe
    is the first delivery after it that is the first of its thread; None: the first in the queue probes.
    ``doubted``: only messages under suspicion have failed so far, so that any other may be tried at once.

    ``since``: the wall-clock time of the first failure after the last success, or of a pause by hand before it;
    None if the destination is well. ``date_trouble`` sets it.

    ``turns``: how often a failure has closed the gate, or made its pause longer, since this process began. A
    delivery that began at an earlier turn is late: it says little about the destination of now. Equal gates may
    differ in it.
    """

    state: GateState = GateState.OPEN
    failures: int = 0
    retry_at: float = 0.0
    slot_at: float = 0.0
    last_error: str | None = None
    pause_requested: bool = False
    paused: bool = False
    since: datetime | None = None
    probe_after: int | None = None
    doubted: bool = False
    turns: int = field(default=0, compare=False)

    @property
    def opens_at(self) -> float:
        """Time of the next possible send; infinity if only a person can open the gate."""
        if self.paused or self.state is GateState.DISABLED:
            return math.inf
        return max(self.retry_at, self.slot_at)

    @property
    def opens_for_others_at(self) -> float:
        """Time at which a delivery after ``probe_after`` may be sent; earlier than ``opens_at`` if in doubt."""
        return self.slot_at if self.doubted and not self.paused else self.opens_at

    @property
    def is_flowing(self) -> bool:
        """True if nothing but the rate holds deliveries back."""
        return self.state is GateState.OPEN and not self.paused

    @property
    def is_well(self) -> bool:
        """True if the last try did not fail either."""
        return self.is_flowing and self.last_error is None

    def retry_time(self, now_s: float, now: datetime) -> datetime | None:
        """Returns the time of the next try, for people; None if there is no trouble, or if a person must act."""
        if self.state is GateState.OPEN or math.isinf(self.opens_at):
            return None
        return now + timedelta(seconds=max(0.0, self.retry_at - now_s))

    @property
    def label(self) -> str:
        """The state to show to people. A pause by hand hides the state below it."""
        return "paused" if self.paused else self.state.value

    def claim_limit(self, room: int, rate: Rate | None, *, is_probing: bool = False) -> int:
        """Returns the number of deliveries to claim at once, at most ``room``; under a rate it is one.

        In trouble it is one, the probe. ``is_probing``: a delivery that began at this turn is under way; then no
        other one is claimed.
        """
        if self.state is not GateState.OPEN:
            return 0 if is_probing else min(room, 1)
        return room if rate is None else min(room, 1)


def start_send(gate: Gate, rate: Rate | None, now: float) -> Gate:
    """Returns the gate after a send has begun. Under a rate, the next one may begin one interval later."""
    return gate if rate is None else replace(gate, slot_at=now + rate.interval)


def start_probe(gate: Gate, now: float) -> Gate:
    """Closes a gate in trouble while one delivery probes the destination, so that no other agent sends.

    For agents that share a store. The gate opens again by itself, in case the probing agent has ended. A gate in
    doubt stays open for one delivery of each agent.
    """
    return gate if gate.state is GateState.OPEN else replace(gate, retry_at=now + PROBE_LEASE_S)


def cancel_probe(gate: Gate) -> Gate:
    """Clears ``retry_at`` when a claimed probe was never sent, so that the next delivery becomes the probe."""
    return gate if gate.state is GateState.OPEN else replace(gate, retry_at=0.0)


def record_verdict(
    gate: Gate,
    verdict: Verdict,
    now: float,
    chance: Chance,
    delivery: int | None = None,
    *,
    began_at_turn: int | None = None,
    backoff_s: Sequence[float] = BACKOFF_S,
) -> Gate:
    """Returns the gate after a try of ``delivery`` that began when the gate had ``began_at_turn``; None: just now.

    ``backoff_s``: as ``BACKOFF_S``.

    A destination that answered is well, even if it refused the message. An error in the plugin says nothing
    about the destination: one in trouble pauses as long as before, otherwise its state stays.
    """
    if not is_late(gate, began_at_turn):
        return _apply(gate, verdict, now, chance, delivery, backoff_s)
    if _is_known(gate, verdict):
        return _extend_pause(gate, verdict, now, chance)
    after = _apply(gate, verdict, now, chance, delivery, backoff_s)
    # A probe that is under way has begun after this delivery, so that its success counts all the same.
    return after if gate.state is GateState.OPEN else replace(after, turns=gate.turns)


def _apply(
    gate: Gate, verdict: Verdict, now: float, chance: Chance, delivery: int | None, backoff_s: Sequence[float]
) -> Gate:
    match verdict.action:
        case Action.DELIVERED if gate.state is GateState.OPEN and gate.last_error is None:
            return gate  # the usual case; a copy would cost more than all the rest
        case Action.DELIVERED:
            return _reopen(gate, None)
        case Action.REFUSE:
            return _reopen(gate, verdict.reason)
        case Action.DISABLE:
            turned = replace(_reopen(gate, verdict.reason), turns=gate.turns + 1)
            return replace(turned, state=GateState.DISABLED, failures=gate.failures + 1)
        case Action.WAIT if gate.state not in HELD_STATES:
            gate = _choose_probe(gate, verdict, delivery)
            return _back_off(gate, GateState.BACKING_OFF, backoff_s, verdict, now, chance)
        case Action.WAIT | Action.PARK:
            known = gate if gate.state in HELD_STATES else replace(gate, failures=0)
            known = _choose_probe(known, verdict, delivery)
            return _back_off(known, GateState.PARKED, PROBE_S, verdict, now, chance)
        case _ if gate.state is GateState.OPEN:
            return replace(gate, last_error=verdict.reason)
        case _:
            pauses = PROBE_S if gate.state in HELD_STATES else backoff_s
            pause = stepped_delay(max(gate.failures - 1, 0), pauses=pauses, chance=chance)
            return replace(gate, retry_at=now + pause, pause_requested=False, last_error=verdict.reason)


def is_late(gate: Gate, began_at_turn: int | None) -> bool:
    """True if the gate has turned since the delivery began."""
    return began_at_turn is not None and began_at_turn < gate.turns


_SEVERITY: Final = {
    GateState.OPEN: 0,
    GateState.BACKING_OFF: 1,
    GateState.PARKED: 2,
    GateState.DISABLED: 3,
}
_CLOSES_TO: Final = {
    Action.WAIT: GateState.BACKING_OFF,
    Action.PARK: GateState.PARKED,
    Action.DISABLE: GateState.DISABLED,
}


def _is_known(gate: Gate, verdict: Verdict) -> bool:
    """True if a late ``verdict`` changes nothing but the length of a requested pause.

    Deliveries that began together fail together, which is one failure. A success is older than the trouble. If
    the gate is open again, the probe that opened it is the newer news. Only worse trouble than that of the gate
    counts, and a requested pause at any time.
    """
    if gate.state is GateState.OPEN:
        return verdict.action in TROUBLE and verdict.retry_after_s is None
    closes_to = _CLOSES_TO.get(verdict.action)
    return closes_to is None or _SEVERITY[closes_to] <= _SEVERITY[gate.state]


def _extend_pause(gate: Gate, verdict: Verdict, now: float, chance: Chance) -> Gate:
    """Returns the gate with a pause that is not shorter than the destination has requested."""
    if verdict.retry_after_s is None or gate.state is GateState.DISABLED:
        return gate
    retry_at = max(gate.retry_at, now + _requested_pause(verdict.retry_after_s, chance))
    return replace(gate, retry_at=retry_at, pause_requested=True, probe_after=None, doubted=False)


def _reopen(gate: Gate, last_error: str | None) -> Gate:
    since = None if last_error is None and not gate.paused else gate.since
    return Gate(slot_at=gate.slot_at, last_error=last_error, paused=gate.paused, since=since, turns=gate.turns)


def date_trouble(gate: Gate, now: datetime) -> Gate:
    """Returns the gate with ``since``: ``now`` for trouble that has just begun, None if there is none."""
    if gate.is_well is (gate.since is None):
        return gate
    return replace(gate, since=None if gate.is_well else now)


def _choose_probe(gate: Gate, verdict: Verdict, delivery: int | None) -> Gate:
    """Returns the gate with the place in the queue where the next probe is looked for.

    A message under suspicion leaves the next probe to others. From then on each failure passes the probe on, so
    that several such messages hold the queue back no longer than it takes to try each once. The failure of a
    probe before the end of the pause makes no pause longer.
    """
    if verdict.action is not Action.WAIT or verdict.retry_after_s is not None:
        return replace(gate, probe_after=None, doubted=False)
    if gate.probe_after is None:
        is_suspect = verdict.history.is_suspect
        return replace(gate, probe_after=delivery if is_suspect else None, doubted=is_suspect)
    is_other, was_blamed = delivery != gate.probe_after, verdict.history.blame > SUSPECT_AFTER
    failures = max(gate.failures - 1, 0) if gate.doubted and is_other else gate.failures
    doubted = gate.doubted and was_blamed if is_other else True
    return replace(gate, probe_after=delivery, doubted=doubted, failures=failures)


def _back_off(
    gate: Gate, state: GateState, pauses: Sequence[float], verdict: Verdict, now: float, chance: Chance
) -> Gate:
    if verdict.retry_after_s is None:
        pause = stepped_delay(gate.failures, pauses=pauses, chance=chance)
    else:
        pause = _requested_pause(verdict.retry_after_s, chance)
    return replace(
        gate,
        state=state,
        failures=gate.failures + 1,
        retry_at=now + pause,
        pause_requested=verdict.retry_after_s is not None,
        last_error=verdict.reason,
        turns=gate.turns + 1,
    )


def _requested_pause(retry_after_s: float, chance: Chance) -> float:
    """Never shorter than requested; jitter keeps deliveries from coming at the same moment."""
    return stepped_delay(0, pauses=(max(retry_after_s, MIN_REQUESTED_PAUSE_S),), chance=chance)


def pause(gate: Gate) -> Gate:
    """Returns the gate paused by an operator; its other state stays."""
    return replace(gate, paused=True)


def resume(gate: Gate) -> Gate:
    """Returns the gate resumed by an operator: all pauses end, and a destination in trouble is tried at once.

    The last error of an open destination is forgotten: the operator has seen it.
    """
    state = GateState.PARKED if gate.state is GateState.DISABLED else gate.state
    last_error = None if state is GateState.OPEN else gate.last_error
    return replace(gate, state=state, paused=False, retry_at=0.0, pause_requested=False, last_error=last_error)


def unpark(gate: Gate) -> Gate:
    """Lets a parked or disabled destination be tried at once: a person may have repaired it.

    A pause by hand stays, and so does one that the destination requested.
    """
    return gate if gate.paused or gate.state not in HELD_STATES or gate.pause_requested else resume(gate)


def after_restart(gate: Gate) -> Gate:
    """Returns the gate with which a new agent continues.

    A pause by hand, or one that the destination requested, stays. Our own backoff ends: a destination in trouble
    is tried once.
    """
    return gate if gate.pause_requested else replace(gate, retry_at=0.0)
