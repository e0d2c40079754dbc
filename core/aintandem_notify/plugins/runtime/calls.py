"""The one caller of hooks: ``async def`` as a trio task, ``def`` in a worker thread, each with a deadline.

Nothing that plugin code raises comes out of here; it is the answer. A task is cancelled at its deadline. A
thread cannot be, nor a task that waits for one: the caller waits on, says so, and takes the late answer, so that
nothing is sent twice while it is still being sent.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final

import trio

from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.plugins.border import Border, DeadlineExceeded
from aintandem_notify.plugins.border.tasks import StepTimer, run_contained
from aintandem_notify.plugins.discovery.registry import Hook

STUCK_AFTER_S: Final = 300.0
"""Seconds past its deadline after which a call is no longer slow but stuck, and its instance failed."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The notification is at its destination, which wants to remember ``receipt``."""

    receipt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HookFailure:
    """What came instead of an answer: an outcome that the plugin raised, or its fault, as the border made it."""

    error: Exception


@dataclass(frozen=True, slots=True)
class HookValue:
    """What a hook gave back, read and found right."""

    value: Any


DeliveryResult = Delivered | HookFailure
HookResult = HookValue | HookFailure
ResultParser = Callable[[Any], Any]
"""Checks what a hook returned and gives what to keep of it; raises for what is wrong."""


@dataclass(frozen=True, slots=True)
class HookCall:
    """One hook with its argument, ready to run."""

    hook: Hook
    run: Callable[[], Any]


class CallIncident(Enum):
    """How a call that runs is doing."""

    LATE = auto()
    STUCK = auto()
    OVER = auto()
    BLOCKED = auto()
    LEFT_OPEN = auto()


@dataclass(slots=True)
class RunningCall:
    """A call that runs, as whoever makes it and its watcher both see it. ``began`` is in trio's time."""

    hook: str
    began: float
    abandoned: bool = False


class HookRunner:
    """The calls of one kind of one instance (deliveries, live hooks), which run one after the other.

    Each lane has its own thread at the most, so that no instance takes threads from another, and a stuck
    live hook does not hold deliveries up. ``observe`` is told when a ``def`` is past its deadline, when a call
    is stuck, when a late one is over, and when an ``async def`` kept the event loop to itself
    or left a nursery open.
    """

    def __init__(
        self,
        border: Border,
        observe: Callable[[CallIncident, str, float], None],
        *,
        timeout_s: float,
        stuck_after_s: float = STUCK_AFTER_S,
    ) -> None:
        self._border = border
        self._timeout_s = timeout_s
        self._stuck_after_s = stuck_after_s
        self._observe = observe
        self._limiter = trio.CapacityLimiter(1)
        self.running: RunningCall | None = None

    async def run(
        self,
        calls: Sequence[HookCall],
        read: ResultParser,
        answers: list[HookResult],
        *,
        stop_at_failure: bool = False,
    ) -> None:
        """Make the calls, all ``async def`` or all ``def``, and append the answer of each as it comes."""
        if not calls:
            return
        run = self._run_as_task if calls[0].hook.is_async else self._run_in_thread
        await run(calls, read, answers, stop_at_failure)

    def overdue(self) -> tuple[str, float] | None:
        """The hook that is past its deadline and how long it has been running; None if none is."""
        if self.running is None:
            return None
        elapsed_s = trio.current_time() - self.running.began
        return (self.running.hook, elapsed_s) if elapsed_s >= self._timeout_s else None

    async def _run_as_task(
        self, calls: Sequence[HookCall], read: ResultParser, answers: list[HookResult], stop_at_failure: bool
    ) -> None:
        async def work() -> None:
            for call in calls:
                running.hook, running.began = call.hook.name, trio.current_time()
                blocked = partial(self._observe, CallIncident.BLOCKED, call.hook.name)
                answers.append(await run_async(call, self._border, self._timeout_s, read, blocked))
                if stop_at_failure and isinstance(answers[-1], HookFailure):
                    return

        # Cancelled at its deadline, unless it shields itself or waits for a thread of its own.
        async with self._watched(calls[0].hook, (CallIncident.STUCK,)) as running:
            await run_contained(
                work, self._border, partial(self._observe, CallIncident.LEFT_OPEN, calls[0].hook.name, 0.0)
            )

    async def _run_in_thread(
        self, calls: Sequence[HookCall], read: ResultParser, answers: list[HookResult], stop_at_failure: bool
    ) -> None:
        now = trio.lowlevel.current_clock().current_time

        def work() -> None:
            for call in calls:
                if running.abandoned:
                    return
                running.hook, running.began = call.hook.name, now()
                answers.append(run_sync(call, self._border, read))
                if stop_at_failure and isinstance(answers[-1], HookFailure):
                    return

        async with self._watched(calls[0].hook, (CallIncident.LATE, CallIncident.STUCK)) as running:
            # One hop for all of them: a hop costs more than a fast hook.
            await run_in_thread(work, abandon_on_cancel=True, limiter=self._limiter)

    @asynccontextmanager
    async def _watched(self, first: Hook, stages: Sequence[CallIncident]) -> AsyncIterator[RunningCall]:
        """Tells ``observe`` of each of the stages that the calls inside the block come to, and of their end."""
        self.running = running = RunningCall(first.name, trio.current_time())
        told = [False]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, running, stages, told)
                try:
                    yield running
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            running.abandoned = True
            self.running = None
        if told[0]:
            self._observe(CallIncident.OVER, running.hook, trio.current_time() - running.began)

    async def _watch(self, running: RunningCall, stages: Sequence[CallIncident], told: list[bool]) -> None:
        for lateness in stages:
            grace_s = self._stuck_after_s if lateness is CallIncident.STUCK else 0.0
            await _sleep_through(running, self._timeout_s + grace_s)
            told[0] = True
            self._observe(lateness, running.hook, trio.current_time() - running.began)


async def _sleep_through(running: RunningCall, after_s: float) -> None:
    """Until one call has been running for so long; each call of a batch begins anew."""
    # The thread cannot wake us for each call that begins: that costs more than to look again when due.
    while (due := running.began + after_s) > trio.current_time():  # noqa: ASYNC110
        await trio.sleep_until(due)


async def run_async(
    call: HookCall,
    border: Border,
    timeout_s: float,
    read: ResultParser,
    blocked: Callable[[float], None] = lambda _elapsed_s: None,
) -> HookResult:
    """The answer of an ``async def``, cancelled at its deadline; ``blocked`` is told when it blocks the loop."""
    try:
        with trio.move_on_after(timeout_s):
            value = await StepTimer(call.run(), blocked)
            border.nothing(call.hook.name, value, is_async=True)
            return HookValue(read(value))
    except BaseException as error:  # noqa: BLE001  # the border to plugin code; cancellations are raised on
        return HookFailure(border.fault(error))
    return HookFailure(DeadlineExceeded(f"{call.hook.name} took longer than {timeout_s:g} s"))


def run_sync(call: HookCall, border: Border, read: ResultParser) -> HookResult:
    """The answer of a ``def``, in the thread that this is called in."""
    try:
        value = call.run()
        border.nothing(call.hook.name, value, is_async=False)
        return HookValue(read(value))
    except BaseException as error:  # noqa: BLE001  # the border to plugin code
        return HookFailure(border.fault(error))


async def run_with_deadline(
    call: HookCall, border: Border, timeout_s: float, read: ResultParser, limiter: trio.CapacityLimiter
) -> HookResult:
    """The answer to a question that somebody waits for; a ``def`` is left behind at its deadline."""
    if call.hook.is_async:
        return await run_contained(partial(run_async, call, border, timeout_s, read), border)
    with trio.move_on_after(timeout_s):
        return await run_in_thread(run_sync, call, border, read, abandon_on_cancel=True, limiter=limiter)
    return HookFailure(DeadlineExceeded(f"{call.hook.name} took longer than {timeout_s:g} s"))
