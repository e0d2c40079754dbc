"""A measured figure and its goal, and the sizes of a measurement."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``met`` is None without a goal."""

    name: str
    measured: str
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """The amounts that are measured. Larger ones take longer and are more exact.

    - ``rounds``: repetitions, of which the median counts
    - ``events``: events in a round to a callback, and through the agent when no rule matches
    - ``looped``: events in a round to the bare loop
    - ``delivered``: events through the agent in a round when each is delivered
    - ``flooded``: seconds of the short and of the long flood
    - ``flood_rate``: events a second in each project of a flood, a multiple of 100
    - ``projects``: watched projects, for the memory of one
    - ``crowd``: projects that one agent watches, for the time until all are watched
    - ``starts``: starts of each command
    - ``trickled``: events at 100 a second, for the delay
    - ``greeted``: events with the handshake response, for the number of lost ones
    - ``ingested``: events into the store without a socket
    - ``held``: notifications that a stage holds
    - ``storm``: failures that fall into one group within seconds, a multiple of 10
    - ``queued``: deliveries that wait when an agent starts
    - ``drained``: deliveries from a queue, a multiple of 32
    - ``pairs``: pairs of runs that compare dead destinations with healthy ones
    - ``missed``: tasks that end in each project while no link is open
    - ``idle_s``: seconds over which the processor time of an idle agent is read; 60 have two heartbeats, and one
      record of progress
    """

    rounds: int
    events: int
    looped: int
    delivered: int
    flooded: tuple[int, int]
    flood_rate: int
    projects: int
    crowd: int
    starts: int
    trickled: int
    greeted: int
    ingested: int
    held: int
    storm: int
    queued: int
    drained: int
    pairs: int
    missed: int
    idle_s: float


FULL = Size(
    rounds=3,
    events=400_000,
    looped=150_000,
    delivered=60_000,
    flooded=(5, 20),
    flood_rate=10_000,
    projects=1000,
    crowd=10_000,
    starts=15,
    trickled=2000,
    greeted=200_000,
    ingested=40_000,
    held=100_000,
    storm=10_000,
    queued=100_000,
    drained=8_000,
    pairs=5,
    missed=2_000,
    idle_s=60,
)
QUICK = Size(
    rounds=1,
    events=5_000,
    looped=5_000,
    delivered=1_000,
    flooded=(1, 2),
    flood_rate=100,
    projects=20,
    crowd=50,
    starts=2,
    trickled=100,
    greeted=3_000,
    ingested=2_000,
    held=2_000,
    storm=500,
    queued=1_000,
    drained=320,
    pairs=1,
    missed=20,
    idle_s=1,
)

LogProgress = Callable[[str], None]
"""Shows the user the measurement that is running."""
