"""The one place where trio meets the synchronous store: one hop into one worker thread at a time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from aintandem_notify.store.store import Store

T = TypeVar("T")


class Storage:
    """Lends the store out, to one function at a time.

    ``inline`` runs the functions in the trio thread: under ``autojump_clock`` work in a thread would let the
    clock jump.
    """

    def __init__(self, store: Store, *, inline: bool = False) -> None:
        self._store = store
        self._inline = inline
        self._limiter = trio.CapacityLimiter(1)

    @property
    def name(self) -> str:
        """The store's file, for people."""
        return self._store.name

    async def run(self, fn: Callable[[Store], T]) -> T:
        """What ``fn`` returns or raises. Once begun it is not cancelled, so its result is never in doubt."""
        if self._inline:
            await trio.lowlevel.checkpoint()
            return fn(self._store)
        return await trio.to_thread.run_sync(fn, self._store, limiter=self._limiter, abandon_on_cancel=False)


@asynccontextmanager
async def open_storage(url: str | Path, *, inline: bool = False) -> AsyncIterator[Storage]:
    """The store at ``url``, held for as long as the block lasts. Raises StoreError when it cannot be had."""
    store = Store(url) if inline else await trio.to_thread.run_sync(Store, url)
    storage = Storage(store, inline=inline)
    try:
        yield storage
    finally:
        with trio.CancelScope(shield=True):
            await storage.run(Store.close)
