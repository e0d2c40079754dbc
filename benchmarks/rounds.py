"""One round of events to one reader, and the medians of some rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.processes import Sender

WARM_UP: Final = 5000
"""Events before the clock starts. They exclude imports, first statements, cold caches and the slow code that a
compiler replaces after some calls."""


@dataclass(frozen=True, slots=True)
class Round:
    """The wall time of one round, and the processor time of the reading process, in seconds."""

    events: int
    elapsed_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """The medians of some rounds."""

    events_per_s: float
    cpu_us: float

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> "Speed":
        """The medians of ``rounds``."""
        return cls(
            statistics.median(round_.events / round_.elapsed_s for round_ in rounds),
            statistics.median(round_.cpu_s / round_.events * 1e6 for round_ in rounds),
        )


async def send(sender: Sender, events: int, salt: str) -> float:
    """Send events. Returns the time at which the first byte was sent."""
    await sender.command("prepare", events=events, salt=salt)
    began: float = (await sender.command("send"))["began"]
    return began
