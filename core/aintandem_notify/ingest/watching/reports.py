"""Journals the events of watches, and routes them through the stages, inside one transaction of the store."""

from datetime import datetime

from aintandem_notify.domain.events import WATCH_END_TYPES, Event, WatchEvent
from aintandem_notify.domain.notification import Project
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
        self._may_hold = False

    def report(self, event: WatchEvent, run: Run | None, project: Project) -> None:
        """Journal the event and route it, as of its time. An event that is known already is not told again."""
        if self._store.journal.journaled_keys([event]):
            return
        routed = self._router.route(event, run, project, self._now)
        notifications = [(item.notification, item.destinations) for item in routed]
        self._changes.events.append(event)
        signals = (
            [Signal(event, run, project, 0, len(notifications))]
            if run is not None and event.type in WATCH_END_TYPES
            else []
        )
        self._changes.notifications += self._staging.admit(notifications, event.timestamp, signals)
        self.new_events.append((event, project))
        self._may_hold = True

    def is_due_before(self, moment: datetime) -> bool:
        """True if an event that was told is held, and due before ``moment``."""
        if not self._may_hold:
            return False
        self._may_hold = False
        hold_at = self._staging.read_next_due()
        return hold_at is not None and hold_at < moment

    def write(self) -> set[str]:
        """Write the events and their deliveries; returns the destinations that are told now."""
        self._store.journal.write(self._changes, self._now)
        return {name for _, names in self._changes.notifications for name in names}
