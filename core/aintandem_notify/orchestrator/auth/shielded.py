"""Work that must not be cut in two: whoever cancels it waits a moment for its end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def run_to_completion(act: Callable[[], Awaitable[T]], *, grace_s: float) -> T:
    """Run ``act``; a cancellation from outside is obeyed when it is done, or ``grace_s`` seconds later.

    Returns its result, or raises its exception as it is. Cancelled meanwhile, it raises Cancelled in place of
    either: what must not be lost is for ``act`` itself to keep.
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
                    result = await act()
                except Exception as error:  # noqa: BLE001  # raised below, outside of the nursery's group
                    failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _, others = group.split(trio.Cancelled)
        if others is not None:
            raise
        was_cancelled = True
    if was_cancelled:
        # The same cancellation once more, in no group.
        await trio.lowlevel.checkpoint_if_cancelled()
    if failure is not None:
        raise failure
    return result


async def _limit_once_cancelled(scope: trio.CancelScope, grace_s: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        scope.deadline = trio.current_time() + grace_s
