"""How many projects an agent takes and gives back, as a function of what it sees.

Agents that want the same projects share them evenly, as far as each has places. What is free is taken at once up
to the fair share, and by anyone with room when nobody wanted it for a while. Nobody gives anything back unless
another agent has less than its share and finds nothing free, or it has more than it can watch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

PATIENCE_ROUNDS: Final = 2
"""Rounds in a row after which what is free is anyone's."""
GIVE_COOLDOWN_S: Final = 300.0
"""What was given back and nobody took is kept for so long, before any is given back again."""


class ProjectTransfer(NamedTuple):
    """How many projects to take of those that are free, and how many to give back."""

    take: int = 0
    give: int = 0


@dataclass(frozen=True, slots=True)
class SharingGroup:
    """The agents that want the same projects, as one of them, ``me``, sees them.

    ``wanted``: how many projects those are; ``counts``: how many of them each agent has, ``me`` included;
    ``places``: how many an agent can watch, where it has a limit.
    """

    me: str
    wanted: int
    counts: Mapping[str, int]
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How many more this agent can watch; below zero where it has too many."""
        return self._limit(self.me) - self.counts[self.me]

    @property
    def share(self) -> int:
        """What this agent should have."""
        return self.shares()[self.me]

    def shares(self) -> dict[str, int]:
        """What each should have; those that have most come first, may have one more and are the first to give.

        What an agent has no place for is shared among the others. All agents see the same and come to the same
        shares. Nobody takes back what it gave: it has its share.
        """
        limits = {agent: self._limit(agent) for agent in self.counts}
        level, left_over = _fair_level(limits.values(), self.wanted)
        with_room = [agent for agent in self.counts if limits[agent] > level]
        with_one_more = set(sorted(with_room, key=lambda agent: (-self.counts[agent], agent))[:left_over])
        return {agent: min(level + (agent in with_one_more), limits[agent]) for agent in self.counts}

    def _limit(self, agent: str) -> int:
        return min(self.places.get(agent, self.wanted), self.wanted)


def _fair_level(places: Collection[int], wanted: int) -> tuple[int, int]:
    """What each has that has so many places, and how many of those with more places have one more."""
    sharing = len(places)
    for limit in sorted(places):
        if limit * sharing >= wanted:
            return divmod(wanted, sharing)
        wanted -= limit
        sharing -= 1
    return max(places), 0  # all are full, and some projects are left


def plan_transfer(group: SharingGroup, *, free: int, rounds: int) -> ProjectTransfer:
    """What ``group.me`` does now.

    ``free``: how many of the wanted projects nobody has; ``rounds``: for how many rounds some were left free.
    """
    if group.room < 0:
        return ProjectTransfer(give=-group.room)
    shares, counts = group.shares(), group.counts
    if free:
        fair = max(0, shares[group.me] - counts[group.me])
        return ProjectTransfer(take=min(free, group.room if rounds >= PATIENCE_ROUNDS else fair))
    missing = sum(max(0, share - counts[agent]) for agent, share in shares.items())
    for agent in sorted(shares, key=lambda agent: (-counts[agent], agent)):
        gift = min(missing, max(0, counts[agent] - shares[agent]))
        if agent == group.me:
            return ProjectTransfer(give=gift)
        missing -= gift
    raise ValueError(f"{group.me} is not among the agents")


@dataclass(slots=True)
class Rebalancer:
    """What an agent does round after round, with patience for what the others are just about to do."""

    _rounds_free: int = 0
    _rounds_giving: int = 0
    _keep_until: float = 0.0

    @property
    def is_about_to_give(self) -> bool:
        """Whether it gives in the next round what is still missed then."""
        return self._rounds_giving > 0

    def unwatched(self, group: SharingGroup, free: int, transfer: ProjectTransfer) -> int:
        """How many of the free projects stay so: nobody took them for a while, and this agent is full."""
        is_full = group.room - transfer.take <= 0
        return free - transfer.take if is_full and self._rounds_free > PATIENCE_ROUNDS else 0

    def next_transfer(self, group: SharingGroup, *, free: int, now_s: float) -> ProjectTransfer:
        """The move of this round; ``now_s`` is in seconds, of a clock that nobody sets."""
        transfer = plan_transfer(group, free=free, rounds=self._rounds_free)
        if transfer.take > max(0, group.share - group.counts[group.me]):
            self._keep_until = now_s + GIVE_COOLDOWN_S
        self._rounds_free = self._rounds_free + 1 if free > transfer.take else 0
        if group.room < 0:
            return transfer
        # What another agent is just taking looks like nothing free: give what is still missed a round later.
        self._rounds_giving = self._rounds_giving + 1 if transfer.give else 0
        if self._rounds_giving < PATIENCE_ROUNDS or now_s < self._keep_until:
            return transfer._replace(give=0)
        return transfer
