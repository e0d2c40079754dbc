"""The lower bound of the orchestrator's clock, on trio's clock."""

from datetime import datetime, timedelta

import trio
from trio.testing import MockClock

from aintandem_notify.orchestrator.catch_up.remote_clock import FORGET_AFTER_S, MAX_AHEAD, MIN_RATE, RemoteClock
from support.outbox import NOW


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def test_the_bound_is_the_latest_timestamp_plus_the_time_since(autojump_clock: MockClock) -> None:
    theirs = RemoteClock()
    assert theirs.lower_bound() is None
    theirs.add_timestamps([None], NOW)
    assert theirs.lower_bound() is None
    theirs.add_timestamps([at(-50), None, at(-40)], NOW)
    assert theirs.lower_bound() == at(-40)
    await trio.sleep(10)
    assert theirs.lower_bound() == at(-40 + 10 * MIN_RATE)
    theirs.add_timestamps([at(-35)], NOW)
    assert theirs.lower_bound() == at(-40 + 10 * MIN_RATE), "that was long on the way"
    theirs.add_timestamps([at(-20)], NOW)
    assert theirs.lower_bound() == at(-20)


async def test_a_stamp_from_the_future_is_not_believed_nor_one_that_no_clock_shows(
    autojump_clock: MockClock,
) -> None:
    theirs = RemoteClock()
    theirs.add_timestamps([NOW + MAX_AHEAD + timedelta(microseconds=1)], NOW)
    assert theirs.lower_bound() is None
    ages_ago = datetime.min.replace(tzinfo=NOW.tzinfo)
    theirs.add_timestamps([ages_ago], NOW)
    assert theirs.lower_bound() == ages_ago
    theirs.add_timestamps([NOW + MAX_AHEAD], NOW)
    assert theirs.lower_bound() == NOW + MAX_AHEAD


async def test_a_clock_that_was_set_back_is_believed_in_time(autojump_clock: MockClock) -> None:
    theirs = RemoteClock()
    theirs.add_timestamps([at(30)], NOW)
    for _ in range(4):
        await trio.sleep(FORGET_AFTER_S / 2)
        theirs.add_timestamps([at(-3600)], NOW)
    assert theirs.lower_bound() == at(-3600 + FORGET_AFTER_S * MIN_RATE)


async def test_an_old_timestamp_is_forgotten(autojump_clock: MockClock) -> None:
    theirs = RemoteClock()
    theirs.add_timestamps([at(0)], NOW)
    await trio.sleep(FORGET_AFTER_S)
    assert theirs.lower_bound() == at(FORGET_AFTER_S * MIN_RATE)
    await trio.sleep(2 * FORGET_AFTER_S)
    assert theirs.lower_bound() is None
