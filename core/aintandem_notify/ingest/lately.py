"""What happened lately, kept in memory for catching up: REST and the socket tell of the same things twice.

Nothing here must outlive the process: the socket repeats nothing to the next one.
"""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.events import Event
from aintandem_notify.runs import OPENING_TYPES, STATE_AFTER, TERMINAL_STATES, TERMINAL_TYPES, Run, RunRef

LATE: Final = timedelta(seconds=60)
"""How long after it was caught up a live event may still arrive: what waits in the buffers of a busy server."""

Attempt = tuple[RunRef, int]
Made = Mapping[Attempt, Set[str]]
"""The types of the events that catching up has made, by attempt."""


def says_again(run: Run, event: Event, made: Set[str]) -> bool:
    """Whether a live event says what catching up made of REST's answers already; ``run`` is the latest attempt.

    Ends need no asking: ``runs.advance`` knows them, whenever they come.
    """
    if event.type in OPENING_TYPES:
        return comes_late(run, event, made) or (
            run.state not in TERMINAL_STATES and not made.isdisjoint(OPENING_TYPES)
        )
    return event.type in made and event.type not in TERMINAL_TYPES and STATE_AFTER.get(event.type) is run.state


def comes_late(run: Run, event: Event, made: Set[str]) -> bool:
    """Whether a live event is older than the end that catching up made of REST's answers."""
    is_before = run.ended_at is not None and event.timestamp < run.ended_at
    return is_before and run.state in TERMINAL_STATES and not made.isdisjoint(TERMINAL_TYPES)


class Lately:
    """Which runs live events have moved, and what catching up has made. ``moment`` counts the transactions.

    At most ``most`` runs are kept; of one that was dropped everything is thought possible.
    """

    def __init__(self, most: int) -> None:
        self.moment = 0
        self._most = most
        self._floor = 0
        self._moved: dict[RunRef, int] = {}
        self._made: dict[Attempt, tuple[datetime, frozenset[str]]] = {}

    def has_moved(self, ref: RunRef, since: int) -> bool:
        """Whether a live event may have moved the run after the transaction number ``since``."""
        return self._moved.get(ref, self._floor) > since

    @property
    def made_something(self) -> bool:
        """Whether anything was made that is still remembered."""
        return bool(self._made)

    def made_for(self, attempt: Attempt, now: datetime) -> Set[str]:
        """The types that were made for the attempt a short while ago."""
        at, types = self._made.get(attempt, (now, frozenset()))
        return types if now - at <= LATE else frozenset()

    def remember(self, moved: Iterable[RunRef], made: Made, now: datetime) -> None:
        """Another transaction is on disk."""
        self.moment += 1
        for ref in moved:
            self._moved.pop(ref, None)
            self._moved[ref] = self.moment
        while len(self._moved) > self._most:
            self._floor = self._moved.pop(next(iter(self._moved)))
        if made:
            self._made = {one: (at, types) for one, (at, types) in self._made.items() if now - at <= LATE}
            self._made |= {one: (now, frozenset(types) | self.made_for(one, now)) for one, types in made.items()}

    def doubt_everything(self) -> None:
        """A transaction failed and may be on disk all the same."""
        self.moment += 1
        self._floor = self.moment
        self._moved.clear()
