"""Asks REST what is known about a project's runs: page by page, few requests at a time over all projects."""

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
from aintandem_notify.orchestrator.protocol.identifiers import InvalidId
from aintandem_notify.orchestrator.protocol.responses import ResponseTooLarge
from aintandem_notify.orchestrator.rest.client import OrchestratorApi, with_retries
from aintandem_notify.orchestrator.rest.records import OperationRecord, SandboxRecord, TaskRecord, without_extras

PAGE_SIZE: Final = 100
"""Tasks asked for at once."""
MAX_TASKS: Final = 5000
"""Tasks of one project that are asked for; what lies behind them is said to be missing."""
MAX_PAGES: Final = 500
"""Answers about one project's tasks, where they come in smaller pages than were asked for."""
PAGE_DIVISOR: Final = 4
"""By so much a page is divided that is too large to be read."""
UNLISTED_BATCH_SIZE: Final = 50
"""Runs that were asked for one by one, and are compared together."""
MAX_FAILED_RUNS: Final = 20
"""Single runs that could not be asked for, after which the others are left for another time."""
SETTLE_S: Final = 1.0
"""Before it is asked again whether a sandbox stands where the list shows it, when no time says since when."""

_ALL_PROJECTS: Final = ""
"""Who asks for what is the same for all of them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What came of looking at a project's runs of one kind; ``missing`` names what it could not be asked for.

    ``trouble`` is why single runs that it does not list could not be asked for now.
    """

    missing: tuple[str, ...] = ()
    trouble: ApiError | HttpFailed | None = None


class PageReconciler(Protocol):
    """With whom what is found is compared, page by page, so that nothing of a page is left when the next comes."""

    @property
    def transaction_no(self) -> int:
        """Numbers the store's transactions; what is asked for now is older than what moves after it."""
        ...

    async def reconcile(self, observations: Sequence[Observation], moment: int) -> None:
        """Compare what was asked for after ``moment``; raises StoreError."""
        ...


class _Task(NamedTuple):
    """What is left of a task's record when its page is read; ``seen`` is None for a status that nobody knows."""

    id: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    seen: Observation | None


class _Listed(NamedTuple):
    """The sandboxes of all projects, and what the orchestrator's clock had reached when they were asked for."""

    asked_at: datetime | None
    sandboxes: Sequence[SandboxRecord]


class SnapshotReader:
    """Looks at projects. What asks raises ApiError or HttpFailed; NotFound: the server has no such call."""

    def __init__(self, api: OrchestratorApi, clock: Clock) -> None:
        self._api = api.without_retries()
        self._clock = clock
        self._theirs = RemoteClock()
        self._slots = RequestSlots()
        self._sandboxes = SharedRequest(lambda: self._ask(_ALL_PROJECTS, self._list_sandboxes))

    def add_timestamps(self, *stamps: datetime | None) -> None:
        """The orchestrator has written these times: its clock has reached them."""
        self._theirs.add_timestamps(stamps, self._clock.now())

    async def read(
        self,
        kind: Family,
        project_id: str,
        known: Iterable[OpenRun],
        old: datetime,
        since: datetime,
        reconciler: PageReconciler,
    ) -> Snapshot:
        """All runs of one kind, compared as they are found. Raises StoreError, too.

        Those of ``known``, which have not ended as far as we know, are asked for one by one if the list does not
        have them, and are gone where that is answered with 404. What was created before ``old`` need not be looked
        for; what began after ``since`` may be news.
        """
        mine = [run for run in known if run.ref.kind is kind]
        match kind:
            case Family.TASK:
                return await self._tasks(project_id, mine, old, reconciler)
            case Family.WORKFLOW:
                return await self._executions(project_id, mine, reconciler)
            case _:
                # Of one that runs as far as we know, no live event tells any more that it began.
                begun = {run.ref for run in mine if run.state is not RunState.QUEUED}
                news = partial(_may_begin_late, begun=begun, since=since - CLOCK_MARGIN)
                moment = reconciler.transaction_no
                found = await self._look_at_sandboxes(project_id, [run.ref for run in mine], news)
                await reconciler.reconcile(found, moment)
                return Snapshot()

    async def read_run(self, ref: RunRef) -> Observation | None:
        """One run, asked for now; None when nothing is known about it."""
        try:
            return await self._one(ref)
        except (NotFound, InvalidId):
            return None

    async def _one(self, ref: RunRef) -> Observation | None:
        match ref.kind:
            case Family.TASK:
                task = await self._ask(ref.project_id, lambda: self._api.task(ref.project_id, ref.id))
                seen = task_observation(ref.project_id, task)
            case Family.WORKFLOW:
                execution = await self._ask(ref.project_id, lambda: self._api.execution(ref.id))
                seen = execution_observation(ref.project_id, execution)
            case _:
                sandboxes = await self._look_at_sandboxes(ref.project_id, [ref], lambda one: one.ref == ref)
                seen = next((one for one in sandboxes if one.ref == ref), None)
        return seen if seen is not None and seen.ref == ref else None

    async def _tasks(
        self, project_id: str, known: Sequence[OpenRun], old: datetime, reconciler: PageReconciler
    ) -> Snapshot:
        listed: set[str] = set()
        offset = asked = pages = too_large = 0
        size = PAGE_SIZE
        missing: list[str] = []
        while True:
            asked, pages = asked + size, pages + 1
            beyond = asked > MAX_TASKS or pages > MAX_PAGES
            compare = partial(self._compare_page, project_id, offset, size, listed, None if beyond else reconciler)
            try:
                page, new = await self._ask(project_id, compare)
            except ResponseTooLarge:
                if size == 1:
                    too_large += 1
                    offset += 1
                if beyond:
                    raise
                size = max(1, size // PAGE_DIVISOR)
                continue
            if new and beyond:
                missing.append(f"tasks beyond the {len(listed)} newest")
                break
            listed |= new
            offset += len(page)
            # A server that knows no pages gives the same again.
            if not new or is_page_older_than(page, old):
                break
        if too_large:
            missing.append(f"{too_large} tasks that are too large to be read")
        trouble = await self._unlisted(known, listed, reconciler)
        return Snapshot(tuple(missing), trouble)

    async def _compare_page(
        self, project_id: str, offset: int, size: int, listed: Set[str], reconciler: PageReconciler | None
    ) -> tuple[list[_Task], Set[str]]:
        """The page, and which of its tasks are new; those are compared, if there is a ``reconciler``."""
        moment = reconciler.transaction_no if reconciler else 0
        page = await self._page(project_id, offset, size)
        new = {task.id: task for task in page if task.id not in listed}
        if reconciler:
            await reconciler.reconcile([task.seen for task in new.values() if task.seen], moment)
        return page, set(new)

    async def _page(self, project_id: str, offset: int, size: int) -> list[_Task]:
        def read(record: TaskRecord) -> _Task:
            times = (record.created_at, record.started_at, record.completed_at)
            return _Task(record.id, *times, task_observation(project_id, record))

        page = await self._api.map_tasks(project_id, read, limit=size, offset=offset)
        self.add_timestamps(*(at for task in page for at in (task.created_at, task.started_at, task.completed_at)))
        return page

    async def _executions(self, project_id: str, known: Sequence[OpenRun], reconciler: PageReconciler) -> Snapshot:
        async def compare() -> set[str]:
            moment = reconciler.transaction_no
            listed = await self._api.map_executions(
                project_id, lambda record: (record.id, execution_observation(project_id, record))
            )
            await reconciler.reconcile([seen for _, seen in listed if seen is not None], moment)
            return {name for name, _ in listed}

        listed = await self._ask(project_id, compare)
        trouble = await self._unlisted(known, listed, reconciler)
        return Snapshot(trouble=trouble)

    async def _unlisted(
        self, known: Iterable[OpenRun], listed: Set[str], reconciler: PageReconciler
    ) -> ApiError | HttpFailed | None:
        """Ask for them one by one; one that the server chokes on holds back neither the others nor the list."""
        troubles: list[ApiError | HttpFailed] = []
        unlisted = [run.ref for run in known if run.ref.id not in listed]
        for refs in batched(unlisted, UNLISTED_BATCH_SIZE):
            found: list[Observation] = []
            moment = reconciler.transaction_no
            for ref in refs:
                try:
                    seen = await self._one(ref)
                    found += [] if seen is None else [seen]
                except (NotFound, InvalidId):
                    found.append(Observation(ref, RunState.GONE))
                except (ApiError, HttpFailed) as error:
                    troubles.append(error)
                    if isinstance(error, HttpFailed) or len(troubles) == MAX_FAILED_RUNS:
                        break
            await reconciler.reconcile(found, moment)
            if troubles and (isinstance(troubles[-1], HttpFailed) or len(troubles) == MAX_FAILED_RUNS):
                break
        return troubles[-1] if troubles else None

    async def _look_at_sandboxes(
        self, project_id: str, known: Sequence[RunRef], may_begin_late: Callable[[Observation], bool]
    ) -> list[Observation]:
        listed = _Listed(None, ())
        operations: list[OperationRecord] = []
        try:
            listed = await self._sandboxes.get()
            operations = await self._ask(project_id, lambda: self._api.map_operations(project_id, without_extras))
        except NotFound:  # a server without sandboxes, or without operations
            pass
        found = _observed(project_id, listed, operations, known)
        if not any(_is_untimed_end(one) and may_begin_late(one) for one in found):
            return found
        # How it ended has been seen; that it still stands there a moment later dates what live events tell of it.
        await trio.sleep(SETTLE_S)
        try:
            listed = await self._sandboxes.get()
        except (ApiError, HttpFailed):
            return found
        return dated_by_later(found, _observed(project_id, listed, operations, known))

    async def _list_sandboxes(self) -> _Listed:
        asked_at = self._theirs.at_least()
        sandboxes = await self._api.map_sandboxes(without_extras)
        self.add_timestamps(*(at for one in sandboxes for at in (one.created_at, one.started_at, one.stopped_at)))
        return _Listed(asked_at, sandboxes)

    async def _ask(self, who: str, call: Callable[[], Awaitable[T]]) -> T:
        """What ``call`` makes of its request, which waits for its turn each time that it is tried.

        Until it has done with the answer the others wait: so few answers are in memory at the same time.
        """

        async def in_turn() -> T:
            async with self._slots.turn(who):
                return await call()

        return await with_retries(in_turn)


def _observed(
    project_id: str, listed: _Listed, operations: Sequence[OperationRecord], known: Sequence[RunRef]
) -> list[Observation]:
    found = sandbox_observations(project_id, listed.sandboxes, operations, known)
    return [replace(one, asked_at=listed.asked_at) for one in found]


def _is_untimed_end(seen: Observation) -> bool:
    return seen.state in TERMINAL_STATES and seen.ended_at is None


def _may_begin_late(seen: Observation, *, begun: Set[RunRef], since: datetime) -> bool:
    """Whether a live event that it was created or started may still be on the way."""
    return seen.ref not in begun and (seen.created_at is None or seen.created_at > since)


def dated_by_later(found: Iterable[Observation], later: Iterable[Observation]) -> list[Observation]:
    """``found``, dated by ``later`` where both show the same: what happened before that, had happened by then.

    Where they differ, what was found first has been so all the same, and is not lost.
    """
    asked_at = {_standing(one): one.asked_at for one in later}
    return [replace(one, asked_at=asked_at.get(_standing(one), one.asked_at)) for one in found]


def _standing(seen: Observation) -> tuple[object, ...]:
    return seen.ref, seen.state, seen.created_at, seen.started_at, seen.ended_at


def batched(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The items in pieces of at most ``most``."""
    return (items[start : start + most] for start in range(0, len(items), most))


class _Created(Protocol):
    @property
    def created_at(self) -> datetime | None: ...


def is_page_older_than(page: Sequence[_Created], old: datetime) -> bool:
    """Whether this page, and so every later one, was created before ``old``: it must be sorted, newest first."""
    created = [record.created_at for record in page]
    known = [moment for moment in created if moment is not None]
    is_sorted = len(known) == len(created) and all(first >= second for first, second in pairwise(known))
    return bool(known) and is_sorted and known[0] < old


@dataclass(eq=False, slots=True)
class _Round(Generic[T]):
    answer: list[T] = field(default_factory=list)
    error: ApiError | HttpFailed | None = None


class SharedRequest(Generic[T]):
    """One request for all who ask at about the same time; nobody gets an answer that was asked for earlier."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._turn = trio.Lock()
        self._next: _Round[T] = _Round()

    async def get(self) -> T:
        """The answer; raises what asking raised."""
        mine = self._next
        async with self._turn:
            if not mine.answer and mine.error is None:
                self._next = _Round()
                try:
                    mine.answer.append(await self._ask())
                except (ApiError, HttpFailed) as error:
                    mine.error = error
        if mine.error is not None:
            raise mine.error
        return mine.answer[0]
