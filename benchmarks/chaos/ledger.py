"""What was due, what arrived, and what that says about the promise. Times are seconds of one monotonic clock."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

TERMINAL: Final = (
    "task_completed",
    "task_failed",
    "task_cancelled",
    "workflow_execution_completed",
    "workflow_execution_failed",
    "sandbox_error",
)
"""The events that the agents are told to tell of: the ends, which REST can tell of too."""

Happening = tuple[str, str]
"""The id of what ended, and the type of the event that says so."""

_IDS: Final = ("taskId", "executionId", "sandboxId", "containerId")


def happening_of(event: Mapping[str, Any]) -> Happening:
    """What an event on the wire is about."""
    return next(str(event[name]) for name in _IDS if event.get(name)), str(event["type"])


@dataclass(frozen=True, slots=True)
class Arrival:
    """A notification that a receiver accepted."""

    notification: str
    happening: Happening
    at: float


@dataclass(frozen=True, slots=True)
class Account:
    """What one destination got. ``repeats`` came with an id that was there before; ``told_twice`` are happenings
    that came under two ids. ``kept`` did not arrive but stand in the store with a reason or a time."""

    destination: str
    deliveries: int
    lost: tuple[Happening, ...]
    kept: int
    repeats: int
    told_twice: tuple[Happening, ...]
    worst_recovery_s: float


@dataclass(slots=True)
class Ledger:
    """Written while the run lasts."""

    due: dict[Happening, float] = field(default_factory=dict)
    arrivals: defaultdict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    trouble_ends: list[float] = field(default_factory=list)

    def missing(self, destination: str) -> set[Happening]:
        """What is due and has not arrived there."""
        return self.due.keys() - {arrival.happening for arrival in self.arrivals[destination]}

    def account(self, destination: str, kept: Iterable[Happening] = ()) -> Account:
        """The destination's account at this moment."""
        arrivals = self.arrivals[destination]
        missing = self.missing(destination)
        kept_back = missing & set(kept)
        ids = Counter(arrival.notification for arrival in arrivals)
        by_happening: defaultdict[Happening, set[str]] = defaultdict(set)
        for arrival in arrivals:
            by_happening[arrival.happening].add(arrival.notification)
        twice = (one for one, notifications in by_happening.items() if len(notifications) > 1)
        return Account(
            destination=destination,
            deliveries=len(ids),
            lost=tuple(sorted(missing - kept_back)),
            kept=len(kept_back),
            repeats=ids.total() - len(ids),
            told_twice=tuple(sorted(twice)),
            worst_recovery_s=worst_recovery(self.due, arrivals, self.trouble_ends),
        )


def worst_recovery(due: Mapping[Happening, float], arrivals: Sequence[Arrival], ends: Sequence[float]) -> float:
    """The longest that a delivery was overdue once the last trouble that could hold it back was over.

    A trouble can hold back what happened before its end and arrived after it. 0 when nothing was held back.
    """
    ordered = sorted(ends)
    first: dict[Happening, float] = {}
    for arrival in arrivals:
        first.setdefault(arrival.happening, arrival.at)
    worst = 0.0
    for happening, at in first.items():
        before = bisect_right(ordered, at)
        if happening in due and before and ordered[before - 1] > due[happening]:
            worst = max(worst, at - ordered[before - 1])
    return worst
