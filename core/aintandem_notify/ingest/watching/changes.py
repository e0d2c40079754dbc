"""The changes of runs in one transaction, as watches see them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import TERMINAL_STATES, Run, RunRef, RunState
from aintandem_notify.ingest.plan import Plan
from aintandem_notify.watches.timers import lag_of, our_time


@dataclass(frozen=True, slots=True)
class RunChange:
    """An attempt that has changed; ``before`` is the latest attempt before the transaction, None for a new run.

    ``lag_s``: how far the orchestrator's clock seems to be behind ours.
    """

    before: Run | None
    run: Run
    project: Project
    lag_s: float

    @property
    def is_of_same_attempt(self) -> bool:
        """True if ``before`` is the same attempt."""
        return self.before is not None and self.before.attempt == self.run.attempt

    @property
    def is_of_state(self) -> bool:
        """True if more has changed than steps, progress and output."""
        before, run = self.before, self.run
        return (
            before is None
            or before.attempt != run.attempt
            or before.state is not run.state
            or before.name != run.name
            or before.workflow_id != run.workflow_id
        )

    @property
    def has_begun(self) -> bool:
        """True if the attempt has just left the queue, or was first seen later than that."""
        if self.run.state is RunState.QUEUED:
            return False
        before = self.before
        return before is None or before.attempt != self.run.attempt or before.state is RunState.QUEUED

    @property
    def has_succeeded(self) -> bool:
        """True if the attempt has just succeeded."""
        if self.run.state is not RunState.COMPLETED:
            return False
        return not self.is_of_same_attempt or (
            self.before is not None and self.before.state is not RunState.COMPLETED
        )

    @property
    def may_have_timers(self) -> bool:
        """True if an attempt of the run was open before."""
        return self.before is not None and self.before.state not in TERMINAL_STATES

    def time(self, moment: datetime | None, now: datetime) -> datetime:
        """A time of the run by our clock; ``now`` for one that cannot be right."""
        return our_time(moment, self.lag_s, no_later_than=now) or now


def run_changes(
    planned: Plan, before: Mapping[RunRef, Run], projects: Mapping[str, Project], now: datetime
) -> Iterator[RunChange]:
    """The attempts that the plan changes."""
    for runs in (planned.changes.new_runs, planned.changes.updated_runs):
        for run in runs:
            ref = run.ref
            if (project := projects.get(ref.project_id)) is not None:
                is_live = ref in planned.changed_by_live_events
                yield RunChange(before.get(ref), run, project, lag_of(run.updated_at, now, is_live=is_live))
