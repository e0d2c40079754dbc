"""Runs work that a cancellation must not interrupt in the middle: the cancellation waits a moment for its end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def run_to_completion(work: Callable[[], Awaitable[T]], *, grace_s: float) -> T:
    """Run ``work``. A cancellation from outside takes effect at its end, at most ``grace_s`` seconds later.

    Returns its result, or raises its exception as it is. If cancelled meanwhile, it raises Cancelled instead: so
    ``work`` itself must save a result that may not be lost.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    failure: Exception | None = None
    was_cancelled = False
    scope = trio.CancelScope(shield=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_limit_once_cancelled, scope, grace_s)
            with scope:
                try:
                    result = await work()
                except Exception as error:  # noqa: BLE001  # raised again below, outside of the nursery's group
                    failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _, other_errors = group.split(trio.Cancelled)
        if other_errors is not None:
            raise
        was_cancelled = True
    if was_cancelled:
        # Raises the same cancellation again, without a group around it.
        await trio.lowlevel.checkpoint_if_cancelled()
    if failure is not None:
        raise failure
    return result


async def _limit_once_cancelled(scope: trio.CancelScope, grace_s: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        scope.deadline = trio.current_time() + grace_s
