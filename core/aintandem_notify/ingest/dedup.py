"""What happened lately, kept in memory for catching up: REST and the socket tell of the same things twice.

Nothing here must outlive the process: the socket repeats nothing to the next one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import OPENING_TYPES, STATE_AFTER, TERMINAL_STATES, TERMINAL_TYPES, Run, RunRef

MAX_LATENESS_S: Final = 300.0
"""How long after it was caught up a live event may still arrive: what waits in the buffers of a busy server, or
until our store is well again."""

AttemptRef = tuple[RunRef, int]


class UntimedEnd(NamedTuple):
    """An end that REST gave no time for; it was there when the orchestrator's clock showed ``before``."""

    type: str
    before: datetime


@dataclass(frozen=True, slots=True)
class Synthesized:
    """What catching up has made of an attempt: the types of its events.

    ``ends``: those without a time, of which live events may still tell. ``begun``: the attempt had begun before
    our eyes; an event that begins one is of the next.
    """

    types: frozenset[str] = frozenset()
    ends: tuple[UntimedEnd, ...] = ()
    begun: bool = False

    def after(self, event: Event) -> "Synthesized":
        """What remains of it after a live event about the attempt."""
        if self.ends and self.begun and event.type in OPENING_TYPES:
            return replace(self, ends=())  # they were ends that no live event tells of; what comes now is news
        if not self.ends or event.type not in TERMINAL_TYPES:
            return self
        place = self._place(event)
        if place is None:
            return replace(self, begun=False)  # an end before them, after which there was another beginning
        return replace(self, ends=self.ends[place + 1 :])

    def is_told_by(self, event: Event) -> bool:
        """Whether a live event is about an end without a time, whatever came after it."""
        place = self._place(event)
        return place is not None and event.timestamp < self.ends[place].before

    def _place(self, event: Event) -> int | None:
        """Which of the ends it may be: each came after the orchestrator had shown the one before."""
        for place, end in enumerate(self.ends):
            if end.type == event.type and (place == 0 or event.timestamp >= self.ends[place - 1].before):
                return place
        return None


NOTHING_SYNTHESIZED: Final = Synthesized()


def is_repetition(run: Run, event: Event, made: Synthesized) -> bool:
    """Whether a live event says what catching up made of REST's answers already; ``run`` is the latest attempt.

    Ends need no asking: ``runs.advance`` knows them, whenever they come.
    """
    if event.type in OPENING_TYPES:
        return is_late(run, event, made) or (
            run.state not in TERMINAL_STATES and not made.types.isdisjoint(OPENING_TYPES)
        )
    return (
        event.type in made.types and event.type not in TERMINAL_TYPES and STATE_AFTER.get(event.type) is run.state
    )


def is_late(run: Run, event: Event, made: Synthesized) -> bool:
    """Whether a live event is older than the end that catching up made of REST's answers."""
    if run.state not in TERMINAL_STATES:
        return False
    if made.ends and event.timestamp < made.ends[-1].before:
        return not (made.begun and event.type in OPENING_TYPES)
    is_before = run.ended_at is not None and event.timestamp < run.ended_at
    return is_before and not made.types.isdisjoint(TERMINAL_TYPES)


class RecentChanges:
    """Which runs live events have moved, and what catching up has made. ``moment`` counts the transactions.

    At most ``most`` runs are kept; of one that was dropped everything is thought possible. ``passed_s`` is set by
    whoever hands transactions in: seconds of a clock that nobody sets.
    """

    def __init__(self, most: int) -> None:
        self.transaction_no = 0
        self.passed_s = 0.0
        self._most = most
        self._floor = 0
        self._moved: dict[RunRef, int] = {}
        self._made: dict[AttemptRef, tuple[float, Synthesized]] = {}

    def has_moved(self, ref: RunRef, since: int) -> bool:
        """Whether a live event may have moved the run after the transaction number ``since``."""
        return self._moved.get(ref, self._floor) > since

    @property
    def made_something(self) -> bool:
        """Whether anything was made that is still remembered."""
        return bool(self._made)

    def made_for(self, attempt: AttemptRef) -> Synthesized:
        """What was made of the attempt a short while ago."""
        at, made = self._made.get(attempt, (0.0, NOTHING_SYNTHESIZED))
        return made if self.passed_s - at <= MAX_LATENESS_S else NOTHING_SYNTHESIZED

    def remember(self, moved: Iterable[RunRef], made: Mapping[AttemptRef, Synthesized]) -> None:
        """Another transaction is on disk; ``made`` takes the place of what was made of these attempts before."""
        self.transaction_no += 1
        for ref in moved:
            self._moved.pop(ref, None)
            self._moved[ref] = self.transaction_no
        while len(self._moved) > self._most:
            self._floor = self._moved.pop(next(iter(self._moved)))
        if made:
            fresh = {one: kept for one, kept in self._made.items() if self.passed_s - kept[0] <= MAX_LATENESS_S}
            self._made = fresh | {one: (self.passed_s, what) for one, what in made.items()}

    def doubt_everything(self) -> None:
        """A transaction failed and may be on disk all the same."""
        self.transaction_no += 1
        self._floor = self.transaction_no
        self._moved.clear()
