"""Code of a plugin as a task of its own, and how long it keeps the event loop to itself."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final, TypeVar

import trio

from aintandem_notify.plugins.border.instance_border import Border

T = TypeVar("T")

SLOW_STEP_S: Final = 1.0
"""Seconds that a plugin may take from one await to the next before that is said: nothing else runs meanwhile."""


async def run_contained(
    work: Callable[[], Awaitable[T]], border: Border, left_open: Callable[[], None] = lambda: None
) -> T:
    """What ``work`` returns, run in a task of its own.

    Cancel scopes and nurseries that it leaves open are that task's and end with it; in ours they would be in the
    way of every scope and nursery around. ``left_open`` is told of a nursery, which is no reason not to take the
    result. What ``work`` raises comes out in a group, as of any nursery.
    """
    results: list[T] = []

    async def run() -> None:
        results.append(await work())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    except BaseException as error:  # trio's, of the task that ended with a nursery open, or the work's own
        if not results:
            raise
        border.fault(error)  # raises a cancellation of ours
        left_open()
    return results[0]


class StepTimer(Awaitable[T]):
    """Awaits the coroutine; ``blocked`` is told of each step that took ``SLOW_STEP_S`` or longer, in seconds."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        blocked: Callable[[float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._coroutine = coroutine
        self._blocked = blocked
        self._clock = clock

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            began = self._clock()
            try:
                waits_for = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                if (elapsed_s := self._clock() - began) >= SLOW_STEP_S:
                    self._blocked(elapsed_s)
            try:
                value = yield waits_for
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # it is the coroutine's
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, value)
