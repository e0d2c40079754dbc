"""The input and the result of reconciliation: observations of runs over REST, and the gap that they fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from aintandem_notify.domain.runs import RunRef, RunState


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of one run in one REST response.

    Times are the orchestrator's, aware UTC, None where it gives none. ``duration`` and ``output`` are as it sent
    them. ``confirmed``: requested once more, after a first observation was doubtful. ``asked_at``: a time that the
    orchestrator's clock had certainly reached when the request was sent. None if nothing is known of that clock.
    """

    ref: RunRef
    state: RunState
    name: str = ""
    workflow_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    output: Any = None
    duration: float | None = None
    confirmed: bool = False
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """The time in which a project had no link. Before ``since`` no event is missing; at ``until`` a link opened.

    ``watched_since``: runs that ended earlier are never reported. ``catch_up_max``: runs that ended more seconds
    ago than this are only counted.
    """

    since: datetime
    until: datetime
    watched_since: datetime
    catch_up_max: float

    @property
    def is_real(self) -> bool:
        """False at the very first connection: the project was not watched before."""
        return self.since < self.until

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, (self.until - self.since).total_seconds())


class OpenRun(NamedTuple):
    """A run that has not ended as far as we know, and its state. Thousands of them may be in memory."""

    ref: RunRef
    state: RunState


@dataclass(frozen=True, slots=True)
class WatchState:
    """The stored state of a project when catching up begins.

    ``seen_until`` is the time before which no event is missing; ``watched_since`` is the time of the first
    connection. Both are None if the project was never connected. ``open_runs`` are the runs that changed last;
    ``open_runs_truncated``: there are more.
    """

    seen_until: datetime | None
    watched_since: datetime | None
    open_runs: tuple[OpenRun, ...] = ()
    open_runs_truncated: bool = False


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """Observations to reconcile, requested after the store's transaction number ``transaction_no``.

    ``buffered_since`` has the runs with live events that have arrived and are not stored yet, each with the time
    of its first event.
    """

    observations: tuple[Observation, ...]
    gap: Gap
    transaction_no: int
    buffered_since: Mapping[RunRef, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class ReconcileResult:
    """Counts the runs that changed, ended too long ago or are gone; ``doubtful`` are those to observe again."""

    changed: int = 0
    too_old: int = 0
    gone: int = 0
    doubtful: list[RunRef] = field(default_factory=list)

    def add(self, other: "ReconcileResult") -> None:
        """Add the counts of another result to this one."""
        self.changed += other.changed
        self.too_old += other.too_old
        self.gone += other.gone
        self.doubtful += other.doubtful
