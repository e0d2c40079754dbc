"""The decisions of ingest over several transactions, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.observation import ReconcileResult
from aintandem_notify.domain.runs import Run, RunRef
from aintandem_notify.ingest.dedup import RecentChanges
from aintandem_notify.ingest.plan import Submission, plan
from support.outbox import PROJECT, router


@dataclass
class PlannedStore:
    """A store with one project in memory; ``notified`` has the events with notifications."""

    runs: dict[RunRef, Run] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    recent: RecentChanges = field(default_factory=lambda: RecentChanges(100))
    notified: list[Event] = field(default_factory=list)

    def take(self, now: datetime, submission: Submission) -> ReconcileResult:
        """Run one transaction."""
        done = plan(
            [submission],
            router=router(),
            runs=self.runs,
            known=self.keys & {event.key for event in submission.events},
            projects={"p"},
            now=now,
            recent=self.recent,
            is_known=self.keys.__contains__,
        )
        self.runs |= done.runs
        self.keys |= {event.key for event in done.changes.events}
        self.recent.remember(done.changed_by_live_events, done.synthesized)
        self.notified += [sent.event for sent, _ in done.changes.notifications]
        return done.results.get("p", ReconcileResult())

    def live(self, now: datetime, events: Sequence[Event]) -> None:
        """Store live events in one transaction."""
        self.take(now, Submission(PROJECT, events))
