"""Runs plugin code in a task of its own, and measures how long it blocks the event loop."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import trio

from aintandem_notify.plugins.border.instance_border import Border

T = TypeVar("T")

RUNNING_INSTANCE: Final = ContextVar[str]("RUNNING_INSTANCE")
"""The plugin instance for which a task runs; also set in every task that such a task starts."""
SLOW_STEP_S: Final = 1.0
"""Seconds between two awaits of a plugin after which it is reported: nothing else runs meanwhile."""


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


class StepTimer(Awaitable[T]):
    """Awaits a coroutine; calls ``on_slow_step`` with the seconds of each step of ``SLOW_STEP_S`` or longer."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        on_slow_step: Callable[[float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._coroutine = coroutine
        self._on_slow_step = on_slow_step
        self._clock = clock

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            started_at = self._clock()
            try:
                trap = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                if (elapsed_s := self._clock() - started_at) >= SLOW_STEP_S:
                    self._on_slow_step(elapsed_s)
            try:
                value = yield trap
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # for the coroutine
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, value)
