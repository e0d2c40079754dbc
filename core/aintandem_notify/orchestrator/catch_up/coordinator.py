"""The part of catching up that all projects share: its source of snapshots, its reconciler, and its progress."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import Observation, ObservationBatch, OpenRun, ReconcileResult, WatchState
from aintandem_notify.domain.runs import RunRef
from aintandem_notify.errors import StoreError
from aintandem_notify.orchestrator.catch_up.rest_snapshot import PageReconciler, Snapshot

RECORD_EVERY_S: Final = 60.0
"""Interval at which ``seen_until`` is stored: the time before which no event of a project is missing."""


class Reconciler(Protocol):
    """Reconciles observations with the stored runs, as ``ingest.Ingest`` does. Every method raises StoreError."""

    @property
    def transaction_no(self) -> int: ...
    async def watch_state(self, project_id: str) -> WatchState: ...
    async def reconcile(self, project: Project, batch: ObservationBatch) -> ReconcileResult: ...
    async def mark_seen(
        self, seen_until: Mapping[str, datetime], project: Project | None = None, events: Sequence[Event] = ()
    ) -> None: ...


class SnapshotSource(Protocol):
    """Reads snapshots over REST, as ``rest_snapshot.SnapshotReader`` does. Raises ApiError or HttpFailed."""

    async def read(
        self,
        kind: Family,
        project_id: str,
        known: Iterable[OpenRun],
        oldest: datetime,
        since: datetime,
        reconciler: PageReconciler,
    ) -> Snapshot: ...
    async def read_run(self, ref: RunRef) -> Observation | None: ...


class CatchUpCoordinator:
    """Shared by all projects: the source of snapshots, the reconciler, and the projects that are up to date."""

    def __init__(self, snapshots: SnapshotSource, reconciler: Reconciler) -> None:
        self.snapshots = snapshots
        self.reconciler = reconciler
        self.catching_up = 0
        """The number of projects that catch up now."""
        self.reported_unavailable: dict[str, frozenset[str]] = {}
        """By project, the unavailable information that was last reported."""
        self._up_to_date: dict[str, Callable[[], datetime]] = {}

    def mark_up_to_date(self, project_id: str, stored_until: Callable[[], datetime]) -> None:
        """Note that no event of the project is missing before the time that ``stored_until`` returns."""
        self._up_to_date[project_id] = stored_until

    def mark_ended(self, project_id: str) -> bool:
        """Note that the project's link has ended. Returns whether the project was up to date."""
        return self._up_to_date.pop(project_id, None) is not None

    def is_up_to_date(self, project_id: str) -> bool:
        """True if no event of the project is missing now."""
        return project_id in self._up_to_date

    def is_reported(self, project_id: str, unavailable: Iterable[str]) -> bool:
        """Whether all of this unavailable information was reported after the last gap of the project."""
        return self.reported_unavailable.get(project_id, frozenset()).issuperset(unavailable)

    async def record_progress(self) -> None:
        """Store ``seen_until`` of all projects that are up to date, every ``RECORD_EVERY_S``. Never returns."""
        while True:
            await trio.sleep(RECORD_EVERY_S)
            if seen_until := {project_id: stored_until() for project_id, stored_until in self._up_to_date.items()}:
                # A failure is retried a minute later. ``watch.event_sink`` reports that the store fails.
                with _ignoring_store_trouble():
                    await self.reconciler.mark_seen(seen_until)


@contextmanager
def _ignoring_store_trouble() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.get_logger(__name__).debug("the progress of the projects could not be stored", reason=str(error))
