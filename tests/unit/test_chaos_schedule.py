"""What happens when in a chaos run."""

from itertools import pairwise

import pytest
from benchmarks.chaos.schedule import PACES, Kind, schedule


def test_the_same_seed_makes_the_same_troubles() -> None:
    assert schedule(7, 120) == schedule(7, 120)
    assert schedule(7, 120) != schedule(8, 120)


def test_every_kind_has_a_pace_and_comes_even_in_a_short_run() -> None:
    assert PACES.keys() == set(Kind)
    assert {trouble.kind for trouble in schedule(1, 3)} == set(Kind)


@pytest.mark.parametrize("seed", range(5))
def test_troubles_are_in_order_within_the_time_and_none_overlaps_its_own_kind(seed: int) -> None:
    troubles = schedule(seed, 300)
    assert troubles == sorted(troubles, key=lambda trouble: trouble.at_s)
    for kind in Kind:
        own = [trouble for trouble in troubles if trouble.kind is kind]
        assert all(trouble.at_s >= 0 and trouble.at_s + trouble.duration_s <= 300 for trouble in own)
        assert all(a.at_s + a.duration_s <= b.at_s for a, b in pairwise(own))


def test_kills_are_as_many_as_asked_for_and_spread_evenly() -> None:
    kills = [trouble for trouble in schedule(1, 100, kills=10) if trouble.kind is Kind.KILL]
    assert [int(kill.at_s // 10) for kill in kills] == list(range(10))


def test_leaving_a_kind_out_changes_no_other() -> None:
    without = schedule(1, 100, [kind for kind in Kind if kind is not Kind.CUT])
    assert without == [trouble for trouble in schedule(1, 100) if trouble.kind is not Kind.CUT]
