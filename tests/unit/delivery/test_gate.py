"""The gate of a destination: every state with every verdict, and the pauses."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery.gate import (
    Gate,
    GateState,
    after_restart,
    cancel_probe,
    date_trouble,
    pause,
    record_verdict,
    resume,
    start_probe,
    start_send,
    unpark,
)
from aintandem_notify.delivery.judge import SUSPECT_AFTER, Action, FaultHistory, Verdict

OPEN, RESTING, PARKED, DISABLED = GateState
NOW = 1000.0


def step(
    gate: Gate, action: Action, asked: float | None = None, chance: float = 0.0, turn: int | None = None
) -> Gate:
    return record_verdict(gate, Verdict(action, "why", asked), NOW, lambda: chance, began_at_turn=turn)


@pytest.mark.parametrize(
    ("state", "failures", "action", "expected", "failures_after", "pause"),
    [
        (OPEN, 0, Action.DELIVERED, OPEN, 0, None),
        (OPEN, 0, Action.REFUSE, OPEN, 0, None),
        (OPEN, 0, Action.RETRY, OPEN, 0, None),
        (OPEN, 0, Action.GIVE_UP, OPEN, 0, None),
        (OPEN, 0, Action.WAIT, RESTING, 1, 1),
        (OPEN, 0, Action.PARK, PARKED, 1, 300),
        (OPEN, 0, Action.DISABLE, DISABLED, 1, None),
        (RESTING, 2, Action.DELIVERED, OPEN, 0, None),
        (RESTING, 2, Action.REFUSE, OPEN, 0, None),
        (RESTING, 2, Action.RETRY, RESTING, 2, 5),
        (RESTING, 2, Action.GIVE_UP, RESTING, 2, 5),
        (RESTING, 2, Action.WAIT, RESTING, 3, 15),
        (RESTING, 2, Action.PARK, PARKED, 1, 300),
        (RESTING, 2, Action.DISABLE, DISABLED, 3, None),
        (PARKED, 2, Action.DELIVERED, OPEN, 0, None),
        (PARKED, 2, Action.REFUSE, OPEN, 0, None),
        (PARKED, 2, Action.RETRY, PARKED, 2, 600),
        (PARKED, 2, Action.GIVE_UP, PARKED, 2, 600),
        (PARKED, 2, Action.WAIT, PARKED, 3, 1200),
        (PARKED, 2, Action.PARK, PARKED, 3, 1200),
        (PARKED, 2, Action.DISABLE, DISABLED, 3, None),
        (DISABLED, 2, Action.DELIVERED, OPEN, 0, None),
        (DISABLED, 2, Action.REFUSE, OPEN, 0, None),
        (DISABLED, 2, Action.RETRY, DISABLED, 2, 600),
        (DISABLED, 2, Action.GIVE_UP, DISABLED, 2, 600),
        (DISABLED, 2, Action.WAIT, PARKED, 3, 1200),
        (DISABLED, 2, Action.PARK, PARKED, 3, 1200),
        (DISABLED, 2, Action.DISABLE, DISABLED, 3, None),
    ],
)
def test_every_cell(
    state: GateState,
    failures: int,
    action: Action,
    expected: GateState,
    failures_after: int,
    pause: float | None,
) -> None:
    gate = step(Gate(state, failures, retry_at=0.0 if state is OPEN else NOW), action)
    assert (gate.state, gate.failures) == (expected, failures_after)
    assert gate.retry_at == (0.0 if pause is None else NOW + pause)
    assert gate.last_error == (None if action is Action.DELIVERED else "why")


@pytest.mark.parametrize(
    ("state", "action", "expected"),
    [
        (OPEN, Action.DELIVERED, None),
        (OPEN, Action.REFUSE, OPEN),
        (OPEN, Action.RETRY, OPEN),
        (OPEN, Action.GIVE_UP, OPEN),
        (OPEN, Action.WAIT, None),
        (OPEN, Action.PARK, None),
        (OPEN, Action.DISABLE, None),
        (RESTING, Action.DELIVERED, None),
        (RESTING, Action.REFUSE, None),
        (RESTING, Action.RETRY, None),
        (RESTING, Action.GIVE_UP, None),
        (RESTING, Action.WAIT, None),
        (RESTING, Action.PARK, PARKED),
        (RESTING, Action.DISABLE, DISABLED),
        (PARKED, Action.DELIVERED, None),
        (PARKED, Action.REFUSE, None),
        (PARKED, Action.RETRY, None),
        (PARKED, Action.GIVE_UP, None),
        (PARKED, Action.WAIT, None),
        (PARKED, Action.PARK, None),
        (PARKED, Action.DISABLE, DISABLED),
        (DISABLED, Action.DELIVERED, None),
        (DISABLED, Action.REFUSE, None),
        (DISABLED, Action.RETRY, None),
        (DISABLED, Action.GIVE_UP, None),
        (DISABLED, Action.WAIT, None),
        (DISABLED, Action.PARK, None),
        (DISABLED, Action.DISABLE, None),
    ],
)
def test_every_cell_for_a_delivery_that_began_before_the_gate_turned(
    state: GateState, action: Action, expected: GateState | None
) -> None:
    """``expected``: None if nothing changes. A probe that is under way is never late for that."""
    gate = Gate(state, 2, retry_at=NOW + 7, last_error=None if state is OPEN else "before", turns=4)
    after = step(gate, action, turn=3)
    assert after.turns == 4
    if expected is None:
        assert after == gate
    else:
        assert (after.state, after.last_error) == (expected, "why")
        assert after == step(gate, action)


def test_a_wave_of_failures_counts_once_and_its_late_successes_open_nothing() -> None:
    gate = Gate()
    for action in [Action.DELIVERED, *[Action.WAIT] * 30, Action.DELIVERED]:
        gate = step(gate, action, turn=0)
    assert (gate.state, gate.failures, gate.retry_at, gate.turns) == (RESTING, 1, NOW + 1, 1)
    gate = step(gate, Action.WAIT, turn=1)
    assert (gate.failures, gate.retry_at, gate.turns) == (2, NOW + 5, 2)
    assert step(gate, Action.DELIVERED, turn=1) == gate
    gate = step(gate, Action.DELIVERED, turn=2)
    assert gate == Gate()
    assert step(gate, Action.WAIT, turn=1) == gate
    assert step(gate, Action.WAIT, turn=2).state is RESTING


@pytest.mark.parametrize(
    ("gate", "retry_at", "failures", "turns"),
    [
        (Gate(turns=4), NOW + 30, 1, 5),
        (Gate(RESTING, 2, NOW + 7, turns=4), NOW + 30, 2, 4),
        (Gate(RESTING, 2, NOW + 60, probe_after=7, doubted=True, turns=4), NOW + 60, 2, 4),
        (Gate(PARKED, 2, NOW + 7, turns=4), NOW + 30, 2, 4),
    ],
)
def test_a_pause_that_is_asked_for_holds_however_late_it_comes(
    gate: Gate, retry_at: float, failures: int, turns: int
) -> None:
    after = step(gate, Action.WAIT, 30.0, turn=3)
    assert (after.retry_at, after.failures, after.turns) == (retry_at, failures, turns)
    assert (after.pause_requested, after.probe_after, after.doubted) == (True, None, False)


def test_a_disabled_destination_may_ask_for_what_it_likes() -> None:
    gate = step(Gate(), Action.DISABLE)
    assert step(gate, Action.WAIT, 30.0, turn=0) == gate


@pytest.mark.parametrize(
    ("action", "pauses"),
    [
        (Action.WAIT, [1, 5, 15, 60, 300, 900, 900]),
        (Action.PARK, [300, 600, 1200, 2400, 3600, 3600]),
    ],
)
def test_pauses_grow_and_stay_at_the_longest(action: Action, pauses: list[float]) -> None:
    gate, actual = Gate(), []
    for _ in pauses:
        gate = step(gate, action)
        actual.append(gate.retry_at - NOW)
    assert actual == pauses


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("asked", [0.0, 1.0, 30.0, 86_400.0])
def test_a_pause_is_never_shorter_than_asked(asked: float, chance: float) -> None:
    pause = step(Gate(), Action.WAIT, asked, chance).retry_at - NOW
    assert max(asked, 1.0) <= pause <= max(asked, 1.0) * 1.2


def test_the_rate_leaves_an_interval_between_two() -> None:
    assert start_send(Gate(), Rate(30, 60.0), NOW).opens_at == NOW + 2
    assert start_send(Gate(), None, NOW) == Gate()


def test_trouble_and_rate_both_hold() -> None:
    assert Gate(retry_at=5.0, slot_at=7.0).opens_at == 7.0
    assert Gate(retry_at=9.0, slot_at=7.0).opens_at == 9.0


@pytest.mark.parametrize(
    ("state", "rate", "room"),
    [(OPEN, None, 100), (OPEN, Rate(1, 1.0), 1), (RESTING, None, 1), (PARKED, None, 1), (DISABLED, None, 1)],
)
def test_in_doubt_and_under_a_rate_one_goes_at_a_time(state: GateState, rate: Rate | None, room: int) -> None:
    assert Gate(state).claim_limit(100, rate) == room


@pytest.mark.parametrize(
    ("state", "room"), [(OPEN, 100), (RESTING, 0), (PARKED, 0), (DISABLED, 0)], ids=lambda value: str(value)
)
def test_one_probe_is_tried_at_a_time(state: GateState, room: int) -> None:
    assert Gate(state).claim_limit(100, None, is_probing=True) == room


@pytest.mark.parametrize("state", list(GateState))
@pytest.mark.parametrize("rate", [None, Rate(1, 1.0)])
def test_nothing_is_claimed_without_room(state: GateState, rate: Rate | None) -> None:
    assert Gate(state).claim_limit(0, rate) == 0


@pytest.mark.parametrize("state", list(GateState))
def test_a_pause_by_hand_holds_whatever_else_holds_and_any_try_leaves_it(state: GateState) -> None:
    gate = pause(Gate(state, retry_at=5.0))
    assert gate == replace(Gate(state, retry_at=5.0), paused=True) == pause(gate)
    assert (gate.opens_at, gate.label, gate.is_flowing) == (math.inf, "paused", False)
    assert all(step(gate, action).paused for action in Action)


@pytest.mark.parametrize(
    ("state", "then"), [(OPEN, OPEN), (RESTING, RESTING), (PARKED, PARKED), (DISABLED, PARKED)]
)
def test_a_hand_lets_every_destination_be_tried_at_once(state: GateState, then: GateState) -> None:
    gate = resume(Gate(state, 3, NOW, 7.0, "why", pause_requested=True, paused=True))
    assert gate == Gate(then, 3, 0.0, 7.0, None if state is OPEN else "why")
    assert resume(gate) == gate


FIRST, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
TROUBLES = [Action.WAIT, Action.PARK, Action.DISABLE, Action.REFUSE, Action.RETRY, Action.GIVE_UP]


@pytest.mark.parametrize("first", TROUBLES)
@pytest.mark.parametrize("then", TROUBLES)
def test_trouble_begins_with_the_first_failure_and_ends_with_a_success(first: Action, then: Action) -> None:
    gate = date_trouble(step(Gate(), first), FIRST)
    assert gate.since == FIRST
    gate = date_trouble(step(gate, then), LATER)
    assert gate.since == FIRST
    assert after_restart(gate).since == unpark(gate).since == FIRST
    assert date_trouble(step(gate, Action.DELIVERED), LATER) == Gate()
    anew = date_trouble(step(step(gate, Action.DELIVERED), then), LATER)
    assert anew.since == LATER


@pytest.mark.parametrize("first", TROUBLES)
def test_a_pause_by_hand_begins_its_own_trouble_only_if_all_was_well(first: Action) -> None:
    paused = date_trouble(pause(Gate()), FIRST)
    assert paused.since == FIRST
    assert date_trouble(resume(paused), LATER) == Gate()
    both = date_trouble(pause(date_trouble(step(Gate(), first), FIRST)), LATER)
    assert both.since == FIRST
    resumed = date_trouble(resume(both), LATER)
    assert resumed.since == (None if resumed.state is OPEN else FIRST)


def test_a_success_while_it_is_paused_leaves_the_time_of_the_pause() -> None:
    paused = date_trouble(pause(Gate()), FIRST)
    assert date_trouble(step(paused, Action.DELIVERED), LATER).since == FIRST


def test_a_person_takes_note_of_the_last_error_of_an_open_destination() -> None:
    assert resume(step(Gate(), Action.REFUSE)) == Gate()


@pytest.mark.parametrize(
    ("gate", "tried"),
    [
        (Gate(OPEN), False),
        (Gate(RESTING, 1, NOW), False),
        (Gate(PARKED, 1, NOW), True),
        (Gate(PARKED, 1, NOW, pause_requested=True), False),
        (Gate(PARKED, 1, NOW, paused=True), False),
        (Gate(DISABLED, 1), True),
    ],
)
def test_only_what_a_person_can_mend_is_tried_after_a_reload(gate: Gate, tried: bool) -> None:
    assert unpark(gate) == (resume(gate) if tried else gate)


def test_a_disabled_destination_is_not_tried_by_itself() -> None:
    gate = step(Gate(), Action.DISABLE)
    assert (gate.opens_at, gate.label) == (math.inf, "disabled")
    assert after_restart(gate) == gate


@pytest.mark.parametrize("state", [RESTING, PARKED])
@pytest.mark.parametrize("asked", [False, True])
def test_after_a_restart_only_a_pause_that_was_asked_for_holds(state: GateState, asked: bool) -> None:
    gate = Gate(state, 3, NOW, pause_requested=asked)
    assert after_restart(gate) == replace(gate, retry_at=NOW if asked else 0.0)


def test_a_gate_knows_which_pause_was_asked_for() -> None:
    gate = step(Gate(), Action.WAIT, 30.0)
    assert gate.pause_requested
    assert not step(gate, Action.WAIT).pause_requested
    assert not step(gate, Action.RETRY).pause_requested
    assert not step(gate, Action.DELIVERED).pause_requested


def test_an_error_in_the_plugin_repeats_the_pause_of_the_last_failure() -> None:
    after = step(Gate(RESTING, 1, retry_at=NOW, pause_requested=True), Action.RETRY)
    assert (after.retry_at, after.pause_requested) == (NOW + 1, False)


def test_a_rate_holds_when_the_trouble_is_over() -> None:
    assert step(Gate(RESTING, 2, retry_at=NOW, slot_at=NOW + 5), Action.DELIVERED).slot_at == NOW + 5


def test_a_destination_that_is_gone_closes_the_gate_once() -> None:
    assert step(Gate(turns=4), Action.DISABLE).turns == 5


def fail(gate: Gate, delivery: int, blame: int, asked: float | None = None) -> Gate:
    verdict = Verdict(Action.WAIT, "why", asked, FaultHistory(blame=blame))
    return record_verdict(gate, verdict, NOW, lambda: 0.0, delivery)


def test_a_message_under_suspicion_leaves_the_next_probe_to_others_at_once() -> None:
    gate = Gate(RESTING, 2, NOW)
    assert fail(gate, 7, SUSPECT_AFTER - 1).probe_after is None
    gate = fail(gate, 7, SUSPECT_AFTER)
    assert (gate.probe_after, gate.doubted, gate.retry_at) == (7, True, NOW + 15)
    assert (gate.opens_at, gate.opens_for_others_at) == (NOW + 15, 0.0)
    assert replace(gate, slot_at=NOW + 5).opens_for_others_at == NOW + 5
    assert pause(gate).opens_for_others_at == math.inf


@pytest.mark.parametrize("state", [RESTING, PARKED])
def test_a_second_one_that_fails_ends_the_doubt_and_makes_no_pause_longer(state: GateState) -> None:
    doubted = fail(Gate(state, 2, NOW), 7, SUSPECT_AFTER)
    gate = fail(doubted, 9, 1)
    assert (gate.probe_after, gate.doubted, gate.failures, gate.retry_at) == (9, False, 3, doubted.retry_at)
    assert gate.opens_for_others_at == gate.opens_at
    gate = fail(gate, 12, 1)
    assert (gate.probe_after, gate.doubted, gate.failures) == (12, False, 4)


def test_the_doubt_stays_while_only_suspects_fail() -> None:
    gate = fail(Gate(RESTING, 2, NOW), 7, SUSPECT_AFTER)
    again = fail(gate, 7, SUSPECT_AFTER)
    assert (again.probe_after, again.doubted, again.failures) == (7, True, 4)
    other = fail(gate, 9, SUSPECT_AFTER + 1)
    assert (other.probe_after, other.doubted, other.failures) == (9, True, 3)
    assert not fail(gate, 9, SUSPECT_AFTER).doubted, "it was no suspect before this failure"


@pytest.mark.parametrize("action", [Action.DELIVERED, Action.REFUSE, Action.PARK, Action.DISABLE])
def test_what_the_destination_says_itself_ends_the_doubt(action: Action) -> None:
    gate = step(fail(Gate(RESTING, 2, NOW), 7, SUSPECT_AFTER), action)
    assert (gate.probe_after, gate.doubted) == (None, False)


def test_a_pause_that_was_asked_for_holds_for_all() -> None:
    gate = fail(fail(Gate(RESTING, 2, NOW), 7, SUSPECT_AFTER), 9, 1, asked=30.0)
    assert (gate.probe_after, gate.doubted, gate.opens_for_others_at) == (None, False, NOW + 30)


def test_a_pause_that_was_asked_for_has_a_shortest_length() -> None:
    assert step(Gate(), Action.WAIT, asked=0.25).retry_at == NOW + 1.0


def test_a_disabled_destination_asks_for_no_pause() -> None:
    late = step(replace(Gate(DISABLED), turns=2), Action.WAIT, asked=60.0, turn=1)
    assert late == Gate(DISABLED)


@pytest.mark.parametrize("state", [RESTING, PARKED, DISABLED])
def test_a_probe_keeps_the_other_agents_away_until_its_result(state: GateState) -> None:
    gate = start_probe(Gate(state, 3, retry_at=NOW - 5, last_error="why"), NOW)
    assert gate == Gate(state, 3, retry_at=NOW + 60.0, last_error="why")
    assert cancel_probe(gate) == Gate(state, 3, retry_at=0.0, last_error="why")


def test_an_open_gate_is_not_probed() -> None:
    gate = Gate(retry_at=NOW, slot_at=NOW + 5)
    assert start_probe(gate, NOW + 1) == gate == cancel_probe(gate)


MOMENT = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("gate", "in_s"),
    [
        (Gate(OPEN, retry_at=NOW + 7, slot_at=NOW + 9), None),
        (Gate(RESTING, 1, retry_at=NOW + 7, slot_at=NOW + 9), 7),
        (Gate(PARKED, 1, retry_at=NOW + 0.5), 0.5),
        (Gate(PARKED, 1, retry_at=NOW - 7), 0),
        (Gate(DISABLED, 1, retry_at=NOW + 7), None),
        (Gate(RESTING, 1, retry_at=NOW + 7, paused=True), None),
    ],
)
def test_people_see_when_it_is_tried_again(gate: Gate, in_s: float | None) -> None:
    assert gate.retry_time(NOW, MOMENT) == (None if in_s is None else MOMENT + timedelta(seconds=in_s))


def test_the_failures_of_others_while_in_doubt_count_down_to_none() -> None:
    doubted = Gate(RESTING, 0, probe_after=7, doubted=True)
    after = record_verdict(doubted, Verdict(Action.WAIT, "why"), NOW, lambda: 0.0, 8)
    assert (after.failures, after.retry_at, after.probe_after, after.doubted) == (1, NOW + 1.0, 8, False)
