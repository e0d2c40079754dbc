import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.backoff import full_jitter, stepped_delay


def highest() -> float:
    return 1 - 2**-53


def lowest() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0), (5, 30.0), (6, 30.0)]
)
def test_the_ceiling_doubles_up_to_the_maximum(attempt: int, ceiling: float) -> None:
    assert full_jitter(attempt, initial=1.0, maximum=30.0, chance=highest) == pytest.approx(ceiling)
    assert full_jitter(attempt, initial=1.0, maximum=30.0, chance=lowest) == 0.0


@given(
    attempt=st.integers(0, 10**9),
    initial=st.floats(0, 1e6),
    maximum=st.floats(0, 1e6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_full_jitter_stays_in_its_bounds_for_ever(
    attempt: int, initial: float, maximum: float, chance: float
) -> None:
    assert 0 <= full_jitter(attempt, initial=initial, maximum=maximum, chance=lambda: chance) <= maximum


def test_many_clients_spread_over_the_whole_interval() -> None:
    chance = random.Random(1).random
    waits = [full_jitter(5, initial=1.0, maximum=30.0, chance=chance) for _ in range(1000)]

    assert min(waits) < 1
    assert max(waits) > 29
    assert statistics.mean(waits) == pytest.approx(15, abs=1)


def test_steps_follow_the_list_and_repeat_its_end() -> None:
    waits = [stepped_delay(failure, pauses=(5, 15, 60), chance=lowest) for failure in range(5)]

    assert waits == [5, 15, 60, 60, 60]


@given(failure=st.integers(0, 10**9), chance=st.floats(0, 1, exclude_max=True))
def test_steps_are_jittered_upwards_only(failure: int, chance: float) -> None:
    pauses = (5.0, 15.0, 60.0, 300.0, 900.0)
    listed = pauses[min(failure, 4)]

    assert listed <= stepped_delay(failure, pauses=pauses, chance=lambda: chance) <= listed * 1.2
