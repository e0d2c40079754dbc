"""Reads a project's runs over REST, the "list" of list-then-watch: page by page, with few concurrent requests."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import trio

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.observation import Observation, OpenRun
from aintandem_notify.domain.reconciliation import CLOCK_MARGIN
from aintandem_notify.domain.runs import TERMINAL_STATES, RunRef, RunState
from aintandem_notify.errors import ApiError, HttpFailed, NotFound
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.catch_up.record_mapping import (
    execution_observation,
    sandbox_observations,
    task_observation,
)
from aintandem_notify.orchestrator.catch_up.remote_clock import RemoteClock
from aintandem_notify.orchestrator.catch_up.request_slots import RequestSlots
from aintandem_notify.orchestrator.catch_up.run_lookup import look_up_run
from aintandem_notify.orchestrator.protocol.responses import ResponseTooLarge
from aintandem_notify.orchestrator.rest.client import OrchestratorApi, with_retries
from aintandem_notify.orchestrator.rest.records import OperationRecord, SandboxRecord, TaskRecord, without_extras

PAGE_SIZE: Final = 100
"""Tasks in one request."""
MAX_TASKS: Final = 5000
"""Tasks of one project that are read; older ones are reported as unavailable."""
MAX_PAGES: Final = 500
"""Responses about one project's tasks, if the server sends smaller pages than requested."""
MAX_REPEATS: Final = 2
"""Times that a server may send a page again: one without paging does so each time, another one by chance."""
PAGE_DIVISOR: Final = 4
"""The page size is divided by this if a response is too large."""
UNLISTED_BATCH_SIZE: Final = 50
"""Runs that are requested one by one and reconciled together."""
MAX_FAILED_RUNS: Final = 20
"""Failed requests for single runs, after which the others wait for the next try."""
SETTLE_S: Final = 1.0
"""Pause before the second request for sandboxes that ended without a time."""

_ALL_PROJECTS: Final = ""
"""The client name of requests for all projects together."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The result of reading a project's runs of one kind.

    ``unavailable`` names the information that REST does not give. ``trouble`` is the error if single runs that are
    not in the list could not be requested now.
    """

    unavailable: tuple[str, ...] = ()
    trouble: ApiError | HttpFailed | None = None


class PageReconciler(Protocol):
    """Reconciles a snapshot page by page, so that a page can be freed before the next one is read."""

    @property
    def transaction_no(self) -> int:
        """The number of the store's transactions so far. Later transactions are newer than the observation."""
        ...

    async def reconcile(self, observations: Sequence[Observation], transaction_no: int) -> None:
        """Reconcile observations that were requested after this transaction. Raises StoreError."""
        ...


class _Task(NamedTuple):
    """The part of a task's record that is kept; ``observation`` is None for an unknown status."""

    id: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    observation: Observation | None


class _SandboxList(NamedTuple):
    """The sandboxes of all projects, and a lower bound of the orchestrator's clock at the request."""

    asked_at: datetime | None
    sandboxes: Sequence[SandboxRecord]


class SnapshotReader:
    """Reads snapshots. Its requests raise ApiError or HttpFailed; NotFound if the server has no such call."""

    def __init__(self, api: OrchestratorApi, clock: Clock, slots: RequestSlots, remote_clock: RemoteClock) -> None:
        self._api, self._retry_pauses_s = api.without_retries(), api.retry_pauses_s
        self._clock = clock
        self._remote_clock = remote_clock
        self._slots = slots
        self._sandboxes = SharedRequest(lambda: self._request(_ALL_PROJECTS, self._list_sandboxes))

    async def read(
        self,
        kind: Family,
        project_id: str,
        known: Iterable[OpenRun],
        oldest: datetime,
        since: datetime,
        reconciler: PageReconciler,
    ) -> Snapshot:
        """Reads all runs of one kind and reconciles them page by page. May raise StoreError, too.

        The open runs in ``known`` are requested one by one if the list does not have them. A 404 means that the
        run is gone. Runs that were created before ``oldest`` are not needed. Runs that began after ``since`` may
        be new.
        """
        open_runs = [run for run in known if run.ref.kind is kind]
        match kind:
            case Family.TASK:
                return await self._read_tasks(project_id, open_runs, oldest, reconciler)
            case Family.WORKFLOW:
                return await self._read_executions(project_id, open_runs, reconciler)
            case _:
                # No live event will report the start of a run that is known to have started.
                started = {run.ref for run in open_runs if run.state is not RunState.QUEUED}
                may_start_event_arrive = partial(
                    _may_start_event_arrive, started=started, since=since - CLOCK_MARGIN
                )
                transaction_no = reconciler.transaction_no
                refs = [run.ref for run in open_runs]
                observations = await self._read_sandboxes(project_id, refs, may_start_event_arrive)
                await reconciler.reconcile(observations, transaction_no)
                return Snapshot()

    async def read_run(self, ref: RunRef) -> Observation | None:
        """Requests one run. None if the orchestrator does not know it."""
        if ref.kind is Family.SANDBOX:
            sandboxes = await self._read_sandboxes(ref.project_id, [ref], lambda sandbox: sandbox.ref == ref)
            return next((sandbox for sandbox in sandboxes if sandbox.ref == ref), None)
        observation = await self._look_up(ref)
        return None if observation is None or observation.state is RunState.GONE else observation

    async def _look_up(self, ref: RunRef) -> Observation | None:
        return await self._request(ref.project_id, lambda: look_up_run(ref, self._api.task, self._api.execution))

    async def _read_tasks(
        self, project_id: str, known: Sequence[OpenRun], oldest: datetime, reconciler: PageReconciler
    ) -> Snapshot:
        listed: set[str] = set()
        offset = requested = pages = too_large = repeats = 0
        size, ids = PAGE_SIZE, list[str]()
        unavailable: list[str] = []
        while True:
            requested, pages = requested + size, pages + 1
            is_beyond = requested > MAX_TASKS or pages > MAX_PAGES
            read_page = partial(
                self._reconcile_page, project_id, offset, size, listed, None if is_beyond else reconciler
            )
            try:
                page, new = await self._request(project_id, read_page)
            except ResponseTooLarge:
                if size == 1:
                    too_large += 1
                    offset += 1
                if is_beyond:
                    raise
                size = max(1, size // PAGE_DIVISOR)
                continue
            ids, previous = [task.id for task in page], ids
            repeats = repeats + 1 if ids == previous and not new else 0
            if not page or repeats == MAX_REPEATS:
                break
            if is_beyond:
                unavailable.append(f"tasks beyond the {len(listed)} newest")
                break
            listed |= new
            # A page may hold nothing new although the list goes on: tasks that began meanwhile have moved it.
            offset += len(page)
            if is_page_older_than(page, oldest):
                break
        if too_large:
            unavailable.append(f"{too_large} tasks that are too large to be read")
        trouble = await self._read_unlisted(known, listed, reconciler)
        return Snapshot(tuple(unavailable), trouble)

    async def _reconcile_page(
        self, project_id: str, offset: int, size: int, listed: Set[str], reconciler: PageReconciler | None
    ) -> tuple[list[_Task], Set[str]]:
        """Reads a page. Returns its tasks and the ids of the new ones; ``reconciler`` reconciles the new ones."""
        transaction_no = reconciler.transaction_no if reconciler else 0
        page = await self._read_page(project_id, offset, size)
        new = {task.id: task for task in page if task.id not in listed}
        if reconciler:
            await reconciler.reconcile(
                [task.observation for task in new.values() if task.observation], transaction_no
            )
        return page, set(new)

    async def _read_page(self, project_id: str, offset: int, size: int) -> list[_Task]:
        def read(record: TaskRecord) -> _Task:
            times = (record.created_at, record.started_at, record.completed_at)
            return _Task(record.id, *times, task_observation(project_id, record))

        page = await self._api.map_tasks(project_id, read, limit=size, offset=offset)
        times = (at for task in page for at in (task.created_at, task.started_at, task.completed_at))
        self._remote_clock.add_timestamps(times, self._clock.now())
        return page

    async def _read_executions(
        self, project_id: str, known: Sequence[OpenRun], reconciler: PageReconciler
    ) -> Snapshot:
        async def read_list() -> set[str]:
            transaction_no = reconciler.transaction_no
            listed = await self._api.map_executions(
                project_id, lambda record: (record.id, execution_observation(project_id, record))
            )
            await reconciler.reconcile(
                [observation for _, observation in listed if observation is not None], transaction_no
            )
            return {execution_id for execution_id, _ in listed}

        listed = await self._request(project_id, read_list)
        trouble = await self._read_unlisted(known, listed, reconciler)
        return Snapshot(trouble=trouble)

    async def _read_unlisted(
        self, known: Iterable[OpenRun], listed: Set[str], reconciler: PageReconciler
    ) -> ApiError | HttpFailed | None:
        """Requests open runs that are not in the list one by one. Returns the last error, or None.

        A run that the server fails on affects neither the others nor the list.
        """
        troubles: list[ApiError | HttpFailed] = []
        unlisted = [run.ref for run in known if run.ref.id not in listed]
        for refs in batched(unlisted, UNLISTED_BATCH_SIZE):
            observations: list[Observation] = []
            transaction_no = reconciler.transaction_no
            for ref in refs:
                try:
                    observation = await self._look_up(ref)
                    observations += [] if observation is None else [observation]
                except (ApiError, HttpFailed) as error:
                    troubles.append(error)
                    if isinstance(error, HttpFailed) or len(troubles) == MAX_FAILED_RUNS:
                        break
            await reconciler.reconcile(observations, transaction_no)
            if troubles and (isinstance(troubles[-1], HttpFailed) or len(troubles) == MAX_FAILED_RUNS):
                break
        return troubles[-1] if troubles else None

    async def _read_sandboxes(
        self, project_id: str, known: Sequence[RunRef], may_start_event_arrive: Callable[[Observation], bool]
    ) -> list[Observation]:
        listed = _SandboxList(None, ())
        operations: list[OperationRecord] = []
        try:
            listed = await self._sandboxes.get()
            operations = await self._request(
                project_id, lambda: self._api.map_operations(project_id, without_extras)
            )
        except NotFound:  # a server without sandboxes, or without operations
            pass
        observations = _observations(project_id, listed, operations, known)
        if not any(
            _is_untimed_end(observation) and may_start_event_arrive(observation) for observation in observations
        ):
            return observations
        # The end has no time. If the list is the same a moment later, live events with earlier timestamps report
        # this end.
        await trio.sleep(SETTLE_S)
        try:
            listed = await self._sandboxes.get()
        except (ApiError, HttpFailed):
            return observations
        return with_later_asked_at(observations, _observations(project_id, listed, operations, known))

    async def _list_sandboxes(self) -> _SandboxList:
        asked_at = self._remote_clock.lower_bound()
        sandboxes = await self._api.map_sandboxes(without_extras)
        times = (
            at for sandbox in sandboxes for at in (sandbox.created_at, sandbox.started_at, sandbox.stopped_at)
        )
        self._remote_clock.add_timestamps(times, self._clock.now())
        return _SandboxList(asked_at, sandboxes)

    async def _request(self, client: str, call: Callable[[], Awaitable[T]]) -> T:
        """Returns the result of ``call``, which waits for a slot at each try.

        It keeps the slot until it has processed the response, so few responses are in memory at the same time.
        """

        async def call_in_slot() -> T:
            async with self._slots.acquire(client):
                return await call()

        return await with_retries(call_in_slot, pauses_s=self._retry_pauses_s)


def _observations(
    project_id: str, listed: _SandboxList, operations: Sequence[OperationRecord], known: Sequence[RunRef]
) -> list[Observation]:
    observations = sandbox_observations(project_id, listed.sandboxes, operations, known)
    return [replace(observation, asked_at=listed.asked_at) for observation in observations]


def _is_untimed_end(observation: Observation) -> bool:
    return observation.state in TERMINAL_STATES and observation.ended_at is None


def _may_start_event_arrive(observation: Observation, *, started: Set[RunRef], since: datetime) -> bool:
    """Whether a live event that it was created or started may still be on the way."""
    return observation.ref not in started and (observation.created_at is None or observation.created_at > since)


def with_later_asked_at(observations: Iterable[Observation], later: Iterable[Observation]) -> list[Observation]:
    """The observations, each with ``asked_at`` of the same observation in ``later``.

    An observation that ``later`` does not confirm keeps its own ``asked_at``: it was true at its time.
    """
    asked_at = {_state_key(observation): observation.asked_at for observation in later}
    return [
        replace(observation, asked_at=asked_at.get(_state_key(observation), observation.asked_at))
        for observation in observations
    ]


def _state_key(observation: Observation) -> tuple[object, ...]:
    return (
        observation.ref,
        observation.state,
        observation.created_at,
        observation.started_at,
        observation.ended_at,
    )


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of at most ``size``, as ``itertools.batched`` of Python 3.12."""
    return (items[start : start + size] for start in range(0, len(items), size))


class _Created(Protocol):
    @property
    def created_at(self) -> datetime | None: ...


def is_page_older_than(page: Sequence[_Created], oldest: datetime) -> bool:
    """Whether this page and all later pages were created before ``oldest``. False unless sorted, newest first."""
    created = [record.created_at for record in page]
    known = [moment for moment in created if moment is not None]
    is_sorted = len(known) == len(created) and all(first >= second for first, second in pairwise(known))
    return bool(known) and is_sorted and known[0] < oldest


@dataclass(eq=False, slots=True)
class _Response(Generic[T]):
    responses: list[T] = field(default_factory=list)
    error: ApiError | HttpFailed | None = None


class SharedRequest(Generic[T]):
    """One request for all callers at about the same time. No caller gets the response to an earlier request."""

    def __init__(self, request: Callable[[], Awaitable[T]]) -> None:
        self._request = request
        self._lock = trio.Lock()
        self._next: _Response[T] = _Response()

    async def get(self) -> T:
        """The response; raises the error of the request."""
        current = self._next
        async with self._lock:
            if not current.responses and current.error is None:
                self._next = _Response()
                try:
                    current.responses.append(await self._request())
                except (ApiError, HttpFailed) as error:
                    current.error = error
        if current.error is not None:
            raise current.error
        return current.responses[0]
