"""Assigns wanted projects to this agent: takes free ones and gives some to agents that are below their share.

``balance`` computes the numbers, ``lease`` keeps the membership, and the fleet watches the assigned projects.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator import UnwatchedProjects
from aintandem_notify.sharing.balance import Rebalancer, SharingGroup
from aintandem_notify.sharing.lease import LeaseHolder
from aintandem_notify.sharing.waiting import wait_for_any
from aintandem_notify.store import Store
from aintandem_notify.store.sharing.membership import MAX_BATCH

BELOW_SHARE_PAUSE_S: Final = 1.0
"""Seconds until the next round of an agent that is below its share."""
NO_PLACES_REASON: Final = (
    "each agent watches as many as its limit of open files allows; raise a limit, or start another agent"
)
"""The logged reason for projects without an agent."""

_log = log.get_logger(__name__)

Forget = Callable[[Collection[str]], Awaitable[None]]
"""Drops the cached runs of these projects, since another agent may have changed them."""


class ProjectWatcher(Protocol):
    """Watches projects; implemented by the fleet."""

    @property
    def wanted(self) -> Set[str]:
        """The projects to be watched, by any agent."""
        ...

    @property
    def wanted_changed(self) -> trio.Event:
        """Set when ``wanted`` changes; then replaced."""
        ...

    async def watch_only(self, ids: Collection[str]) -> None:
        """Watches the wanted projects among ``ids`` only; returns when the others have stopped."""
        ...


@dataclass(frozen=True, slots=True)
class _RoundResult:
    """The result of a round: this agent's projects, those that it took, those to give, and the next pause.

    ``unwatched``: number of projects that no agent has a place for.
    """

    mine: frozenset[str]
    taken: Set[str]
    give: Sequence[str]
    unwatched: int
    pause_s: float


class _ProjectAssignment:
    def __init__(
        self,
        member: LeaseHolder,
        watcher: ProjectWatcher,
        forget: Forget,
        projects_hash: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._member = member
        self._membership = member.membership
        self._watcher = watcher
        self._forget = forget
        self._projects_hash = projects_hash
        self._clock = clock
        self._rebalancer = Rebalancer()
        self._watch_lock = trio.Lock()
        self._join_count = 0
        self._known: set[str] = set()
        self._in_doubt = False

    async def run(self) -> None:
        """Runs rounds for ever: after each update of the members or the wanted projects, or a pause."""
        while True:
            updated, wanted_changed = self._member.updated, self._watcher.wanted_changed
            pause_s = math.inf
            if self._member.is_valid:
                try:
                    pause_s = await self._run_round()
                except StoreError:
                    # The changes may be stored all the same. ``LeaseHolder`` logs the trouble.
                    self._in_doubt = True
                    pause_s = BELOW_SHARE_PAUSE_S
            await wait_for_any(updated, wanted_changed, within_s=pause_s)

    async def stop_when_lease_ends(self) -> None:
        """Stops watching as soon as the lease ends, even while the database does not answer; runs for ever."""
        while True:
            updated = self._member.updated
            if not self._member.is_valid:
                await self._watch_only(())
            await updated.wait()

    async def release_all(self) -> None:
        """Stops watching and releases all projects at once."""
        await self._watch_only(())
        if self._member.is_valid:
            await self._release(list(self._membership.projects))

    async def _run_round(self) -> float:
        wanted, join_count, now_s = frozenset(self._watcher.wanted), self._member.join_count, trio.current_time()
        self._member.set_projects_hash(self._projects_hash() if wanted else "")
        result = await self._member.storage.run(lambda store: self._rebalance(store, wanted, now_s))
        # After a new join other agents may have changed the runs of all projects.
        gained = result.taken if join_count == self._join_count else result.mine
        if gained:
            _log.info("watches more projects", gained=len(gained), projects=len(result.mine))
            await self._forget(gained)
        self._join_count = join_count
        if result.give:
            _log.info("gives projects to an agent that has room for them", projects=len(result.give))
        await self._watch_only(result.mine.difference(result.give))
        if result.give:
            await self._release(result.give)
        self._update_unwatched(result.unwatched)
        return result.pause_s

    def _rebalance(self, store: Store, wanted: Set[str], now_s: float) -> _RoundResult:
        """Runs the round's transaction; called in the store's thread."""
        membership = self._membership
        new = list(islice((project_id for project_id in wanted if project_id not in self._known), MAX_BATCH))
        before = membership.projects
        with store.transaction():
            owned = membership.owned_projects() if self._in_doubt else membership.projects
            mine = owned & wanted
            membership.add_projects(new)
            membership.release_projects(list(owned - mine))
            group = self._group(len(mine), len(wanted))
            free = self._free(wanted, min(MAX_BATCH, len(wanted) - len(mine)), lock=group.room > 0)
            transfer = self._rebalancer.next_transfer(group, free=len(free), now_s=now_s)
            taken = membership.acquire_projects(free[: transfer.take])
        self._in_doubt = False
        self._known.update(new)
        membership.projects = mine | taken
        give = sorted(mine)[len(mine) - transfer.give :] if transfer.give else []
        unwatched = self._rebalancer.unwatched(group, len(free), transfer)
        is_short = len(membership.projects) < group.share
        pause_s = BELOW_SHARE_PAUSE_S if is_short or self._rebalancer.is_about_to_give else math.inf
        if MAX_BATCH in (len(new), len(taken)):
            pause_s = 0.0  # more of them wait for the next round
        # Projects that were taken by a transaction that seemed to fail are new, too.
        gained = membership.projects - before
        return _RoundResult(frozenset(membership.projects), gained, give, unwatched, pause_s)

    def _group(self, mine: int, wanted: int) -> SharingGroup:
        """The agents that want the same projects."""
        me, places = str(self._membership.id), self._membership.places
        peers = [peer for peer in self._member.peers if peer.projects_hash == self._member.projects_hash]
        counts = {peer.id: peer.projects for peer in peers} | {me: mine}
        limits = {peer.id: peer.places for peer in peers} | {me: places}
        return SharingGroup(
            me, wanted, counts, {agent: limit for agent, limit in limits.items() if limit is not None}
        )

    def _free(self, wanted: Set[str], limit: int, *, lock: bool) -> list[str]:
        free: list[str] = []
        after = ""
        while len(free) < limit and (page := self._membership.free_projects(after, lock=lock)):
            free += [project_id for project_id in page if project_id in wanted]
            after = page[-1]
        return free[:limit]

    def _update_unwatched(self, count: int) -> None:
        before = self._member.unwatched
        if count and before is None:
            _log.warning("some projects are watched by no agent", projects=count, reason=NO_PLACES_REASON)
        elif before is not None and not count:
            _log.info("every project is watched by an agent again")
        since = before.since if before is not None else self._clock.now()
        self._member.unwatched = UnwatchedProjects(count, since) if count else None

    async def _release(self, ids: Sequence[str]) -> None:
        def give(store: Store) -> None:
            with store.transaction():
                self._membership.release_projects(ids)

        try:
            await self._member.storage.run(give)
        except StoreError:
            self._in_doubt = True
        else:
            self._membership.projects = self._membership.projects.difference(ids)

    async def _watch_only(self, ids: Collection[str]) -> None:
        async with self._watch_lock:
            await self._watcher.watch_only(ids if self._member.is_valid else ())


@asynccontextmanager
async def open_sharing(
    member: LeaseHolder | None,
    watcher: ProjectWatcher,
    *,
    forget: Forget,
    projects_hash: Callable[[], str],
    clock: Clock,
) -> AsyncIterator[None]:
    """Shares the wanted projects with the other agents within the block, and tells ``watcher`` which to watch.

    This agent takes no more projects than it has places for. Projects that no agent has a place for are counted in
    ``LeaseHolder.unwatched`` and logged once. Does nothing where the store has one owner, which watches them all.
    ``projects_hash`` gives a hash of the configured projects; agents with equal hashes share them evenly.
    """
    if member is None:
        yield
        return
    sharing = _ProjectAssignment(member, watcher, forget, projects_hash, clock)
    await watcher.watch_only(())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sharing.run)
        nursery.start_soon(sharing.stop_when_lease_ends)
        yield
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await sharing.release_all()
