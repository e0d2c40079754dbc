"""Bounds the number of links by the limit of open files. Projects beyond it wait for a slot, in order."""

import math
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from aintandem_notify import log

_log = log.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Slot:
    """Smaller than the generator of ``asynccontextmanager``; each project holds one."""

    limiter: trio.CapacityLimiter

    async def __aenter__(self) -> None:
        await self.limiter.acquire_on_behalf_of(self)

    async def __aexit__(self, *_error: object) -> None:
        self.limiter.release_on_behalf_of(self)


class ConnectionSlots:
    """The slots that all projects share.

    A project has one for as long as it has a link or tries to open one. A handover to a new link needs a second
    slot; one spare slot for that is not counted in ``total``.
    """

    def __init__(self, total: float = math.inf) -> None:
        self.total: Final = total
        self._taken = trio.CapacityLimiter(total)
        self._spare = trio.CapacityLimiter(1)
        self._is_logged = False

    @property
    def wait_reason(self) -> str | None:
        """The reason why the next project has to wait, None if a slot is free."""
        if self._taken.available_tokens > 0:
            return None
        return f"waits for its turn: the limit of open files leaves room for {self.total:g} projects at a time"

    def acquire(self) -> AbstractAsyncContextManager[None]:
        """Wait for a slot, and hold it for as long as the block lasts."""
        if self.wait_reason is not None and not self._is_logged:
            self._is_logged = True
            _log.warning("not all projects can be watched: the limit of open files is reached", watched=self.total)
        return _Slot(self._taken)

    @contextmanager
    def acquire_second(self) -> Iterator[bool]:
        """A second slot for a handover, for as long as the block lasts. Yields False if none is free."""
        slot = object()
        for limiter in (self._taken, self._spare):
            try:
                limiter.acquire_on_behalf_of_nowait(slot)
            except trio.WouldBlock:
                continue
            try:
                yield True
            finally:
                limiter.release_on_behalf_of(slot)
            return
        yield False
