"""Every cell of the table of connection states and signals."""

from itertools import product

import pytest

from aintandem_notify.orchestrator.link.states import TRANSITIONS, ConnectionState, IllegalSignal, Signal, advance

GUIDE = {"disconnected", "connecting", "connected", "reconnecting", "disconnecting"}

D, C, UP, R, BYE = (
    ConnectionState.DISCONNECTED,
    ConnectionState.CONNECTING,
    ConnectionState.CONNECTED,
    ConnectionState.RECONNECTING,
    ConnectionState.DISCONNECTING,
)
# start, opened, lost, gave up, stop, closed
EXPECTED: dict[ConnectionState, list[ConnectionState | None]] = {
    D: [C, None, None, None, None, None],
    C: [None, UP, R, D, BYE, None],
    UP: [None, None, R, D, BYE, None],
    R: [None, UP, R, D, BYE, None],
    BYE: [None, None, None, None, None, D],
}
CELLS = [
    (state, signal, EXPECTED[state][column])
    for state, (column, signal) in product(ConnectionState, enumerate(Signal))
]


def test_the_states_are_the_guides() -> None:
    assert {state.value for state in ConnectionState} == GUIDE


@pytest.mark.parametrize(("state", "signal", "after"), CELLS)
def test_each_cell(state: ConnectionState, signal: Signal, after: ConnectionState | None) -> None:
    if after is None:
        with pytest.raises(IllegalSignal, match=state.value):
            advance(state, signal)
    else:
        assert advance(state, signal) is after


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(ConnectionState)
    assert set(TRANSITIONS.values()) == set(ConnectionState)
