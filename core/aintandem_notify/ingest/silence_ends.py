"""The word before a silence ends: told to those from whom it holds something back, once."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.domain.events import Event, SilenceEndingEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.ingest.plan import PlannedNotification
from aintandem_notify.log import redact
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import JournalChanges, Store

LOOK_AGAIN: Final = timedelta(seconds=15)
"""The pause after which a silence near its end is looked at again that held nothing: it may hold something now."""

Route = Callable[[Event, Run | None, Project | None, datetime], Sequence[PlannedNotification]]
"""The notifications about an event, as ``Router.route``."""


def next_word(silences: Iterable[Silence], now: datetime) -> datetime | None:
    """The time at which the first of the silences may have to be announced; None if none has to."""
    times = (
        max(silence.announced_from, min(now + LOOK_AGAIN, silence.expires_at))
        if silence.announced_from <= now
        else silence.announced_from
        for silence in silences
        if not silence.is_announced and silence.is_active(now)
    )
    return min(times, default=None)


def due_words(silences: Iterable[Silence], now: datetime) -> list[Silence]:
    """The silences that end soon, and of which people were not told."""
    return [
        silence
        for silence in silences
        if not silence.is_announced and silence.is_active(now) and silence.announced_from <= now
    ]


def announce_end(store: Store, silence: Silence, route: Route, now: datetime) -> set[str]:
    """Queue the word about the end of the silence if it holds something; returns the destinations that are told.

    The silence does not hold this word itself, and neither does a stage: it would come too late. In a transaction.
    """
    held = store.held.silenced_at(silence.id)
    if not held or not store.silences.mark_announced(silence.id, now):
        return set()
    event = SilenceEndingEvent(
        timestamp=now,
        silence=silence.id,
        count=sum(held.values()),
        seconds=(silence.expires_at - now).total_seconds(),
        expires_at=silence.expires_at,
        matchers={name: redact(glob) for name, glob in silence.matchers.items()},
        owner=redact(silence.owner),
        reason=redact(silence.reason),
        recipients=tuple(held),
    )
    changes = JournalChanges(events=[event])
    for routed in route(event, None, None, now):
        changes.notifications.append((routed.notification, routed.destinations))
    store.journal.write(changes, now)
    return {name for _, names in changes.notifications for name in names}
