from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from aintandem_notify.foundation.clock import MAX_AHEAD, SystemClock, capped
from support.trio_clock import TrioClock

STARTED = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_the_system_clock_is_aware_utc_and_does_not_stand_still() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()

    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


async def test_the_trio_clock_follows_virtual_time(autojump_clock: trio.testing.MockClock) -> None:
    start = datetime(2027, 6, 1, 12, tzinfo=UTC)
    await trio.sleep(5)
    clock = TrioClock(start)

    assert clock.now() == start
    await trio.sleep(3600)
    assert clock.now() == start + timedelta(hours=1)


@pytest.mark.parametrize(
    ("wall", "believed"),
    [
        (STARTED + DAY, STARTED + DAY),
        (STARTED + DAY - MAX_AHEAD, STARTED + DAY - MAX_AHEAD),
        (STARTED - 9 * DAY, STARTED - 9 * DAY),  # set back
        (STARTED + DAY + MAX_AHEAD, STARTED + DAY + MAX_AHEAD),
        (STARTED + 365 * DAY, STARTED + DAY + MAX_AHEAD),
    ],
)
def test_no_clock_is_believed_far_beyond_the_elapsed_time(wall: datetime, believed: datetime) -> None:
    assert capped(wall, started=STARTED, elapsed_s=DAY.total_seconds()) == believed


def test_the_system_clock_hurries_only_when_it_is_set() -> None:
    clock = SystemClock()
    before = datetime.now(UTC)

    assert before <= clock.capped_now() <= datetime.now(UTC)
