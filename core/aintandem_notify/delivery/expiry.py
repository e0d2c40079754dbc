"""Gives up what waits too long at a destination, also while nothing can be sent to it."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final, Never

import trio

from aintandem_notify.clock import Clock
from aintandem_notify.delivery.settling import too_old
from aintandem_notify.errors import StoreError
from aintandem_notify.log import get_logger
from aintandem_notify.store import Storage, Store

EVERY_S: Final = 60.0
"""Seconds between two looks; short ages are looked after more often."""

log = get_logger(__name__)


async def expire_forever(
    name: str, max_age: float, *, storage: Storage, clock: Clock, in_flight: Callable[[], Collection[int]]
) -> Never:
    """Make dead what is older than ``max_age`` seconds, except what is ``in_flight`` at that moment."""
    reason = too_old(max_age)
    while True:
        await trio.sleep(min(EVERY_S, max(1.0, max_age / 4)))
        try:
            count = await storage.run(_expire(name, max_age, clock.now(), in_flight))
        except StoreError:
            continue  # whoever has something to record says it; the next round tries again
        if count:
            log.warning("deliveries given up", name=name, count=count, reason=reason)


def _expire(
    name: str, max_age: float, now: datetime, in_flight: Callable[[], Collection[int]]
) -> Callable[[Store], int]:
    older_than = now - timedelta(seconds=max_age)

    def expire(store: Store) -> int:
        # Asked here, in the store's thread: more may be in flight than before the hop.
        spare = in_flight()
        with store.transaction():
            return store.outbox.expire(name, older_than=older_than, now=now, reason=too_old(max_age), spare=spare)

    return expire
