"""Hands deliveries that wait too long to the fallback, or gives them up, even while nothing can be sent."""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Final, Never

import trio

from aintandem_notify.delivery.backlog.fallback import MAX_BATCH, MAX_TRY_S, take_over_waiting
from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.settlement import too_old_reason
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.store import Storage, Store

CHECK_INTERVAL_S: Final = 60.0
"""Seconds between two checks; short ages are checked more often."""

log: Final = get_logger(__name__)


async def expire_waiting(
    settings: DestinationSettings,
    *,
    storage: Storage,
    clock: Clock,
    in_flight: Callable[[], Collection[int]],
    taken_over: Callable[[int], None],
) -> Never:
    """Hands over deliveries that wait longer than ``fallback_after`` and gives up those older than ``max_age``.

    Leaves deliveries ``in_flight`` alone. Calls ``taken_over`` with the number of deliveries handed over.
    """
    shortest = settings.max_age if settings.fallback is None else min(settings.max_age, settings.fallback_after)
    while True:
        await trio.sleep(min(CHECK_INTERVAL_S, max(1.0, shortest / 4)))
        try:
            count = MAX_BATCH
            while count == MAX_BATCH:
                count = await storage.run(_take_over(settings, clock, in_flight))
                taken_over(count)
            expired = await storage.run(_expire(settings, clock, in_flight))
        except StoreError:
            continue  # the worker logs it; the next check tries again
        if expired:
            reason = too_old_reason(settings.max_age)
            log.warning("deliveries given up", name=settings.name, count=expired, reason=reason)


# ``in_flight`` is read in the store's worker thread: a delivery may have been claimed since ``now`` was read.


def _take_over(
    settings: DestinationSettings, clock: Clock, in_flight: Callable[[], Collection[int]]
) -> Callable[[Store], int]:
    now, age_measured_at = clock.now(), clock.capped_now()

    def take_over(store: Store) -> int:
        if settings.fallback is None:
            return 0
        exclude_ids = in_flight()
        with store.transaction():
            return take_over_waiting(store, settings, now, exclude_ids, age_measured_at=age_measured_at)

    return take_over


def _expire(
    settings: DestinationSettings, clock: Clock, in_flight: Callable[[], Collection[int]]
) -> Callable[[Store], int]:
    now, reason = clock.now(), too_old_reason(settings.max_age)
    wait_s = settings.max_age
    if settings.fallback is not None:  # not before the fallback could take them over
        wait_s = max(wait_s, min(wait_s, settings.fallback_after) + MAX_TRY_S)
    older_than = clock.capped_now() - timedelta(seconds=wait_s)

    def expire(store: Store) -> int:
        exclude_ids = in_flight()
        with store.transaction():
            return store.backlog.expire(
                settings.name, older_than=older_than, now=now, reason=reason, exclude_ids=exclude_ids
            )

    return expire
