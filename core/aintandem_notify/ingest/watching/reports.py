"""Journals the events of watches, and routes them through the stages, inside one transaction of the store."""

from collections.abc import Sequence
from datetime import datetime

from aintandem_notify.domain.events import WATCH_END_TYPES, Event, WatchEvent
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.ingest.plan import EventRouter, Signal
from aintandem_notify.ingest.staging import Staging
from aintandem_notify.store import JournalChanges, Store


class WatchReports:
    """The events of one look at some runs. Call ``write`` at the end."""

    def __init__(self, store: Store, router: EventRouter, staging: Staging, now: datetime) -> None:
        self.new_events: list[tuple[Event, Project | None]] = []
        self._store = store
        self._router = router
        self._staging = staging
        self._now = now
        self._changes = JournalChanges()
        self._pending: list[tuple[WatchEvent, Run | None, Project]] = []
        """Events of one time, which go through the stages together."""

    def report(self, event: WatchEvent, run: Run | None, project: Project) -> None:
        """Journal the event and route it, as of its time. An event that is known already is not told again."""
        if self._pending and self._pending[0][0].timestamp != event.timestamp:
            self._flush()
        self._pending.append((event, run, project))

    def is_due_before(self, moment: datetime) -> bool:
        """True if something is held or open since an event was told, and due before ``moment``."""
        if self._pending and self._pending[0][0].timestamp < moment:
            self._flush()
        hold_at = self._staging.next_due
        return hold_at is not None and hold_at < moment

    def write(self) -> set[str]:
        """Write the events and their deliveries; returns the destinations that are told now."""
        self._flush()
        self._store.journal.write(self._changes, self._now)
        return {name for _, names in self._changes.notifications for name in names}

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        known = self._store.journal.journaled_keys([event for event, _, _ in pending]) if pending else set()
        notifications: list[tuple[Notification, Sequence[str]]] = []
        signals: list[Signal] = []
        for event, run, project in pending:
            if event.key in known:
                continue
            routed = self._router.route(event, run, project, self._now)
            if run is not None and event.type in WATCH_END_TYPES:
                signals.append(Signal(event, run, project, len(notifications), len(routed)))
            notifications += [(item.notification, item.destinations) for item in routed]
            self._changes.events.append(event)
            self.new_events.append((event, project))
        if notifications or signals:
            at = pending[0][0].timestamp
            self._changes.notifications += self._staging.admit(notifications, at, signals)
