"""Pruning deletes old history in steps, with pauses, and stops while the store is in trouble."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import trio
from sqlalchemy import func, select
from trio.testing import MockClock

from aintandem_notify.errors import StoreError
from aintandem_notify.maintenance import open_pruning, pruning
from aintandem_notify.store import DeliveryState, PruneLimits, Settlement, Storage, Store
from aintandem_notify.store.engine import schema
from support.outbox import NOW, claim_all, event, inside, queue_up
from support.trio_clock import TrioClock

T = TypeVar("T")
DAY_S = 86_400.0
EVENTS = 1200


class WatchedStorage(Storage):
    """Records the times of its use; fails while ``broken``, and is busy while ``busy``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, inline=True)
        self.used: list[float] = []
        self.broken = self.busy = False

    @property
    def is_busy(self) -> bool:
        return self.busy

    async def run(self, fn: Callable[[Store], T]) -> T:
        self.used.append(trio.current_time())
        if self.broken:
            raise StoreError("the disk is full")
        return await super().run(fn)


def settle_all(store: Store) -> None:
    for claim in claim_all(limit=EVENTS)(store):
        ended = Settlement(claim, DeliveryState.DELIVERED, NOW, NOW)
        inside(lambda store, ended=ended: store.outbox.settle([ended]))(store)  # type: ignore[misc]


def deliveries(store: Store) -> int:
    with store.transaction():
        count: int = store._connection.execute(select(func.count()).select_from(schema.deliveries)).scalar_one()
    return count


async def watched(now: timedelta) -> tuple[WatchedStorage, TrioClock]:
    """A store with many deliveries that ended ``now`` ago."""
    store = Store("sqlite://")
    queue_up([event("task_failed", run=f"t{n}") for n in range(EVENTS)])(store)
    settle_all(store)
    return WatchedStorage(store), TrioClock(NOW + now)


async def test_old_history_is_deleted_in_steps_with_pauses(autojump_clock: MockClock) -> None:
    storage, clock = await watched(timedelta(days=29, hours=23))
    async with open_pruning(storage, keep=30 * DAY_S, clock=clock, configured=tuple):
        await trio.sleep(1800)
        assert deliveries(storage._store) == EVENTS
        await trio.sleep(7200)
        assert deliveries(storage._store) == 0
    gaps = [after - before for before, after in pairwise(storage.used)]
    assert min(gaps) >= pruning.STEP_PAUSE_S
    await storage.run(Store.close)


async def test_a_round_returns_the_deleted_rows(autojump_clock: MockClock) -> None:
    storage, clock = await watched(timedelta(days=31))
    removed = await pruning.prune(storage, PruneLimits(clock.now(), timedelta(days=30)), ())
    assert removed == {"deliveries": EVENTS, "runs": EVENTS}
    assert await pruning.prune(storage, PruneLimits(clock.now(), timedelta(days=30)), ()) == {}
    await storage.run(Store.close)


async def test_a_store_in_trouble_is_left_alone_until_the_next_round(autojump_clock: MockClock) -> None:
    storage, clock = await watched(timedelta(days=31))
    storage.broken = True
    async with open_pruning(storage, keep=30 * DAY_S, clock=clock, configured=tuple):
        await trio.sleep(pruning.FIRST_ROUND_DELAY_S + 60)
        assert len(storage.used) == 1
        storage.broken = False
        await trio.sleep(pruning.ROUND_INTERVAL_S)
        assert deliveries(storage._store) == 0
    await storage.run(Store.close)


async def test_a_busy_store_is_waited_for_but_not_for_ever(autojump_clock: MockClock) -> None:
    storage, clock = await watched(timedelta(days=31))
    storage.busy = True
    async with open_pruning(storage, keep=30 * DAY_S, clock=clock, configured=tuple):
        await trio.sleep(pruning.FIRST_ROUND_DELAY_S + pruning.STEP_PAUSE_S)
        assert storage.used == []
        await trio.sleep(600)
        assert deliveries(storage._store) == 0
    gaps = [after - before for before, after in pairwise(storage.used)]
    assert min(gaps) >= pruning.MAX_BUSY_PAUSES * pruning.STEP_PAUSE_S
    await storage.run(Store.close)
