"""Reports how the watching stands where no status line does: once all is connected, and while it is quiet."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import trio

FIRST_REPORT_TIMEOUT_S: Final = 5.0
"""Seconds that the connections get before the first report."""
QUIET_S: Final = (60.0, 600.0)
"""Seconds without an event until the first two reports of it; more follow each hour."""
HOUR_S: Final = 3600.0


def quiet_times() -> Iterator[float]:
    """Seconds of quiet, ascending and without end, after which it is reported."""
    yield from QUIET_S
    hours = 1
    while True:
        yield hours * HOUR_S
        hours += 1


class Reports:
    """Calls ``report`` at the right times."""

    def __init__(self, report: Callable[[], Awaitable[None]], projects: Iterable[str]) -> None:
        """``projects`` are those that the first report waits for."""
        self._report = report
        self._unready = set(projects)
        self._first = trio.Event()
        self._event = trio.Event()
        self._quiet_since = trio.current_time()

    async def mark_ready(self, project_id: str) -> None:
        """Record that a project is connected, or gone; after the last one comes the first report."""
        self._unready.discard(project_id)
        if not self._unready:
            await self._report_first()

    def note_event(self) -> None:
        """Record that it is quiet no longer."""
        self._quiet_since = trio.current_time()
        self._event.set()

    async def keep_reporting(self) -> None:
        """Report for ever."""
        with trio.move_on_after(FIRST_REPORT_TIMEOUT_S if self._unready else 0):
            await self._first.wait()
        await self._report_first()
        while True:
            await self._report_quiet()
            self._event = trio.Event()

    async def _report_first(self) -> None:
        if not self._first.is_set():
            self._first.set()
            await self._report()

    async def _report_quiet(self) -> None:
        """Report again and again until an event arrives."""
        for seconds in quiet_times():
            with trio.move_on_at(self._quiet_since + seconds):
                await self._event.wait()
                return
            await self._report()
