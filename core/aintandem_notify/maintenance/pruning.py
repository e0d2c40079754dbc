"""Forgets old history beside the work: small steps, and pauses in which others have the store."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, Never

import trio

from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.store import PRUNE_STEPS, PruneLimits, PruneResult, PruneStep, Retention, Storage, Store

FIRST_ROUND_DELAY_S: Final = 60.0
"""Seconds until the first round: a start has better things to do."""

ROUND_INTERVAL_S: Final = 1800.0
"""Seconds between two rounds."""

STEP_PAUSE_S: Final = 0.25
"""Seconds between two steps; each takes some milliseconds, so others have nearly all of the store."""

MAX_BUSY_PAUSES: Final = 20
"""How many pauses a step waits while others wait for the store. Not for ever: a store that is always busy is the
one that grows."""

log = get_logger(__name__)


@asynccontextmanager
async def open_pruning(
    storage: Storage, *, keep: float, clock: Clock, configured: Callable[[], Collection[str]]
) -> AsyncIterator[None]:
    """Within the block, what ended more than ``keep`` seconds ago is forgotten.

    ``configured`` gives the destinations of the config.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_prune_forever, storage, timedelta(seconds=keep), clock, configured)
        yield
        nursery.cancel_scope.cancel()


async def _prune_forever(
    storage: Storage, keep: timedelta, clock: Clock, configured: Callable[[], Collection[str]]
) -> Never:
    await trio.sleep(FIRST_ROUND_DELAY_S)
    while True:
        removed = await prune(storage, PruneLimits(clock.capped_now(), keep), configured())
        if removed:
            log.info("old history was removed", **removed)
        await trio.sleep(ROUND_INTERVAL_S)


async def prune(storage: Storage, limits: PruneLimits, configured: Collection[str]) -> Counter[str]:
    """One round, and how many rows of which kind it removed; it ends early when the store is in trouble."""
    removed: Counter[str] = Counter()
    try:
        for kind, step in PRUNE_STEPS.items():
            after: Any = None
            while True:
                page = await _step(storage, partial(_call, step, limits, after))
                removed[kind] += page.removed
                if (after := page.after) is None:
                    break
        result = await _step(storage, lambda retention: retention.prune_gates(limits, configured))
        removed["gates"] += result.removed
    except StoreError as error:
        log.debug("old history stays for now", reason=str(error))
    return +removed


def _call(step: PruneStep, limits: PruneLimits, after: Any, retention: Retention) -> PruneResult:
    return step(retention, limits, after)


async def _step(storage: Storage, action: Callable[[Retention], PruneResult]) -> PruneResult:
    for _ in range(MAX_BUSY_PAUSES):
        await trio.sleep(STEP_PAUSE_S)
        if not storage.is_busy:
            break

    def run_step(store: Store) -> PruneResult:
        # What a power cut brings back is removed by the next round.
        with store.transaction(durable=False):
            return action(store.retention) if store.retention.try_prune_lock() else PruneResult(0)

    return await storage.run(run_step)
