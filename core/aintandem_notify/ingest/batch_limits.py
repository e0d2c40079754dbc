"""Limits and splits batches, so that transactions are short and the store is free for others in between. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.observation import ObservationBatch
from aintandem_notify.ingest.plan import EventRouter, unrouted_progress

MAX_EVENTS: Final = 4000
"""Events in one transaction, nearly all of which only change their run. Such a transaction costs hardly more than
one of a quarter of them, since it waits for the disk once."""

MOST_JOURNALED: Final = 1000
"""Journaled events or observations in one transaction. It takes about a tenth of a second; then the workers may
use the store."""

MAX_JOURNALED: Final = 250
"""Journaled events in one transaction, if each adds a notification for one destination to the store's cache.
The fastest destinations take about as many at a time. Many more would fill the cache although nothing is wrong."""

MAX_TEXT_CHARACTERS: Final = 2**18
"""Characters of text in one transaction, about. Redacting them may take half a second at worst; meanwhile the
events of other projects wait."""


def next_journal_limit(journaled: int, cached: int) -> int:
    """The number of events that the next transaction may journal.

    The last one journaled ``journaled`` events and left ``cached`` notifications in the cache. Few are cached if
    no rule matches or the destinations are far behind. Then a larger transaction costs less for each event: the
    database writes each changed page once.
    """
    return min(MOST_JOURNALED, max(MAX_JOURNALED, MAX_JOURNALED * journaled // max(1, cached)))


def split_events(
    events: Sequence[Event], router: EventRouter, journal_limit: Callable[[], int]
) -> Iterator[tuple[Sequence[Event], int, int]]:
    """Splits the events into pieces that fit a transaction.

    Yields each piece with the number of its events to be journaled, and the number of their characters.
    ``journal_limit`` is called for each piece; it returns the number of events that may be journaled.
    """
    start = journaled = text = 0
    limit, unrouted = journal_limit(), unrouted_progress(router)
    for index, event in enumerate(events):
        if journaled >= limit or index - start == MAX_EVENTS or text >= MAX_TEXT_CHARACTERS:
            yield events[start:index], journaled, text
            start, journaled, text, limit = index, 0, 0, journal_limit()
        if event.type not in unrouted:
            journaled, text = journaled + 1, text + len(event.wire_json)
    if start < len(events):
        yield events[start:], journaled, text


def split_observations(batch: ObservationBatch) -> Iterator[tuple[ObservationBatch, int]]:
    """Splits the observations into pieces that fit a transaction. Yields each with its number of characters."""
    start = text = 0
    for index, observation in enumerate(batch.observations):
        if index - start == MOST_JOURNALED or text >= MAX_TEXT_CHARACTERS:
            yield replace(batch, observations=batch.observations[start:index]), text
            start, text = index, 0
        text += sum(
            len(value)
            for value in (observation.name, observation.error, observation.output)
            if isinstance(value, str)
        )
    if start < len(batch.observations):
        yield replace(batch, observations=batch.observations[start:]), text
