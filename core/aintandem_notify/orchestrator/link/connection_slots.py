"""Places for links: as many as there are descriptors for. Projects beyond them wait for their turn, in order."""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from aintandem_notify import log

_log = log.get_logger(__name__)


class ConnectionSlots:
    """The places that all projects share.

    A project has one for as long as it has a link or tries to open one. ``total`` counts no handovers, of which
    one at a time has a place in any case.
    """

    def __init__(self, total: float = math.inf) -> None:
        self.total: Final = total
        self._taken = trio.CapacityLimiter(total)
        self._spare = trio.CapacityLimiter(1)
        self._is_logged = False

    @property
    def wait_reason(self) -> str | None:
        """Why the next project has to wait; None if it has not."""
        if self._taken.available_tokens > 0:
            return None
        return f"waits for a place: the limit of open files leaves room for {self.total:g} projects at a time"

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        """One project's, for as long as the block lasts; waits for it."""
        if self.wait_reason is not None and not self._is_logged:
            self._is_logged = True
            _log.warning("not all projects can be watched: the limit of open files is reached", watched=self.total)
        place = object()
        await self._taken.acquire_on_behalf_of(place)
        try:
            yield
        finally:
            self._taken.release_on_behalf_of(place)

    @contextmanager
    def acquire_second(self) -> Iterator[bool]:
        """Another one for a project that has one, to go over to a new link; whether there is any."""
        place = object()
        for limiter in (self._taken, self._spare):
            try:
                limiter.acquire_on_behalf_of_nowait(place)
            except trio.WouldBlock:
                continue
            try:
                yield True
            finally:
                limiter.release_on_behalf_of(place)
            return
        yield False
