"""Logs the store's status, announces trouble as an event, and ends the agent when the store is damaged."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Never

import trio

from aintandem_notify.domain.events import AgentEvent, Event, StoreDegradedEvent
from aintandem_notify.errors import StoreDamaged, StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.maintenance.trouble_notices import TroubleEpisode, next_notice
from aintandem_notify.store import Storage, Store, StoreState, StoreStatus

RECHECK_INTERVAL_S: Final = 5.0
"""Seconds between two checks of a store in trouble."""

log: Final = get_logger(__name__)

Commit = Callable[[None, Sequence[Event]], Awaitable[None]]


@asynccontextmanager
async def watch_trouble(
    storage: Storage, *, announce: Callable[[AgentEvent], None], commit: Commit, clock: Clock
) -> AsyncIterator[None]:
    """Watches the store's status within the block. Raises StoreDamaged out of the block once the store is damaged.

    ``announce`` receives the events and must not block; ``commit`` returns when an event is stored.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, storage, announce, clock)
        nursery.start_soon(_announce_damaged_predecessor, storage, commit, clock)
        yield
        nursery.cancel_scope.cancel()


async def _watch(storage: Storage, announce: Callable[[AgentEvent], None], clock: Clock) -> Never:
    episode, status = TroubleEpisode(), storage.status
    while True:
        if status.state is StoreState.DAMAGED:
            raise StoreDamaged(status.reason)
        if status.state is not episode.status.state:
            _log_status(status)
        episode, notice = next_notice(episode, status, clock.now())
        if notice is not None:
            announce(StoreDegradedEvent(timestamp=clock.now(), reason=notice))
        with trio.CancelScope() if status.is_well else trio.move_on_after(RECHECK_INTERVAL_S):
            await storage.wait_for_status_change(status)
        status = storage.status


def _log_status(status: StoreStatus) -> None:
    if status.is_well:
        log.info("the store is well")
    else:
        log.error("the store is in trouble", state=status.state.value, reason=status.reason)


async def _announce_damaged_predecessor(storage: Storage, commit: Commit, clock: Clock) -> None:
    """Announces that this store replaced a damaged one; retries until the announcement is stored."""
    while True:
        try:
            quarantined = await storage.run(Store.damaged_predecessor)
            if quarantined is not None:
                reason = (
                    f"store {storage.name}: it was damaged and began anew; the old one is kept as {quarantined}"
                )
                log.error("the store began anew", damaged=quarantined)
                await commit(None, [StoreDegradedEvent(timestamp=clock.now(), reason=reason)])
                await storage.run(Store.clear_damaged_predecessor)
            return
        except StoreError:
            await trio.sleep(RECHECK_INTERVAL_S)
