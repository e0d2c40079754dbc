"""How much fits one transaction, so that others get their turn soon. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.observation import ObservationBatch
from aintandem_notify.ingest.plan import EventRouter, is_unrouted_progress

MAX_EVENTS: Final = 1000
"""Events in one transaction: keeps it under a tenth of a second or so, and then workers get their turn."""

MAX_JOURNALED: Final = 250
"""Those of them that are journaled and leave their notifications in the store's memory, for one destination. About
what the fastest destinations take in one turn: were it much more, their backlog would outgrow that memory while
all is well."""

MAX_TEXT_LENGTH: Final = 2**18
"""Characters of what is journaled in one transaction, about: to take secrets out of them may take half a second,
if they hold little else, and meanwhile what happened in other projects waits."""


def next_journal_limit(kept: int, in_memory: int) -> int:
    """How many events the next transaction may journal, after one of ``kept`` that left ``in_memory``.

    Where nobody fetches from memory, for no rule matches or the destinations are far behind, a larger one costs
    less for each event: the pages that many of them change are written once.
    """
    return min(MAX_EVENTS, max(MAX_JOURNALED, MAX_JOURNALED * kept // max(1, in_memory)))


def split_events(
    events: Sequence[Event], router: EventRouter, room: Callable[[], int]
) -> Iterator[tuple[Sequence[Event], int, int]]:
    """The events in pieces that fit a transaction, each with how many of it will be journaled, and their text.

    ``room`` says how many may be, when a piece is asked for.
    """
    start = kept = text = 0
    most = room()
    for index, event in enumerate(events):
        if kept >= most or index - start == MAX_EVENTS or text >= MAX_TEXT_LENGTH:
            yield events[start:index], kept, text
            start, kept, text, most = index, 0, 0, room()
        if not is_unrouted_progress(event, router):
            kept, text = kept + 1, text + len(event.wire_json)
    if start < len(events):
        yield events[start:], kept, text


def split_observations(look: ObservationBatch) -> Iterator[tuple[ObservationBatch, int]]:
    """The look in pieces that fit a transaction, each with the text in it."""
    start = text = 0
    for index, seen in enumerate(look.observations):
        if index - start == MAX_EVENTS or text >= MAX_TEXT_LENGTH:
            yield replace(look, observations=look.observations[start:index]), text
            start, text = index, 0
        text += sum(len(one) for one in (seen.name, seen.error, seen.output) if isinstance(one, str))
    if start < len(look.observations):
        yield replace(look, observations=look.observations[start:]), text
