"""Runs functions of the synchronous store in a worker thread for trio, one at a time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from aintandem_notify.errors import MembershipLost, TransactionConflict
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.store.health import StoreStatus
from aintandem_notify.store.sharing.membership import SoleOwner
from aintandem_notify.store.store import Store

T = TypeVar("T")

CONFLICT_TRIES: Final = 5
"""Tries of a transaction that conflicts with others. The database notices a deadlock after a second."""


class Storage:
    """The store for trio tasks: ``run`` gives it to one function at a time.

    ``inline`` runs the functions in the trio thread, for tests: under ``autojump_clock`` the clock would jump
    while a worker thread runs.
    """

    def __init__(self, store: Store, *, inline: bool = False) -> None:
        self._store = store
        self._inline = inline
        self._limiter = trio.CapacityLimiter(1)
        self._last_status = store.status
        self._status_changed = trio.Event()
        self._lost = trio.Event()

    @property
    def name(self) -> str:
        """The store's file or database, for messages."""
        return self._store.name

    @property
    def status(self) -> StoreStatus:
        """The store's status after the last transaction."""
        return self._store.status

    @property
    def is_busy(self) -> bool:
        """Whether a function is waiting for its turn at the store."""
        return self._limiter.statistics().tasks_waiting > 0

    async def wait_for_status_change(self, status: StoreStatus) -> StoreStatus:
        """Waits until the store has another status than ``status``, and returns it."""
        while self.status == status:
            await self._status_changed.wait()
        return self.status

    @property
    def membership(self) -> SoleOwner:
        """This agent as an owner of the store; a ``Membership`` if others may share it."""
        return self._store.membership

    @property
    def membership_lost(self) -> trio.Event:
        """Set when the others considered this agent dead and removed it; then a new event takes its place."""
        return self._lost

    async def run(self, fn: Callable[[Store], T]) -> T:
        """Calls ``fn`` with the store and returns its result. It is not cancelled once it has begun."""
        try:
            if self._inline:
                await trio.lowlevel.checkpoint()
                return fn(self._store)
            return await run_in_thread(fn, self._store, limiter=self._limiter)
        except MembershipLost:
            self._lost.set()
            self._lost = trio.Event()
            raise
        finally:
            if self._last_status != self._store.status:
                self._last_status = self._store.status
                self._status_changed.set()
                self._status_changed = trio.Event()

    async def run_again(self, transaction: Callable[[Store], T]) -> T:
        """As ``run``, for one transaction; tries it again if one of another agent was in the way."""
        for _ in range(CONFLICT_TRIES - 1):
            with suppress(TransactionConflict):
                return await self.run(transaction)
        return await self.run(transaction)


@asynccontextmanager
async def open_storage(
    url: str | Path, *, inline: bool = False, clock: Clock | None = None, reserve_bytes: int = 0
) -> AsyncIterator[Storage]:
    """Opens the store at ``url`` for the duration of the block. Raises StoreError when it cannot be opened.

    The other arguments are those of ``Store`` and ``Storage``.
    """
    open_store = partial(Store, url, clock=clock, reserve_bytes=reserve_bytes)
    store = open_store() if inline else await trio.to_thread.run_sync(open_store)
    storage = Storage(store, inline=inline)
    try:
        yield storage
    finally:
        with trio.CancelScope(shield=True):
            await storage.run(Store.close)
