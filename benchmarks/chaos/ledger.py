"""Records due and arrived notifications, and counts lost and repeated ones. Times are seconds of one clock."""

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
"""Event types that the agents notify of: final events, which REST can report as well."""

RunEnd = tuple[str, str]
"""The id of a run that ended, and the type of its final event."""

_IDS: Final = ("taskId", "executionId", "sandboxId", "containerId")


def run_end_of(event: Mapping[str, Any]) -> RunEnd:
    """The run end that an event on the wire reports."""
    return next(str(event[name]) for name in _IDS if event.get(name)), str(event["type"])


@dataclass(frozen=True, slots=True)
class Arrival:
    """A notification that a receiver has accepted."""

    notification: str
    run_end: RunEnd
    at: float


@dataclass(frozen=True, slots=True)
class Account:
    """The deliveries of one destination.

    ``repeats`` arrived with an id that had arrived before. ``notified_twice`` are run ends that arrived under two
    ids. ``in_store`` counts those that did not arrive but stand in the store with a reason or a retry time.
    """

    destination: str
    deliveries: int
    lost: tuple[RunEnd, ...]
    in_store: int
    repeats: int
    notified_twice: tuple[RunEnd, ...]
    worst_recovery_s: float


@dataclass(slots=True)
class Ledger:
    """Due run ends and their arrivals, recorded during the run."""

    due: dict[RunEnd, float] = field(default_factory=dict)
    arrivals: defaultdict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    fault_ends: list[float] = field(default_factory=list)

    def missing(self, destination: str) -> set[RunEnd]:
        """Due run ends that have not arrived at the destination."""
        return self.due.keys() - {arrival.run_end for arrival in self.arrivals[destination]}

    def account(self, destination: str, in_store: Iterable[RunEnd] = ()) -> Account:
        """The destination's account at present. ``in_store`` are run ends that wait in the stores."""
        arrivals = self.arrivals[destination]
        missing = self.missing(destination)
        stored = missing & set(in_store)
        ids = Counter(arrival.notification for arrival in arrivals)
        by_run_end: defaultdict[RunEnd, set[str]] = defaultdict(set)
        for arrival in arrivals:
            by_run_end[arrival.run_end].add(arrival.notification)
        twice = (run_end for run_end, notifications in by_run_end.items() if len(notifications) > 1)
        return Account(
            destination=destination,
            deliveries=len(ids),
            lost=tuple(sorted(missing - stored)),
            in_store=len(stored),
            repeats=ids.total() - len(ids),
            notified_twice=tuple(sorted(twice)),
            worst_recovery_s=worst_recovery(self.due, arrivals, self.fault_ends),
        )


def worst_recovery(due: Mapping[RunEnd, float], arrivals: Sequence[Arrival], ends: Sequence[float]) -> float:
    """The longest time from the end of the last fault that could delay a delivery to its arrival.

    A fault can delay a run end that happened before the end of the fault and arrived after it. 0 without a delay.
    """
    ordered = sorted(ends)
    first: dict[RunEnd, float] = {}
    for arrival in arrivals:
        first.setdefault(arrival.run_end, arrival.at)
    worst = 0.0
    for run_end, at in first.items():
        before = bisect_right(ordered, at)
        if run_end in due and before and ordered[before - 1] > due[run_end]:
            worst = max(worst, at - ordered[before - 1])
    return worst
