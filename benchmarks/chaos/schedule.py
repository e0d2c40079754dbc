"""What happens when, as a function of the seed: the same seed, length and kinds give the same troubles."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """The troubles there are."""

    KILL = "kill"
    """SIGKILL to an agent, which is started again."""
    TERMINATE = "terminate"
    """SIGTERM to an agent, which is started again."""
    RELOAD = "reload"
    """SIGHUP to an agent."""
    CUT = "cut"
    """The connections of a project end, some with a reset."""
    STALL = "stall"
    """The connections of a project go quiet, both ways."""
    RESTART = "restart"
    """The orchestrator is away."""
    EXPIRE = "expire"
    """No token counts any more; open connections are closed."""
    REST = "rest"
    """The orchestrator's REST answers 503."""
    REPEAT = "repeat"
    """The orchestrator sends the next events twice."""
    LATE = "late"
    """The orchestrator sends the end of something once more, with another time; half of them are nasty ones."""
    UNAVAILABLE = "unavailable"
    """The moody receiver answers 503."""
    BUSY = "busy"
    """The moody receiver answers 429 and asks for a pause."""
    SILENT = "deaf"
    """The moody receiver answers nothing."""
    HANG_UP = "hang-up"
    """The moody receiver hangs up before it takes anything."""
    NASTY = "nasty"
    """The moody receiver answers what broke an agent once: broken HTTP, other protocols, pages of proxies."""
    FULL_DISK = "full-disk"
    """The disk under an agent's store is full."""
    CLOCK = "clock"
    """The agents' clock is an hour ahead or behind."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between the end of one and the next, on average, and how long one lasts at least and most."""

    pause_s: float
    min_s: float = 0.0
    max_s: float = 0.0


PACES: Final[Mapping[Kind, Pace]] = {
    Kind.KILL: Pace(10),
    Kind.TERMINATE: Pace(60),
    Kind.RELOAD: Pace(20),
    Kind.CUT: Pace(5),
    Kind.STALL: Pace(20, 1, 6),
    Kind.RESTART: Pace(25, 0.5, 4),
    Kind.EXPIRE: Pace(40),
    Kind.REST: Pace(20, 0.5, 3),
    Kind.REPEAT: Pace(5),
    Kind.LATE: Pace(3),
    Kind.UNAVAILABLE: Pace(60, 1, 4),
    Kind.BUSY: Pace(15, 0.5, 2),
    Kind.SILENT: Pace(60, 1, 3),
    Kind.HANG_UP: Pace(60, 1, 3),
    Kind.NASTY: Pace(30, 1, 4),
    Kind.FULL_DISK: Pace(40, 1, 5),
    Kind.CLOCK: Pace(45, 2, 8),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Starts ``at_s`` after the run does and lasts ``duration_s``.

    ``random_value``, from 0 to 1, decides on the target and the variant.
    """

    at_s: float
    kind: Kind
    duration_s: float
    random_value: float


def schedule(
    seed: int, seconds: float, kinds: Collection[Kind] = tuple(Kind), kills: int | None = None
) -> list[Trouble]:
    """All troubles of a run, in order. Two of the same kind never overlap, and each kind comes at least once.

    ``kills`` is how many kills there are; None leaves it to their pace. A kind's troubles depend on no other's.
    """
    troubles = [
        trouble for kind in kinds if kind is not Kind.KILL for trouble in _troubles_of(kind, seed, seconds)
    ]
    if Kind.KILL in kinds:
        troubles += _troubles_of(Kind.KILL, seed, seconds) if kills is None else _kills(seed, seconds, kills)
    return sorted(troubles, key=lambda trouble: (trouble.at_s, trouble.kind))


def _troubles_of(kind: Kind, seed: int, seconds: float) -> Iterator[Trouble]:
    chance, pace = Random(f"{seed}/{kind}"), PACES[kind]
    at = chance.uniform(0, min(pace.pause_s, seconds))
    while at < seconds:
        duration = min(chance.uniform(pace.min_s, pace.max_s), seconds - at)
        yield Trouble(at, kind, duration, chance.random())
        at += duration + chance.uniform(0.2, 1.8) * pace.pause_s


def _kills(seed: int, seconds: float, count: int) -> Iterator[Trouble]:
    """One at a random moment of each of ``count`` equal parts of the time."""
    chance, part = Random(f"{seed}/{Kind.KILL}"), seconds / count
    for number in range(count):
        yield Trouble((number + chance.random()) * part, Kind.KILL, 0.0, chance.random())
