"""Suppresses duplicates: REST and the socket report the same change, so recent changes are remembered.

Nothing of this is stored: after a restart, the socket does not repeat events that were sent before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Final, NamedTuple

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import OPENING_TYPES, STATE_AFTER, TERMINAL_STATES, TERMINAL_TYPES, Run, RunRef

MAX_LATENESS_S: Final = 300.0
"""A live event may arrive at most this long after catching up has made the same event: it waited in the buffers of
a busy server, or until our store worked again."""

AttemptRef = tuple[RunRef, int]


class UntimedEnd(NamedTuple):
    """An end to which REST gives no time. The run had ended when the orchestrator's clock showed ``before``."""

    type: str
    before: datetime


@dataclass(frozen=True, slots=True)
class Synthesized:
    """The events that catching up has made for an attempt.

    ``types``: their types. ``ends``: untimed ends whose live events may still arrive, in their order.
    ``start_was_known``: the start of the attempt was known before, so an event of a start belongs to the next
    attempt.
    """

    types: frozenset[str] = frozenset()
    ends: tuple[UntimedEnd, ...] = ()
    start_was_known: bool = False

    def after(self, event: Event) -> "Synthesized":
        """The rest that is still relevant after a live event about the attempt."""
        if self.ends and self.start_was_known and event.type in OPENING_TYPES:
            return replace(self, ends=())  # no live event will report these ends; later events are new
        if not self.ends or event.type not in TERMINAL_TYPES:
            return self
        index = self._index(event)
        if index is None:
            return replace(self, start_was_known=False)  # an earlier end, after which the run began again
        return replace(self, ends=self.ends[index + 1 :])

    def is_end_repeated_by(self, event: Event) -> bool:
        """Whether a live event reports one of the untimed ends, even if others came after that end."""
        index = self._index(event)
        return index is not None and event.timestamp < self.ends[index].before

    def _index(self, event: Event) -> int | None:
        """The index of the untimed end that the event may report, or None.

        Each end happened after REST had shown the one before, so its event is not older than that response.
        """
        for index, end in enumerate(self.ends):
            if end.type == event.type and (index == 0 or event.timestamp >= self.ends[index - 1].before):
                return index
        return None


NOTHING_SYNTHESIZED: Final = Synthesized()


class Arrival(Enum):
    """How an event relates to the latest attempt of its run."""

    LIVE = auto()
    """It is news: it changes the run."""
    LATE = auto()
    """It is news of the time before the attempt's end: the run stays as it is."""
    DUPLICATE = auto()
    """It was known already, from the socket or from REST."""


def classify(run: Run | None, event: Event, made: Sequence[Synthesized]) -> Arrival:
    """The relation of an event to ``run``, the latest attempt; None if no attempt is known.

    ``made``: the events that catching up has made for this attempt, for the one before it, and so on; empty for an
    event that catching up makes itself.
    """
    if run is None:
        return Arrival.LIVE
    is_same_end = run.state in TERMINAL_STATES and STATE_AFTER.get(event.type) is run.state
    if made:
        if any(entry.is_end_repeated_by(event) for entry in made) or _is_repetition(run, event, made[0]):
            return Arrival.DUPLICATE
        if _is_late(run, event, made[0]):
            # It is none of the untimed ends, so if there are any, it happened before them.
            return Arrival.LATE if made[0].ends or not is_same_end else Arrival.DUPLICATE
    return Arrival.DUPLICATE if is_same_end else Arrival.LIVE


def _is_repetition(run: Run, event: Event, synthesized: Synthesized) -> bool:
    """Whether a live event, but no end, repeats one that catching up has made from REST."""
    if event.type in OPENING_TYPES:
        return _is_late(run, event, synthesized) or (
            run.state not in TERMINAL_STATES and not synthesized.types.isdisjoint(OPENING_TYPES)
        )
    return (
        event.type in synthesized.types
        and event.type not in TERMINAL_TYPES
        and STATE_AFTER.get(event.type) is run.state
    )


def _is_late(run: Run, event: Event, synthesized: Synthesized) -> bool:
    """Whether a live event is older than the end that catching up has made from REST."""
    if run.state not in TERMINAL_STATES:
        return False
    if synthesized.ends and event.timestamp < synthesized.ends[-1].before:
        return not (synthesized.start_was_known and event.type in OPENING_TYPES)
    is_before = run.ended_at is not None and event.timestamp < run.ended_at
    return is_before and not synthesized.types.isdisjoint(TERMINAL_TYPES)


class RecentChanges:
    """The runs that live events have changed, and the events that catching up has made.

    ``transaction_no`` counts the transactions. At most ``max_runs`` runs are remembered; a forgotten one counts as
    changed. The caller sets ``now_s`` before each transaction: seconds of a monotonic clock.
    """

    def __init__(self, max_runs: int) -> None:
        self.transaction_no: int = 0
        self.now_s: float = 0.0
        self._max_runs = max_runs
        self._changed_in: dict[RunRef, int] = {}
        """By run: the number of the transaction that changed it last."""
        self._unknown_until = 0
        """Any other run may have changed up to the transaction with this number."""
        self._synthesized: dict[AttemptRef, tuple[float, Synthesized]] = {}

    def has_changed(self, ref: RunRef, since: int) -> bool:
        """Whether a live event may have changed the run after the transaction number ``since``."""
        return self._changed_in.get(ref, self._unknown_until) > since

    @property
    def has_synthesized(self) -> bool:
        """Whether any event that catching up has made is remembered."""
        return bool(self._synthesized)

    def synthesized_for(self, attempt: AttemptRef) -> Synthesized:
        """The events made for the attempt within the last ``MAX_LATENESS_S``."""
        made_at, synthesized = self._synthesized.get(attempt, (0.0, NOTHING_SYNTHESIZED))
        return synthesized if self.now_s - made_at <= MAX_LATENESS_S else NOTHING_SYNTHESIZED

    def remember(self, changed: Iterable[RunRef], synthesized: Mapping[AttemptRef, Synthesized]) -> None:
        """Note that a transaction is on disk. ``synthesized`` replaces the earlier entries of these attempts."""
        self.transaction_no += 1
        for ref in changed:
            self._changed_in.pop(ref, None)
            self._changed_in[ref] = self.transaction_no
        while len(self._changed_in) > self._max_runs:
            self._unknown_until = self._changed_in.pop(next(iter(self._changed_in)))
        if synthesized:
            recent = {
                attempt: entry
                for attempt, entry in self._synthesized.items()
                if self.now_s - entry[0] <= MAX_LATENESS_S
            }
            self._synthesized = recent | {attempt: (self.now_s, events) for attempt, events in synthesized.items()}

    def assume_all_changed(self) -> None:
        """Note that a transaction failed. It may be on disk all the same, so any run may have changed."""
        self.transaction_no += 1
        self._unknown_until = self.transaction_no
        self._changed_in.clear()
