"""Notices of the store's trouble: one for each episode, at once if the disk is full, and never in a loop."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from aintandem_notify.maintenance.trouble_notices import TroubleEpisode, next_notice
from aintandem_notify.store import WELL, StoreState, StoreStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FULL = "disk is full; nothing new is read or sent until there is room again"
OVER = "disk is odd; this lasted from 2026-01-01 12:00:00 UTC to 2026-01-01 12:01:00 UTC and is over"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def full(since: float = 0) -> StoreStatus:
    return StoreStatus(StoreState.ON_RESERVE, at(since), "disk is full")


def stuck(since: float = 0) -> StoreStatus:
    return StoreStatus(StoreState.STUCK, at(since), "disk is odd")


def notices(*statuses: tuple[float, StoreStatus]) -> list[tuple[float, str]]:
    """The notices and their times, for a series of (seconds, status)."""
    episode, notices_by_time = TroubleEpisode(), []
    for seconds, status in statuses:
        episode, notice = next_notice(episode, status, at(seconds))
        if notice is not None:
            notices_by_time.append((seconds, notice))
    return notices_by_time


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([(0, WELL), (5, WELL)], []),
        ([(0, full())], [(0, FULL)]),
        ([(0, full()), (5, full()), (9, WELL)], [(0, FULL)]),
        ([(0, stuck()), (60, WELL)], [(60, OVER)]),
        ([(0, stuck()), (4, WELL)], []),
        ([(0, stuck()), (5, full()), (60, WELL)], [(5, FULL)]),
        ([(0, full()), (5, stuck()), (60, WELL)], [(0, FULL)]),
        ([(0, StoreStatus(StoreState.DAMAGED, NOW, "broken"))], []),
    ],
)
def test_an_episode_is_announced_once(
    statuses: Iterable[tuple[float, StoreStatus]], expected: list[tuple[float, str]]
) -> None:
    assert notices(*statuses) == expected


def test_a_disk_that_fills_again_and_again_is_announced_every_ten_minutes_at_most() -> None:
    statuses = [
        seconds_and_status
        for second in range(0, 3600, 10)
        for seconds_and_status in ((second, full(second)), (second + 5, WELL))
    ]
    moments = [moment for moment, _ in notices(*statuses)]
    assert moments[0] == 0
    assert all(later - earlier >= 600 for earlier, later in pairwise(moments))
    assert len(moments) == 6


def test_trouble_that_begins_in_the_quiet_period_and_stays_is_announced_after_it() -> None:
    statuses = [(0, full()), (10, WELL), *((second, full(20)) for second in range(20, 2000, 5))]
    assert [moment for moment, _ in notices(*statuses)] == [0, 610]
