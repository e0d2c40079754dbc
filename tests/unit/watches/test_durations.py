"""Usual durations."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config.watch_config import SlowerThan
from aintandem_notify.watches.durations import quantile, usual_duration

durations = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(durations, st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], part: float) -> None:
    found = quantile(sorted(values), part)
    share = sum(value <= found for value in values) / len(values)
    below = sum(value < found for value in values) / len(values)
    assert found in values
    assert below <= part + 1e-6
    assert share >= part - 1e-6


@given(durations)
def test_the_median_is_the_low_one(values: list[float]) -> None:
    assert quantile(sorted(values), 0.5) == statistics.median_low(values)


def test_fewer_than_five_are_no_history() -> None:
    few, enough = usual_duration([1, 2, 3, 4]), usual_duration([5, 1, 3, 2, 4])
    assert (few.median, few.allowed_s(SlowerThan())) == (None, None)
    assert enough.median == 3
    assert enough.allowed_s(None) is None


@pytest.mark.parametrize(("at_least", "allowed"), [(0.0, 200.0), (600.0, 600.0)])
def test_the_limit_is_so_many_times_the_quantile_but_never_below_a_bound(at_least: float, allowed: float) -> None:
    usual = usual_duration([60, 70, 80, 90, 100])
    assert usual.allowed_s(SlowerThan(quantile=0.95, times=2, at_least=at_least)) == allowed


def test_durations_that_cannot_be_are_left_out() -> None:
    assert usual_duration([math.nan, math.inf, -1, 2]).durations == (2,)
