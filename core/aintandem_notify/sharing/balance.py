"""Computes how many projects an agent takes or gives back, as pure functions of the agents' counts.

Agents that want the same projects share them evenly, within the limit of each agent's places. An agent takes free
projects at once up to its fair share. Projects that stay free for a while go to any agent with room. An agent
gives projects back only if another one is below its share and finds none free, or if it has more than it can
watch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

PATIENCE_ROUNDS: Final = 2
"""Consecutive rounds after which any agent may take free projects, and a giver starts to give."""
GIVE_COOLDOWN_S: Final = 300.0
"""Seconds for which an agent that took projects beyond its share gives none back."""


class ProjectTransfer(NamedTuple):
    """The number of free projects to take, and the number of projects to give back."""

    take: int = 0
    give: int = 0


@dataclass(frozen=True, slots=True)
class SharingGroup:
    """The agents that want the same projects, from the view of one of them, ``me``.

    ``wanted``: number of these projects; ``counts``: number of them that each agent has, ``me`` included;
    ``places``: number of projects that an agent can watch, for agents with a limit.
    """

    me: str
    wanted: int
    counts: Mapping[str, int]
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Number of further projects that this agent can watch; negative if it has too many."""
        return self._limit(self.me) - self.counts[self.me]

    @property
    def share(self) -> int:
        """Number of projects that this agent should have."""
        return self.shares()[self.me]

    def shares(self) -> dict[str, int]:
        """Number of projects that each agent should have. A remainder goes to those that have the most already.

        Projects that an agent has no place for are shared among the others. All agents see the same counts and
        compute the same shares. An agent does not take back projects that it gave, since it has its share then.
        """
        limits = {agent: self._limit(agent) for agent in self.counts}
        level, left_over = _fair_level(limits.values(), self.wanted)
        with_room = [agent for agent in self.counts if limits[agent] > level]
        with_one_more = set(sorted(with_room, key=lambda agent: (-self.counts[agent], agent))[:left_over])
        return {agent: min(level + (agent in with_one_more), limits[agent]) for agent in self.counts}

    def _limit(self, agent: str) -> int:
        return min(self.places.get(agent, self.wanted), self.wanted)


def _fair_level(places: Collection[int], wanted: int) -> tuple[int, int]:
    """The equal share of agents with enough places, and the number of agents that get one more."""
    sharing = len(places)
    for limit in sorted(places):
        if limit * sharing >= wanted:
            return divmod(wanted, sharing)
        wanted -= limit
        sharing -= 1
    return max(places), 0  # all agents are full, and some projects remain


def plan_transfer(group: SharingGroup, *, free: int, rounds: int) -> ProjectTransfer:
    """Computes the transfer of ``group.me`` for this round.

    ``free``: number of wanted projects without an owner; ``rounds``: consecutive rounds in which some stayed free.
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
    """Computes an agent's transfers over the rounds, and delays those that other agents may make unnecessary."""

    _rounds_free: int = 0
    _rounds_giving: int = 0
    _keep_until: float = 0.0

    @property
    def is_about_to_give(self) -> bool:
        """Whether it gives projects in the next round, if another agent is still below its share."""
        return self._rounds_giving > 0

    def unwatched(self, group: SharingGroup, free: int, transfer: ProjectTransfer) -> int:
        """Number of projects without an agent: they stayed free for several rounds, and this agent is full."""
        is_full = group.room - transfer.take <= 0
        return free - transfer.take if is_full and self._rounds_free > PATIENCE_ROUNDS else 0

    def next_transfer(self, group: SharingGroup, *, free: int, now_s: float) -> ProjectTransfer:
        """The transfer of this round; ``now_s``: seconds of a monotonic clock."""
        transfer = plan_transfer(group, free=free, rounds=self._rounds_free)
        if transfer.take > max(0, group.share - group.counts[group.me]):
            self._keep_until = now_s + GIVE_COOLDOWN_S
        self._rounds_free = self._rounds_free + 1 if free > transfer.take else 0
        if group.room < 0:
            return transfer
        # While another agent is taking the free projects, it is still below its share: give one round later.
        self._rounds_giving = self._rounds_giving + 1 if transfer.give else 0
        if self._rounds_giving < PATIENCE_ROUNDS or now_s < self._keep_until:
            return transfer._replace(give=0)
        return transfer
