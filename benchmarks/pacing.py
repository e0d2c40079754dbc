"""Sends events at an even rate by the wall clock, as an orchestrator does whose projects do not wait for us.

Each project has a schedule of its own. If its socket takes the events later than they are due, the rest waits
here, and is sent as fast as the socket takes it.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import trio

from benchmarks.frames import ENDS, mark, mix, text_frame
from benchmarks.machine import now

TICK_S: Final = 0.01
"""Seconds between two writes to a socket."""


class Paced:
    """``rate`` events of the mix a second for one project, for so many seconds, and their mark.

    ``ends`` of them end a run.
    """

    def __init__(self, project: str, send: Callable[[bytes], Awaitable[None]], rate: int, seconds: int) -> None:
        self.seconds = seconds
        self.ends = 0
        self._events_a_piece = round(rate * TICK_S)
        self._send = send
        self._sent = 0
        events = islice(mix(project), rate * seconds)
        self._pieces = [self._piece(events, project) for _ in range(round(seconds / TICK_S))]
        self._mark = mark(project, project)

    def _piece(self, events: Iterator[dict[str, Any]], project: str) -> bytes:
        contents = [event | {"projectId": project} for event in islice(events, self._events_a_piece)]
        self.ends += sum(event["type"] in ENDS for event in contents)
        return b"".join(map(text_frame, contents))

    @property
    def behind(self) -> int:
        """The events that are not sent."""
        return (len(self._pieces) - self._sent) * self._events_a_piece

    async def send(self, began: float) -> None:
        """Send each piece when it is due, or later if the socket is not ready for it."""
        for piece in self._pieces:
            await trio.sleep_until(began + self._sent * TICK_S)
            await self._send(piece)
            self._sent += 1
        await self._send(self._mark)


async def send_evenly(paced: Sequence[Paced]) -> dict[str, float]:
    """Send all. Returns when it began, and how many events were ``behind`` when the last ones were due."""
    began, monotonic = trio.current_time(), now()
    behind = 0
    async with trio.open_nursery() as nursery:
        for each in paced:
            nursery.start_soon(each.send, began)
        await trio.sleep_until(began + max(each.seconds for each in paced))
        behind = sum(each.behind for each in paced)
    return {"began": monotonic, "behind": behind}
