"""Calls all hooks: ``async def`` as a trio task, ``def`` in a worker thread, each with a deadline.

An exception of plugin code is never raised here, but returned as an ``Error``. A task is cancelled at its
deadline. A thread cannot be cancelled, nor a task that waits for one: the caller reports it, keeps waiting and
takes the late result, so that no notification is sent twice while its first call still runs.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Never, TypeVar

import trio
from outcome import Error, Value

from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import PluginError, PluginNotReady, RetryLater
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.plugins.border import Border, DeadlineExceeded
from aintandem_notify.plugins.border.missing_await import RUNNING_INSTANCE, WatchedSteps
from aintandem_notify.plugins.discovery.registry import Hook

STUCK_AFTER_S: Final = 300.0
"""Seconds past its deadline after which a call counts as stuck, and its instance as failed."""


HookResult = Value[Any] | Error
"""The checked return value of a hook, or the exception of ours into which the border translated the plugin's."""
DeliveryResult = Value[dict[str, Any] | None] | Error
"""The receipt, which is stored for the destination's next notification about the same run, or the failure."""
ResultParser = Callable[[Any], Any]
"""Checks a hook's return value and returns a copy; raises for an invalid one."""


@dataclass(frozen=True, slots=True)
class HookCall:
    """A hook with its arguments; ``run`` makes the call."""

    hook: Hook
    run: Callable[[], Any]


class CallIncident(Enum):
    """An event in a running call that is logged."""

    OVERDUE = auto()
    """A ``def`` is past its deadline."""
    STUCK = auto()
    """The call is ``stuck_after_s`` past its deadline."""
    ENDED = auto()
    """An overdue or stuck call has returned."""
    NURSERY_LEFT_OPEN = auto()
    """An ``async def`` returned without closing its nursery."""


@dataclass(eq=False, slots=True)
class RunningCall:
    """The state of a running call, shared by its caller and ``watch``. ``started_at`` is in trio's time.

    ``stages``: the incidents that are reported when their time comes, in order. Each call of a batch starts a new
    count.
    """

    hook: str
    started_at: float
    stages: list[CallIncident]
    abandoned: bool = False
    reported: bool = False
    stuck: bool = False


class HookRunner:
    """Runs the calls of one kind (deliveries, live hooks) of one instance; ``parallel`` of them may run at a time.

    Each runner uses as many threads at most, so that no instance takes threads from another, and a stuck live hook
    does not delay deliveries. ``on_incident`` is called with each incident, the hook's name and the seconds it has
    run (0 for ``NURSERY_LEFT_OPEN``). ``watch`` has to run for those about time.
    """

    def __init__(
        self,
        border: Border,
        on_incident: Callable[[CallIncident, str, float], None],
        *,
        timeout_s: float,
        stuck_after_s: float = STUCK_AFTER_S,
        parallel: int = 1,
    ) -> None:
        self._border = border
        self._timeout_s = timeout_s
        self._stuck_after_s = stuck_after_s
        self._on_incident = on_incident
        self._limiter = trio.CapacityLimiter(parallel)
        self._running: set[RunningCall] = set()
        self._next_look_s = math.inf
        self._is_due_earlier = trio.Event()
        self._is_idle = trio.Event()

    @property
    def is_running(self) -> bool:
        """True if a call runs."""
        return bool(self._running)

    @property
    def is_stuck(self) -> bool:
        """True if a call runs that was reported as stuck."""
        return any(call.stuck for call in self._running)

    async def run(
        self,
        calls: Sequence[HookCall],
        parse: ResultParser,
        results: list[HookResult],
        *,
        stop_at_failure: bool = False,
    ) -> None:
        """Make the calls, all ``async def`` or all ``def``, and append each result as soon as it is known."""
        if not calls:
            return
        is_async = calls[0].hook.is_async
        # No OVERDUE for a task: it is cancelled at its deadline, unless it is shielded or waits for a thread.
        stages = [CallIncident.STUCK] if is_async else [CallIncident.OVERDUE, CallIncident.STUCK]
        running_call = RunningCall(calls[0].hook.name, trio.current_time(), stages)
        self._running.add(running_call)
        if self._due_at(running_call) < self._next_look_s:
            self._is_due_earlier.set()
        run = self._run_as_task if is_async else self._run_in_thread
        try:
            await run(running_call, calls, parse, results, stop_at_failure)
        finally:
            running_call.abandoned = True
            self._running.remove(running_call)
            if not self._running:
                self._is_idle.set()
        if running_call.reported:
            self._on_incident(CallIncident.ENDED, running_call.hook, trio.current_time() - running_call.started_at)

    async def watch(self) -> Never:
        """Reports the calls whose time is over, until cancelled: one task for all, as one each takes long."""
        while True:
            self._next_look_s = min(map(self._due_at, self._running), default=math.inf)
            self._is_due_earlier = trio.Event()
            with trio.move_on_at(self._next_look_s):
                await self._is_due_earlier.wait()
            for running_call in tuple(self._running):
                if self._due_at(running_call) <= trio.current_time():
                    self._report(running_call, running_call.stages.pop(0))

    async def wait_idle(self) -> None:
        """Returns once no call runs."""
        while self._running:
            self._is_idle = trio.Event()
            await self._is_idle.wait()

    def _due_at(self, running_call: RunningCall) -> float:
        """The time of the call's next incident, by trio's clock."""
        if not running_call.stages:
            return math.inf
        grace_s = self._stuck_after_s if running_call.stages[0] is CallIncident.STUCK else 0.0
        return running_call.started_at + self._timeout_s + grace_s

    def _report(self, running_call: RunningCall, incident: CallIncident) -> None:
        running_call.reported, running_call.stuck = True, incident is CallIncident.STUCK
        self._on_incident(incident, running_call.hook, trio.current_time() - running_call.started_at)

    def overdue(self) -> tuple[str, float] | None:
        """The hook that is longest past its deadline and the seconds since its start; None if none is."""
        oldest = min(self._running, key=lambda call: call.started_at, default=None)
        if oldest is None:
            return None
        elapsed_s = trio.current_time() - oldest.started_at
        return (oldest.hook, elapsed_s) if elapsed_s >= self._timeout_s else None

    async def _run_as_task(
        self,
        running_call: RunningCall,
        calls: Sequence[HookCall],
        parse: ResultParser,
        results: list[HookResult],
        stop_at_failure: bool,
    ) -> None:
        async def work() -> None:
            for call in calls:
                running_call.hook, running_call.started_at = call.hook.name, trio.current_time()
                results.append(await run_async(call, self._border, self._timeout_s, parse))
                if stop_at_failure and isinstance(results[-1], Error):
                    return

        await run_contained(
            work,
            self._border,
            partial(self._on_incident, CallIncident.NURSERY_LEFT_OPEN, calls[0].hook.name, 0.0),
        )

    async def _run_in_thread(
        self,
        running_call: RunningCall,
        calls: Sequence[HookCall],
        parse: ResultParser,
        results: list[HookResult],
        stop_at_failure: bool,
    ) -> None:
        now = trio.lowlevel.current_clock().current_time

        def work() -> None:
            for call in calls:
                if running_call.abandoned:
                    return
                running_call.hook, running_call.started_at = call.hook.name, now()
                results.append(run_sync(call, self._border, parse))
                if stop_at_failure and isinstance(results[-1], Error):
                    return

        # One thread for the whole batch: a switch of threads takes longer than a fast hook.
        await run_in_thread(work, abandon_on_cancel=True, limiter=self._limiter)


async def run_async(call: HookCall, border: Border, timeout_s: float, parse: ResultParser) -> HookResult:
    """Run an ``async def`` and cancel it at its deadline."""
    hook, watched, waited_in = call.hook.name, border.watch(), ""
    try:
        with trio.move_on_after(timeout_s):
            try:
                value = await WatchedSteps(call.run(), watched)
            except trio.Cancelled as cancelled:
                waited_in = border.line_of(cancelled)
                raise
            border.require_awaited(hook, value, watched, is_async=True)
            return Value(parse(value))
    except BaseException as error:  # noqa: BLE001  # the border to plugin code; cancellations are raised on
        return Error(border.translate_error(error, hook))
    return Error(DeadlineExceeded(f"{hook} took longer than {timeout_s:g} s{waited_in}"))


def run_sync(call: HookCall, border: Border, parse: ResultParser) -> HookResult:
    """Run a ``def`` in the calling thread."""
    watched = border.watch()
    try:
        value = watched.run(call.run)
        border.require_awaited(call.hook.name, value, watched, is_async=False)
        return Value(parse(value))
    except BaseException as error:  # noqa: BLE001  # the border to plugin code
        return Error(border.translate_error(error, call.hook.name))


async def run_with_deadline(
    call: HookCall, border: Border, timeout_s: float, parse: ResultParser, limiter: trio.CapacityLimiter
) -> HookResult:
    """Make one call and return by its deadline; a ``def`` is then abandoned in its thread."""
    if call.hook.is_async:
        return await run_contained(partial(run_async, call, border, timeout_s, parse), border)
    with trio.move_on_after(timeout_s):
        return await run_in_thread(run_sync, call, border, parse, abandon_on_cancel=True, limiter=limiter)
    return Error(DeadlineExceeded(f"{call.hook.name} took longer than {timeout_s:g} s"))


INTERRUPTED: Final = "the plugin is being set up again"
"""The reason for a delivery that was cancelled because the lifespan ends."""


class DeliveryCalls:
    """The calls of ``deliver`` of one instance; none runs as a task during the tear-down of its lifespan.

    ``hook`` is set while the lifespan runs, if the plugin delivers.
    """

    def __init__(self, name: str, border: Border, runner: HookRunner) -> None:
        self.hook: Hook | None = None
        self._name = name
        self._border = border
        self._runner = runner
        self._running: dict[trio.CancelScope, bool] = {}
        self._call_ended = trio.Event()

    async def deliver(self, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Deliver in order, up to the first failure; returns one result for each attempt.

        Waits for a ``deliver`` in a thread that exceeds its deadline; a cancellation abandons it. At most
        ``parallel`` calls may run at a time. Raises PluginError for an instance without ``deliver``.
        """
        if (hook := self.hook) is None:
            raise PluginError(self._name, "it is no destination")
        calls = [HookCall(hook, hook.bind(notification=notification)) for notification in notifications]
        results: list[HookResult] = []
        with trio.CancelScope() as scope:
            self._running[scope] = hook.is_async
            try:
                await self._runner.run(calls, self._border.receipt, results, stop_at_failure=True)
            finally:
                del self._running[scope]
                self._call_ended.set()
        if scope.cancelled_caught:
            results.append(Error(RetryLater(INTERRUPTED)))
        return list(map(_without_set_up_errors, results))

    async def finish(self, deadline: float) -> None:
        """Wait for running calls until ``deadline`` (trio's time), then cancel those that are tasks.

        A call in a thread cannot be cancelled: it continues, and so does the wait for its result.
        """
        with trio.move_on_at(deadline):
            while self._running:
                self._call_ended = trio.Event()
                await self._call_ended.wait()
        for scope, is_async in self._running.items():
            if is_async:
                scope.cancel()


def _without_set_up_errors(result: HookResult) -> DeliveryResult:
    """Turns PluginNotReady into RetryLater: it is meant for a lifespan."""
    if isinstance(result, Error) and isinstance(result.error, PluginNotReady):
        return Error(RetryLater(result.error.reason))
    return result


T = TypeVar("T")


async def run_contained(
    work: Callable[[], Awaitable[T]], border: Border, on_nursery_left_open: Callable[[], None] = lambda: None
) -> T:
    """Run ``work`` in a task of its own and return its result.

    Cancel scopes and nurseries that it leaves open belong to that task and end with it; in our task they would
    break every scope and nursery around the call. If a nursery was left open, ``on_nursery_left_open`` is called
    and the result counts all the same. Exceptions of ``work`` are raised in a group, as by any nursery.
    """
    results: list[T] = []

    async def run() -> None:
        RUNNING_INSTANCE.set(border.plugin)
        results.append(await work())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    except BaseException as error:  # trio's, for a task that ended with a nursery open, or one of ``work``
        if not results:
            raise
        border.translate_error(error)  # raises a cancellation of ours
        on_nursery_left_open()
    return results[0]
