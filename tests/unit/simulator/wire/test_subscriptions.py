"""Subscriptions have a queue each, so that no subscriber delays another."""

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.simulator.wire.faults import Faults
from aintandem_notify.simulator.wire.subscriptions import MAX_QUEUED_FRAMES, TRY_AGAIN_LATER, Subscriptions


async def test_a_frame_goes_to_all_sockets_of_the_project() -> None:
    subscriptions = Subscriptions()
    with (
        subscriptions.opened("p", None) as first,
        subscriptions.opened("p", None) as second,
        subscriptions.opened("q", None) as other,
    ):
        subscriptions.publish("p", "a", times=2)
        subscriptions.publish("q", b"b")
        assert [await first.next(), await first.next(), await second.next(), await other.next()] == [
            "a",
            "a",
            "a",
            b"b",
        ]
        assert len(subscriptions.of(None)) == 3
    assert subscriptions.of(None) == []


async def test_only_a_socket_that_does_not_keep_up_is_closed() -> None:
    subscriptions = Subscriptions()
    with subscriptions.opened("p", None) as slow, subscriptions.opened("p", None) as quick:
        for number in range(MAX_QUEUED_FRAMES + 1):
            subscriptions.publish("p", str(number))
            assert await quick.next() == str(number)
        assert await slow.next() is None
        assert slow.close_code == TRY_AGAIN_LATER
        assert quick.close_code is None


async def test_an_end_comes_before_queued_frames() -> None:
    subscriptions = Subscriptions()
    with subscriptions.opened("p", None) as watcher:
        watcher.put("a")
        watcher.end(4001)
        watcher.put("b")
        assert await watcher.next() is None
        assert watcher.close_code == 4001


async def test_waiting_for_subscribers(autojump_clock: MockClock) -> None:
    subscriptions = Subscriptions()
    with trio.move_on_after(1) as scope:
        await subscriptions.wait_for("p", at_least=1)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        with subscriptions.opened("p", None):
            await subscriptions.wait_for("p", at_least=1)
            nursery.start_soon(lambda: subscriptions.wait_for("p", at_most=0))
            await trio.sleep(1)
            assert nursery.child_tasks


@pytest.mark.parametrize("take", ["take_failure", "take_refused_login", "take_copies"])
def test_faults_run_out(take: str) -> None:
    faults = Faults(failures=2, failure_status=502, refused_logins=2, duplicates=2)
    expected = {
        "take_failure": [502, 502, None],
        "take_refused_login": [True, True, False],
        "take_copies": [2, 2, 1],
    }
    assert [getattr(faults, take)() for _ in range(3)] == expected[take]
