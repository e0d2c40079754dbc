"""How many projects an agent takes and gives back, as a function of what it sees.

Agents that want the same projects share them evenly. What is free is taken at once up to the fair share, and by
anyone when nobody wanted it for a while. Nobody gives anything back unless another agent has less than its share
and finds nothing free.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

PATIENCE: Final = 2
"""Rounds in a row after which what is free is anyone's."""


class Move(NamedTuple):
    """How many projects to take of those that are free, and how many to give back."""

    take: int = 0
    give: int = 0


def decide(me: str, counts: Mapping[str, int], *, wanted: int, free: int, rounds: int) -> Move:
    """What ``me`` does now.

    ``counts``: how many projects each agent has that wants the same ones, ``me`` included; ``wanted`` how many
    those are; ``free`` how many of them nobody has; ``rounds`` for how many rounds some have been free.
    """
    shares = _shares(counts, wanted)
    if free:
        return Move(take=free if rounds >= PATIENCE else min(free, max(0, shares[me] - counts[me])))
    missing = sum(max(0, share - counts[agent]) for agent, share in shares.items())
    for agent, share in shares.items():
        gift = min(missing, max(0, counts[agent] - share))
        if agent == me:
            return Move(give=gift)
        missing -= gift
    raise ValueError(f"{me} is not among the agents")


def _shares(counts: Mapping[str, int], wanted: int) -> Mapping[str, int]:
    """What each should have; those that have most come first, may have one more and are the first to give.

    All agents see the same and come to the same shares. Nobody takes back what it gave: it has its share.
    """
    least, left_over = divmod(wanted, len(counts))
    order = sorted(counts, key=lambda agent: (-counts[agent], agent))
    return {agent: least + (place < left_over) for place, agent in enumerate(order)}
