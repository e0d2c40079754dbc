"""Converts a gate to a row of the store and back.

A gate has trio's seconds, a row has wall-clock times, which outlive the process. The wall clock may be set in
between. Set ahead, it ends a pause too early, which costs one try. Set back, it would make a pause endless;
therefore no pause is longer than it was when it was stored. ``since`` is wall-clock time in both.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.delivery.gate import Gate, GateState, date_trouble
from aintandem_notify.delivery.judge import MAX_REQUESTED_PAUSE_S
from aintandem_notify.store import GateRow

MAX_PAUSE_S: Final = 1.2 * MAX_REQUESTED_PAUSE_S
"""The longest pause that the agent sets, with jitter, in seconds."""

SLOW_RATE_S: Final = 5.0
"""Minimum interval between two deliveries, in seconds, for which ``slot_at`` is stored. A shorter one starts anew
with the agent.
"""


def to_row(gate: Gate, now_s: float, now: datetime) -> GateRow:
    """Returns the row to store at ``now``, which is ``now_s`` of trio's clock."""
    return GateRow(
        state=gate.state.value,
        failures=gate.failures,
        updated_at=now,
        retry_at=_wall_time(gate.retry_at - now_s, now),
        asked=gate.pause_requested,
        slot_at=_wall_time(gate.slot_at - now_s, now),
        paused=gate.paused,
        last_error=gate.last_error,
        since=gate.since,
        probe_after=gate.probe_after,
        doubted=gate.doubted,
    )


def from_row(row: GateRow, now_s: float, now: datetime) -> Gate:
    """Returns the stored gate at ``now``, which is ``now_s`` of trio's clock. An unknown state becomes open.

    Trouble of a row without ``since``, from an earlier version, counts from its last change.
    """
    gate = Gate(
        state=GateState(row.state) if row.state in list(GateState) else GateState.OPEN,
        failures=row.failures,
        retry_at=_trio_time(row.retry_at, row.updated_at, now_s, now),
        slot_at=_trio_time(row.slot_at, row.updated_at, now_s, now),
        last_error=row.last_error,
        pause_requested=row.asked,
        paused=row.paused,
        since=row.since,
        probe_after=row.probe_after,
        doubted=row.doubted,
    )
    return date_trouble(gate, row.updated_at)


def must_be_stored(before: Gate, after: Gate, interval_s: float | None) -> bool:
    """True if the change must be stored: any change but that of ``slot_at`` under a fast rate.

    ``interval_s``: seconds between two deliveries; None without a rate.
    """
    if before is after:
        return False
    if interval_s is not None and interval_s >= SLOW_RATE_S:
        return before != after
    return replace(before, slot_at=0.0) != replace(after, slot_at=0.0)


def _wall_time(wait_s: float, now: datetime) -> datetime | None:
    return now + timedelta(seconds=min(wait_s, MAX_PAUSE_S)) if wait_s > 0 else None


def _trio_time(moment: datetime | None, written_at: datetime, now_s: float, now: datetime) -> float:
    if moment is None:
        return 0.0
    max_wait_s = min((moment - written_at).total_seconds(), MAX_PAUSE_S)
    wait_s = min((moment - now).total_seconds(), max_wait_s)
    return now_s + wait_s if wait_s > 0 else 0.0
