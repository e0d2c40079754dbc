"""What is known about runs from elsewhere than the socket: single observations, and the gap they are to fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from aintandem_notify.domain.runs import RunRef, RunState


@dataclass(frozen=True, slots=True)
class Observation:
    """What REST says about one run, at one moment.

    Times are the orchestrator's, aware UTC, None where it gives none. ``duration`` and ``output`` are as it
    sent them. ``confirmed``: asked for once more, after a comparison had found it doubtful. ``asked_at``: what the
    orchestrator's clock had reached, at least, before it was asked; None when nothing is known of that clock.
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
    """The time in which nothing was heard of a project: from ``since``, before which nothing is missing, until
    ``until``, when the link had opened.

    ``watched_since``: what ended before is nobody's news. ``catch_up_max``: what ended more seconds ago than
    this is counted only.
    """

    since: datetime
    until: datetime
    watched_since: datetime
    catch_up_max: float

    @property
    def is_real(self) -> bool:
        """False at the very first connection, before which nobody listened."""
        return self.since < self.until

    @property
    def seconds(self) -> float:
        """How long it was."""
        return max(0.0, (self.until - self.since).total_seconds())


class OpenRun(NamedTuple):
    """A run that has not ended as far as is known: which, and how it stands. Thousands may be held at a time."""

    ref: RunRef
    state: RunState


@dataclass(frozen=True, slots=True)
class WatchState:
    """Where a project stands in the store when catching up begins.

    ``open_runs`` are those that moved last; ``more_open``: they are not all.
    """

    seen_until: datetime | None
    watched_since: datetime | None
    open_runs: tuple[OpenRun, ...] = ()
    more_open: bool = False


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """Observations to compare, asked for after the transaction number ``transaction_no``.

    ``held`` has the runs about which live events have arrived that are not stored yet, each with the time of
    the first one.
    """

    observations: tuple[Observation, ...]
    gap: Gap
    transaction_no: int
    buffered_since: Mapping[RunRef, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class ReconcileResult:
    """What comparing came to: how many runs changed, ended too long ago, are gone, and which are doubtful."""

    changed: int = 0
    too_old: int = 0
    gone: int = 0
    doubtful: list[RunRef] = field(default_factory=list)

    def add(self, other: "ReconcileResult") -> None:
        """Count the other one in."""
        self.changed += other.changed
        self.too_old += other.too_old
        self.gone += other.gone
        self.doubtful += other.doubtful
