"""A thread that asks the event loop for a sign of life twice a second, and finds the code that keeps it from one.

The loop runs one tiny callback for each question; between two questions the thread sleeps. It reports each block
once when it has lasted a second, and once at its end. Code in C that keeps the interpreter's lock stops this
thread, too; such a block is found as soon as it is over. A suspended machine or a stopped process is no block.
"""

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

from aintandem_notify.foundation.loop_watchdog.looks import IN_C, NO_TIME, Culprit, culprit_of
from aintandem_notify.foundation.loop_watchdog.loop_stack import LoopStack, thread_stacks
from aintandem_notify.foundation.loop_watchdog.thread_times import (
    LATE_S,
    STARVED_SHARE,
    Lateness,
    ThreadTimes,
    busiest,
    lateness,
    own_times,
    queued_s,
    running_s,
)
from aintandem_notify.foundation.threads import NO_MORE_THREADS, is_thread_start_failure

LOOK_EVERY_S: Final = 0.5
"""Seconds between two questions, and between two looks at a loop that does not answer."""
Blame = Callable[[LoopStack], Culprit | None]
"""Returns the plugin instance that runs, and its line; None if no plugin's code does. Called in another thread."""
Report = Callable[["Block"], None]
"""Takes a block when it is noticed, and again when it has ended. Called in the watchdog's thread."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """A time for which the event loop did not run.

    ``instance`` is the plugin instance that blocked it, None if it was no plugin; ``where`` gives the code, as
    ``plugins/beep.py:7``. ``began_at`` is aware UTC.
    """

    instance: str | None
    where: str
    began_at: datetime
    lasted_s: float
    ended: bool


class LoopWatchdog:
    """Watches the event loop; made by ``open_loop_watchdog``. ``blame`` may be set at any time."""

    def __init__(self, report: Report, blame: Blame, look_every_s: float) -> None:
        self.blame = blame
        self._report = report
        self._look_every_s = look_every_s
        self._answered, self._stopped = threading.Event(), threading.Event()
        self._last: Block | None = None
        self._began_s = 0.0
        # A new thread's counts are zero.
        self._times = ThreadTimes(time.monotonic())
        self._stacks: Mapping[int, LoopStack] = {}

    def last_block(self) -> Block | None:
        """The last time that the loop was blocked for a second; None if it never was. Any thread may ask."""
        last = self._last
        return last if last is None or last.ended else replace(last, lasted_s=time.monotonic() - self._began_s)

    def stop(self) -> None:
        """End the watching."""
        self._stopped.set()
        self._answered.set()

    def watch(self, token: trio.lowlevel.TrioToken, loop: threading.Thread) -> None:
        """Watch the loop, which runs in the thread ``loop``, until ``stop``, or until trio ends."""
        while not self._stopped.is_set():
            began_s, running = time.monotonic(), running_s()
            if self._wait(self._stopped) is Lateness.INTERPRETER_HELD:
                self._begin(self._look_at_holder(loop, running), began_s)
            self._answered.clear()
            if self._stopped.is_set():
                return
            try:
                token.run_sync_soon(self._answered.set)
            except trio.RunFinishedError:
                return
            self._await_answer(loop)
            self._end()

    def _await_answer(self, loop: threading.Thread) -> None:
        """Wait until the loop answers; look at its stack meanwhile, and report it."""
        asked_s, queued_before_s = time.monotonic(), _queued_s(loop)
        looks: list[Culprit] = []
        while not self._answered.is_set():
            running = running_s()
            late = self._wait(self._answered)
            if self._answered.is_set() or self._is_blocked():
                continue
            if late is Lateness.STOPPED:
                asked_s, queued_before_s, looks = time.monotonic(), _queued_s(loop), []
                continue
            if late is Lateness.INTERPRETER_HELD:
                self._begin(self._look_at_holder(loop, running), asked_s)
                continue
            looks.append(self._look(loop.ident))
            starved_s = _queued_s(loop) - queued_before_s
            starved = starved_s >= (time.monotonic() - asked_s) * STARVED_SHARE
            if (culprit := culprit_of(looks, starved=starved)) is not None:
                self._begin(culprit, asked_s)

    def _wait(self, event: threading.Event) -> Lateness:
        """Wait for the event, at most until the next look; returns whether the wait ended late.

        Each counts from the end of the one before, so that nothing is lost between them.
        """
        before = self._times
        event.wait(self._look_every_s)
        # At once: to read the counts lets the other threads go on.
        self._stacks = thread_stacks() if self._needs_look(event) else {}
        self._times = own_times()
        return lateness(before, self._times, self._look_every_s)

    def _needs_look(self, event: threading.Event) -> bool:
        late_s = time.monotonic() - self._times.at_s - self._look_every_s
        return late_s >= LATE_S or (event is self._answered and not event.is_set())

    def _look(self, thread_ident: int | None) -> Culprit:
        stack = self._stacks.get(thread_ident or 0, LoopStack())
        return self.blame(stack) or Culprit(None, stack.own_line() or NO_TIME)

    def _look_at_holder(self, loop: threading.Thread, running: Mapping[int, float]) -> Culprit:
        """The code that held the interpreter until now: its thread still stands in the line that let it go.

        ``running`` has the times of all threads before. C code that only waits does not show in them.
        """
        culprit = self._look(busiest(running, running_s()) or loop.ident)
        return Culprit(None, IN_C) if culprit.where == NO_TIME else culprit

    def _is_blocked(self) -> bool:
        return self._last is not None and not self._last.ended

    def _begin(self, culprit: Culprit, since_s: float) -> None:
        elapsed_s = time.monotonic() - since_s
        began_at = datetime.now(UTC) - timedelta(seconds=elapsed_s)
        self._began_s = since_s
        self._last = Block(culprit.instance, culprit.where, began_at, elapsed_s, ended=False)
        self._report(self._last)

    def _end(self) -> None:
        if self._last is None or self._last.ended:
            return
        ended = replace(self._last, lasted_s=time.monotonic() - self._began_s, ended=True)
        self._last = ended
        self._report(ended)


def _queued_s(thread: threading.Thread) -> float:
    return queued_s(thread.native_id or 0)


@asynccontextmanager
async def open_loop_watchdog(
    report: Report, blame: Blame = lambda _stack: None, *, look_every_s: float = LOOK_EVERY_S
) -> AsyncIterator[LoopWatchdog]:
    """Watches this event loop during the block. Without a thread to be had, it logs that and watches nothing."""
    watchdog = LoopWatchdog(report, blame, look_every_s)
    arguments = (trio.lowlevel.current_trio_token(), threading.current_thread())
    thread = threading.Thread(target=watchdog.watch, args=arguments, name="loop watchdog", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if not is_thread_start_failure(error):
            raise
        _log.warning("the event loop is not watched: %s", NO_MORE_THREADS)
    try:
        yield watchdog
    finally:
        watchdog.stop()
