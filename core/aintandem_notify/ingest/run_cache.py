"""The recently used runs of the store, so that most events read none from the database."""

from collections.abc import Set
from dataclasses import dataclass, field

from aintandem_notify.domain.runs import Run, RunRef
from aintandem_notify.ingest.plan import Plan


@dataclass(slots=True)
class RunCache:
    """The recently used runs of the store. It is always current, because a project has one owner at a time."""

    max_runs: int
    runs: dict[RunRef, Run] = field(default_factory=dict)

    def remember(self, planned: Plan) -> None:
        """Add the runs of a committed plan. The runs that changed longest ago are dropped."""
        for ref, run in planned.runs.items():
            self.runs.pop(ref, None)
            self.runs[ref] = run
        while len(self.runs) > self.max_runs:
            del self.runs[next(iter(self.runs))]

    def forget(self, project_ids: Set[str]) -> None:
        """Drop the runs of these projects."""
        self.runs = {ref: run for ref, run in self.runs.items() if ref.project_id not in project_ids}
