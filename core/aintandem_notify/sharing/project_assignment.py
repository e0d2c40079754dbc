"""Which of the wanted projects are this agent's: takes what is free, gives back what others miss."""

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
from aintandem_notify.sharing.balance import Group, Turns
from aintandem_notify.sharing.lease import Member
from aintandem_notify.sharing.waiting import first_of
from aintandem_notify.store import Store
from aintandem_notify.store.sharing.membership import AT_ONCE

SHORT_S: Final = 1.0
"""Seconds until an agent that has less than its share looks again."""
FULL: Final = "each agent watches as many as its limit of open files allows; raise a limit, or start another agent"
"""Why a project may be without an agent."""

_log = log.get_logger(__name__)

Forget = Callable[[Collection[str]], Awaitable[None]]
"""Drops what is in memory of these projects: somebody else may have moved their runs."""


class Watches(Protocol):
    """Who watches projects, as the fleet does."""

    @property
    def wanted(self) -> Set[str]:
        """The projects to be watched, by whichever agent."""
        ...

    @property
    def wanted_news(self) -> trio.Event:
        """Is set when they change."""
        ...

    async def hold(self, ids: Collection[str]) -> None:
        """Watch those of the wanted that are among these; returns when what was stopped has ended."""
        ...


@dataclass(frozen=True, slots=True)
class _Round:
    """What is this agent's after a round, what it took in it, what it is to give, and when to look again.

    ``unwatched``: how many projects nobody has a place for.
    """

    mine: frozenset[str]
    taken: Set[str]
    give: Sequence[str]
    unwatched: int
    pause_s: float


class _Sharing:
    def __init__(
        self, member: Member, watches: Watches, forget: Forget, entries: Callable[[], str], clock: Clock
    ) -> None:
        self._member = member
        self._membership = member.membership
        self._watches = watches
        self._forget = forget
        self._entries = entries
        self._clock = clock
        self._turns = Turns()
        self._holding = trio.Lock()
        self._joined = 0
        self._known: set[str] = set()
        self._in_doubt = False

    async def run(self) -> None:
        """Look, take, give, again and again."""
        while True:
            turn, news = self._member.turn, self._watches.wanted_news
            pause_s = math.inf
            if self._member.is_valid:
                try:
                    pause_s = await self._round()
                except StoreError:
                    # What was taken or given may be on disk all the same. The member tells of the trouble.
                    self._in_doubt = True
                    pause_s = SHORT_S
            await first_of(turn, news, within_s=pause_s)

    async def let_go(self) -> None:
        """Watch nothing as soon as the lease is over, whether or not the database answers."""
        while True:
            turn = self._member.turn
            if not self._member.is_valid:
                await self._hold(())
            await turn.wait()

    async def end(self) -> None:
        """Watch nothing any more, and let the others have it at once."""
        await self._hold(())
        if self._member.is_valid:
            await self._give(list(self._membership.projects))

    async def _round(self) -> float:
        wanted, joined, now_s = frozenset(self._watches.wanted), self._member.joined, trio.current_time()
        self._member.want(self._entries() if wanted else "")
        done = await self._member.storage.run(lambda store: self._look(store, wanted, now_s))
        # What was this agent's in an earlier life may have been moved by others since.
        gained = done.taken if joined == self._joined else done.mine
        if gained:
            _log.info("watches more projects", gained=len(gained), projects=len(done.mine))
            await self._forget(gained)
        self._joined = joined
        if done.give:
            _log.info("gives projects to an agent that has room for them", projects=len(done.give))
        await self._hold(done.mine.difference(done.give))
        if done.give:
            await self._give(done.give)
        self._tell(done.unwatched)
        return done.pause_s

    def _look(self, store: Store, wanted: Set[str], now_s: float) -> _Round:
        """One round in the store; runs in its thread."""
        membership = self._membership
        new = list(islice((one for one in wanted if one not in self._known), AT_ONCE))
        before = membership.projects
        with store.transaction():
            owned = membership.owned() if self._in_doubt else membership.projects
            mine = owned & wanted
            membership.add_projects(new)
            membership.give(list(owned - mine))
            group = self._group(len(mine), len(wanted))
            free = self._free(wanted, min(AT_ONCE, len(wanted) - len(mine)), lock=group.room > 0)
            move = self._turns.next(group, free=len(free), now_s=now_s)
            taken = membership.take(free[: move.take])
        self._in_doubt = False
        self._known.update(new)
        membership.projects = mine | taken
        give = sorted(mine)[len(mine) - move.give :] if move.give else []
        unwatched = self._turns.unwatched(group, len(free), move)
        is_short = len(membership.projects) < group.share
        pause_s = SHORT_S if is_short or self._turns.is_about_to_give else math.inf
        if AT_ONCE in (len(new), len(taken)):
            pause_s = 0.0  # more of them wait for the next round
        # What was taken by a transaction that seemed to fail is new here, too.
        gained = membership.projects - before
        return _Round(frozenset(membership.projects), gained, give, unwatched, pause_s)

    def _group(self, mine: int, wanted: int) -> Group:
        """The agents that want the same."""
        me, places = str(self._membership.id), self._membership.places
        peers = [one for one in self._member.peers if one.entries == self._member.entries]
        counts = {one.id: one.projects for one in peers} | {me: mine}
        limits = {one.id: one.places for one in peers} | {me: places}
        return Group(me, wanted, counts, {one: most for one, most in limits.items() if most is not None})

    def _free(self, wanted: Set[str], most: int, *, lock: bool) -> list[str]:
        found: list[str] = []
        after = ""
        while len(found) < most and (page := self._membership.free_projects(after, lock=lock)):
            found += [one for one in page if one in wanted]
            after = page[-1]
        return found[:most]

    def _tell(self, count: int) -> None:
        before = self._member.unwatched
        if count and before is None:
            _log.warning("some projects are watched by no agent", projects=count, reason=FULL)
        elif before is not None and not count:
            _log.info("every project is watched by an agent again")
        since = before.since if before is not None else self._clock.now()
        self._member.unwatched = UnwatchedProjects(count, since) if count else None

    async def _give(self, ids: Sequence[str]) -> None:
        def give(store: Store) -> None:
            with store.transaction():
                self._membership.give(ids)

        try:
            await self._member.storage.run(give)
        except StoreError:
            self._in_doubt = True
        else:
            self._membership.projects = self._membership.projects.difference(ids)

    async def _hold(self, ids: Collection[str]) -> None:
        async with self._holding:
            await self._watches.hold(ids if self._member.is_valid else ())


@asynccontextmanager
async def open_sharing(
    member: Member | None, watches: Watches, *, forget: Forget, entries: Callable[[], str], clock: Clock
) -> AsyncIterator[None]:
    """Tells ``watches`` which projects are this agent's, and shares them with the others, inside the block.

    This agent takes no more than it has places for; what no agent has one for, ``Member.unwatched`` tells, and the
    log once. Nothing happens where the store has one owner: all are its own. ``entries`` is a hash of what is
    configured to be watched; agents with the same one share evenly.
    """
    if member is None:
        yield
        return
    sharing = _Sharing(member, watches, forget, entries, clock)
    await watches.hold(())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sharing.run)
        nursery.start_soon(sharing.let_go)
        yield
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await sharing.end()
