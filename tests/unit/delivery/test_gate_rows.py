"""Storing a gate and reading it again, even if the wall clock is set meanwhile."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.delivery.gate import Gate, GateState, date_trouble
from aintandem_notify.delivery.gate_rows import MAX_PAUSE_S, from_row, must_be_stored, to_row
from aintandem_notify.delivery.stored_gate import turns_after
from aintandem_notify.store import GateRow
from support.outbox import NOW

waits = st.one_of(st.just(0.0), st.floats(0.001, MAX_PAUSE_S, allow_nan=False))
clocks = st.floats(0.0, 1e7, allow_nan=False)
ages = st.timedeltas(timedelta(0), timedelta(days=400))
leaps = st.floats(-4e7, 4e7, allow_nan=False)


@st.composite
def gates(draw: st.DrawFn) -> tuple[Gate, float]:
    """Generates a gate and the time of trio's clock that it belongs to."""
    now_s = draw(clocks)
    retry, slot = draw(waits), draw(waits)
    gate = Gate(
        state=draw(st.sampled_from(list(GateState))),
        failures=draw(st.integers(0, 10**6)),
        retry_at=now_s + retry if retry else 0.0,
        slot_at=now_s + slot if slot else 0.0,
        last_error=draw(st.none() | st.text(max_size=20)),
        pause_requested=draw(st.booleans()),
        paused=draw(st.booleans()),
        probe_after=draw(st.none() | st.integers(1, 2**60)),
        doubted=draw(st.booleans()),
    )
    return date_trouble(gate, NOW - draw(ages)), now_s


@given(gates(), clocks)
def test_a_gate_comes_back_as_it_was(gate_at: tuple[Gate, float], then_s: float) -> None:
    """Even in a process in which trio's clock has another time."""
    gate, now_s = gate_at
    back = from_row(to_row(gate, now_s, NOW), then_s, NOW)
    assert replace(back, retry_at=0.0, slot_at=0.0) == replace(gate, retry_at=0.0, slot_at=0.0)
    for before, after in ((gate.retry_at, back.retry_at), (gate.slot_at, back.slot_at)):
        assert max(0.0, after - then_s) == pytest.approx(max(0.0, before - now_s), abs=1e-3)


@given(gates(), clocks)
def test_a_row_comes_back_as_it_was(gate_at: tuple[Gate, float], then_s: float) -> None:
    row = to_row(*gate_at, NOW)
    back = to_row(from_row(row, then_s, NOW), then_s, NOW)
    assert replace(back, retry_at=None, slot_at=None) == replace(row, retry_at=None, slot_at=None)
    for before, after in ((row.retry_at, back.retry_at), (row.slot_at, back.slot_at)):
        assert abs((after or NOW) - (before or NOW)) < timedelta(milliseconds=1)


@given(gates(), leaps)
def test_no_clock_makes_a_pause_longer_than_it_was(gate_at: tuple[Gate, float], leap_s: float) -> None:
    gate, now_s = gate_at
    back = from_row(to_row(gate, now_s, NOW), now_s, NOW + timedelta(seconds=leap_s))
    for before, after in ((gate.retry_at, back.retry_at), (gate.slot_at, back.slot_at)):
        assert after == 0.0 or now_s <= after <= before + 1e-3


@pytest.mark.parametrize(
    ("since_s", "left_s"), [(0, 60), (45, 15), (60, 0), (365 * 86_400, 0), (-3600, 60), (-365 * 86_400, 60)]
)
def test_what_is_left_of_a_pause(since_s: float, left_s: float) -> None:
    row = GateRow("parked", 1, NOW, NOW + timedelta(seconds=60), asked=True)
    gate = from_row(row, 1000.0, NOW + timedelta(seconds=since_s))
    assert max(0.0, gate.retry_at - 1000.0) == left_s


def test_a_time_that_nobody_can_have_written_is_no_endless_wait() -> None:
    row = GateRow("parked", 1, NOW, NOW + timedelta(days=3650), asked=True)
    assert from_row(row, 0.0, NOW).retry_at == MAX_PAUSE_S


def test_a_state_of_another_version_is_open() -> None:
    assert from_row(GateRow("levitating", 1, NOW), 0.0, NOW).state is GateState.OPEN


def test_trouble_of_a_row_without_its_beginning_counts_from_the_last_change() -> None:
    later = NOW + timedelta(hours=1)
    assert from_row(GateRow("parked", 1, NOW), 0.0, later).since == NOW
    assert from_row(GateRow("open", 1, NOW, last_error="why"), 0.0, later).since == NOW
    assert from_row(GateRow("open", 1, NOW, since=NOW), 0.0, later).since is None


@pytest.mark.parametrize(
    ("after", "interval_s", "kept"),
    [
        (Gate(), None, False),
        (Gate(slot_at=9.0), 1.0, False),
        (Gate(slot_at=9.0), 360.0, True),
        (Gate(last_error="why"), None, True),
        (Gate(GateState.PARKED), 1.0, True),
        (Gate(paused=True), None, True),
    ],
)
def test_what_is_written_down(after: Gate, interval_s: float | None, kept: bool) -> None:
    assert must_be_stored(Gate(), after, interval_s) is kept


OPEN, RESTING, PARKED = Gate(turns=4), Gate(GateState.BACKING_OFF, 1, turns=4), Gate(GateState.PARKED, 2, turns=4)


@pytest.mark.parametrize(
    ("known", "read", "turns"),
    [
        (OPEN, Gate(), 4),
        (OPEN, Gate(last_error="refused"), 4),
        (OPEN, Gate(GateState.BACKING_OFF, 1), 5),
        (RESTING, Gate(GateState.BACKING_OFF, 1, retry_at=7.0), 4),
        (RESTING, Gate(GateState.BACKING_OFF, 2), 5),
        (RESTING, Gate(GateState.PARKED, 1), 5),
        (RESTING, Gate(), 4),
        (PARKED, Gate(GateState.DISABLED, 3), 5),
    ],
)
def test_a_failure_of_another_agent_turns_the_gate_of_this_one(known: Gate, read: Gate, turns: int) -> None:
    assert turns_after(known, read) == turns
