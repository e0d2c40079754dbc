"""Waiting for the first of several events."""

import trio


async def wait_for_any(*events: trio.Event, within_s: float) -> None:
    """Returns when one of the events is set, or after ``within_s`` seconds."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
        await trio.sleep(within_s)
        nursery.cancel_scope.cancel()
