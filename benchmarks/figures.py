"""A measured figure and what was hoped for."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``met`` is None where there is no goal."""

    name: str
    measured: str
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. More takes longer and says the same more exactly.

    ``events`` go through the agent in a round when no rule matches, ``delivered`` when each is delivered;
    each is done ``rounds`` times and the median counts. ``projects`` are watched to see what one costs in
    memory. ``starts`` times each command is started. ``trickled`` events are sent to measure the delay, at
    100 a second. ``greeted`` events come with the answer to a handshake, to see how many are lost.
    ``ingested`` events go into the store without a socket, ``queued`` deliveries wait when an agent starts,
    ``drained`` (a multiple of 32) are delivered from a queue, and a dead destination is compared with a healthy
    one in so many ``pairs`` of runs. ``missed`` tasks end in each project while no link is open.
    """

    rounds: int
    events: int
    delivered: int
    projects: int
    starts: int
    trickled: int
    greeted: int
    ingested: int
    queued: int
    drained: int
    pairs: int
    missed: int


FULL = Size(
    rounds=3,
    events=150_000,
    delivered=30_000,
    projects=1000,
    starts=15,
    trickled=2000,
    greeted=200_000,
    ingested=40_000,
    queued=100_000,
    drained=8_000,
    pairs=5,
    missed=2_000,
)
QUICK = Size(
    rounds=1,
    events=5_000,
    delivered=1_000,
    projects=20,
    starts=2,
    trickled=100,
    greeted=3_000,
    ingested=2_000,
    queued=1_000,
    drained=320,
    pairs=1,
    missed=20,
)

LogProgress = Callable[[str], None]
"""Told what is being measured, for whoever waits."""
