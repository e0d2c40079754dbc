"""Deletes old history at intervals, in small steps with pauses for other users of the store."""

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
"""Seconds until the first round, so that it does not slow down the start."""

ROUND_INTERVAL_S: Final = 1800.0
"""Seconds between two rounds."""

STEP_PAUSE_S: Final = 0.25
"""Seconds between two steps; each takes some milliseconds, so others have the store nearly all of the time."""

MAX_BUSY_PAUSES: Final = 20
"""Pauses that a step waits while others wait for the store. There is a limit because a store that is always busy
grows the most."""

log: Final = get_logger(__name__)


@asynccontextmanager
async def open_pruning(
    storage: Storage, *, keep: float, clock: Clock, configured: Callable[[], Collection[str]]
) -> AsyncIterator[None]:
    """Within the block, deletes history that ended more than ``keep`` seconds ago.

    ``configured`` returns the destinations of the config.
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
    """Runs one round and returns the number of deleted rows by kind. Ends early when the store is in trouble."""
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
        # Rows that a power cut brings back are deleted by the next round.
        with store.transaction(durable=False):
            return action(store.retention) if store.retention.try_prune_lock() else PruneResult(0)

    return await storage.run(run_step)
