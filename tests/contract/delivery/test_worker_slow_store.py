"""A worker with a slow store: its decisions must not depend on the time at which a store call ends."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, open_dispatcher
from aintandem_notify.store import Storage, Store
from support.outbox import NOW, FakeHost, event, new_store, queue_up
from support.trio_clock import TrioClock

pytestmark = pytest.mark.usefixtures("any_store")

T = TypeVar("T")


class SlowStorage(Storage):
    """Each call takes ``hop_s`` seconds of virtual time, half before its work and half after."""

    def __init__(self, store: Store, hop_s: float) -> None:
        super().__init__(store, inline=True)
        self._half_s = hop_s / 2

    async def run(self, fn: Callable[[Store], T]) -> T:
        await trio.sleep(self._half_s)
        done = await super().run(fn)
        await trio.sleep(self._half_s)
        return done


@pytest.mark.parametrize("hop_s", [0.001, 0.01, 0.09, 0.1, 0.11, 0.25, 1.0])
async def test_a_rate_that_opens_during_a_hop_leaves_nothing_waiting(
    autojump_clock: MockClock, hop_s: float
) -> None:
    storage, host = SlowStorage(new_store(), hop_s), FakeHost()
    await storage.run(queue_up(event("task_failed", f"t{number}") for number in range(5)))
    async with open_dispatcher(
        storage=storage, host=host, clock=TrioClock(NOW), chance=lambda: 0.0, announce=lambda _event: None
    ) as dispatcher:
        dispatcher.start(DestinationSettings("file_log.a", max_age=3600.0, rate=Rate(10, 1.0)))
        await trio.sleep(10 * (0.1 + 2 * hop_s))
    assert len(host.tries) == 5
    await storage.run(Store.close)
