"""The schedule of a chaos run: faults at random, repeatable from the seed."""

from itertools import pairwise

import pytest
from benchmarks.chaos.schedule import PACES, Kind, schedule


def test_the_same_seed_gives_the_same_faults() -> None:
    assert schedule(7, 120) == schedule(7, 120)
    assert schedule(7, 120) != schedule(8, 120)


def test_every_kind_has_a_pace_and_comes_even_in_a_short_run() -> None:
    assert PACES.keys() == set(Kind)
    assert {fault.kind for fault in schedule(1, 3)} == set(Kind)


@pytest.mark.parametrize("seed", range(5))
def test_faults_are_in_order_within_the_time_and_none_overlaps_its_own_kind(seed: int) -> None:
    faults = schedule(seed, 300)
    assert faults == sorted(faults, key=lambda fault: fault.at_s)
    for kind in Kind:
        own = [fault for fault in faults if fault.kind is kind]
        assert all(fault.at_s >= 0 and fault.at_s + fault.duration_s <= 300 for fault in own)
        assert all(a.at_s + a.duration_s <= b.at_s for a, b in pairwise(own))


def test_kills_have_the_requested_number_and_are_spread_evenly() -> None:
    kills = [fault for fault in schedule(1, 100, kills=10) if fault.kind is Kind.KILL]
    assert [int(kill.at_s // 10) for kill in kills] == list(range(10))


def test_leaving_a_kind_out_changes_no_other() -> None:
    without = schedule(1, 100, [kind for kind in Kind if kind is not Kind.CUT])
    assert without == [fault for fault in schedule(1, 100) if fault.kind is not Kind.CUT]
