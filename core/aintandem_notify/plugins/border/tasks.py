"""Runs plugin code in a task of its own."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from aintandem_notify.plugins.border.instance_border import Border
from aintandem_notify.plugins.border.missing_await import RUNNING_INSTANCE

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
