"""Schedules the faults as a pure function: the same seed, duration and kinds give the same faults."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """The kinds of faults."""

    KILL = "kill"
    """SIGKILL to an agent, which is started again."""
    TERMINATE = "terminate"
    """SIGTERM to an agent, which is started again."""
    RELOAD = "reload"
    """SIGHUP to an agent."""
    CUT = "cut"
    """The connections of a project are cut, some with a reset."""
    STALL = "stall"
    """The server stops sending on the connections of a project."""
    RESTART = "restart"
    """The orchestrator refuses connections for a while."""
    EXPIRE = "expire"
    """All tokens become invalid; open connections are closed."""
    REST = "rest"
    """The orchestrator's REST answers 503."""
    REPEAT = "repeat"
    """The orchestrator sends the next events twice."""
    LATE = "late"
    """The orchestrator repeats a final event with another time; half of the times are nasty."""
    UNAVAILABLE = "unavailable"
    """The moody receiver answers 503."""
    BUSY = "busy"
    """The moody receiver answers 429 and asks for a pause."""
    SILENT = "deaf"
    """The moody receiver does not answer."""
    HANG_UP = "hang-up"
    """The moody receiver closes the connection before it accepts anything."""
    NASTY = "nasty"
    """The moody receiver sends responses that once broke an agent: invalid HTTP, other protocols, proxy pages."""
    FULL_DISK = "full-disk"
    """The disk under an agent's store is full."""
    CLOCK = "clock"
    """The agents' clock is an hour ahead or behind."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``pause_s`` is the average time between two faults of a kind; each lasts ``min_s`` to ``max_s``."""

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
class Fault:
    """Starts ``at_s`` after the run does and lasts ``duration_s``.

    ``random_value``, from 0 to 1, decides on the target and the variant.
    """

    at_s: float
    kind: Kind
    duration_s: float
    random_value: float


def schedule(
    seed: int, seconds: float, kinds: Collection[Kind] = tuple(Kind), kills: int | None = None
) -> list[Fault]:
    """All faults of a run in order. Two of the same kind never overlap, and each kind occurs at least once.

    ``kills`` is the number of kills; None uses their pace. The faults of a kind do not depend on other kinds.
    """
    faults = [fault for kind in kinds if kind is not Kind.KILL for fault in _faults_of(kind, seed, seconds)]
    if Kind.KILL in kinds:
        faults += _faults_of(Kind.KILL, seed, seconds) if kills is None else _kills(seed, seconds, kills)
    return sorted(faults, key=lambda fault: (fault.at_s, fault.kind))


def _faults_of(kind: Kind, seed: int, seconds: float) -> Iterator[Fault]:
    chance, pace = Random(f"{seed}/{kind}"), PACES[kind]
    at = chance.uniform(0, min(pace.pause_s, seconds))
    while at < seconds:
        duration = min(chance.uniform(pace.min_s, pace.max_s), seconds - at)
        yield Fault(at, kind, duration, chance.random())
        at += duration + chance.uniform(0.2, 1.8) * pace.pause_s


def _kills(seed: int, seconds: float, count: int) -> Iterator[Fault]:
    """``count`` kills, one at a random time in each of as many equal parts of the run."""
    chance, part = Random(f"{seed}/{Kind.KILL}"), seconds / count
    for number in range(count):
        yield Fault((number + chance.random()) * part, Kind.KILL, 0.0, chance.random())
