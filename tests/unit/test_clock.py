from datetime import UTC, datetime, timedelta

import trio
import trio.testing

from aintandem_notify.clock import SystemClock, TrioClock


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
