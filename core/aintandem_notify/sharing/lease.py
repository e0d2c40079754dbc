"""Being one of the agents that share a store: joined, renewed again and again, joined anew after a lapse."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from aintandem_notify import __version__, log
from aintandem_notify.config import Config
from aintandem_notify.errors import MembershipLost, StoreError
from aintandem_notify.orchestrator import UnwatchedProjects
from aintandem_notify.sharing.settings import configured
from aintandem_notify.sharing.waiting import first_of
from aintandem_notify.store import Storage, Store
from aintandem_notify.store.sharing.membership import Membership, Peer

RENEW_S: Final = 3.0
"""Seconds between two looks at the others, at each of which the own lease is renewed."""
RETRY_S: Final = 1.0
"""Seconds until a database that does not answer is asked again, and whether a name is free."""
JOIN_S: Final = 15.0
"""How long a start waits for its name: the database may not have noticed yet that the last holder is gone."""
MOMENT_S: Final = 0.05
"""How much later than a lease ends its end is looked for."""

_log = log.get_logger(__name__)


class Member:
    """This agent among the others; made by ``open_membership``."""

    def __init__(self, storage: Storage, membership: Membership, node: str) -> None:
        self.storage = storage
        self.membership = membership
        self.node = node
        self.entries = ""
        """A hash of what is to be watched; empty until that is known."""
        self.peers: Sequence[Peer] = ()
        """All that lived at the last look, this one included."""
        self.joined = 0
        """How often it has joined; whatever belonged to an earlier membership is not this agent's any more."""
        self.unwatched: UnwatchedProjects | None = None
        """The wanted projects that no agent has a place for, at the last look; None where there are none."""
        self._turn = trio.Event()
        self._news = trio.Event()
        self._failed = False
        self._salt = b""
        self._untold = False

    @property
    def is_valid(self) -> bool:
        """Whether nobody can have taken over what this agent has."""
        return self.membership.is_valid

    @property
    def turn(self) -> trio.Event:
        """Is set after the next look at the others, and when this agent is out."""
        return self._turn

    async def configure(self, config: Config, local: Mapping[str, bool]) -> None:
        """Tell the others which destinations this agent has; again after a reload.

        ``local``: the plugin types whose destinations can only be reached from this machine. Raises StoreError
        when it cannot be told for the first time; later it is told as soon as that is possible.
        """
        self._salt = self._salt or await self.storage.run(Store.salt)
        self.membership.configured = configured(config, local, self._salt)
        self._untold = True
        with suppress(StoreError):
            await self.storage.run(self._look)

    def want(self, entries: str) -> None:
        """Tell the others what this agent wants to watch: a hash of it, empty while it knows of no project."""
        if entries != self.entries:
            self.entries = entries
            self._news.set()

    async def join(self) -> None:
        """Raises StoreError: the database cannot be had, or another agent has the name."""
        await self.storage.run(lambda store: store.join(self.node, entries=self.entries, version=__version__))
        self.joined += 1
        self.peers = ()
        _log.info("joined the agents that share the store", store=self.storage.name, node=self.node)

    async def live(self) -> None:
        """Renew, bury the dead, join anew after a lapse; runs for ever."""
        while True:
            pause_s = RETRY_S
            try:
                if self.membership.lost:
                    await self.join()
                buried, self.peers = await self.storage.run(self._look)
            except MembershipLost as error:
                _log.warning("out of the agents that share the store, joining them anew", reason=str(error))
                pause_s = 0.0
            except StoreError as error:
                self._say(str(error))
            else:
                self._say(None)
                pause_s = self._pause(buried)
            self._told()
            await self._sleep(pause_s)

    async def watch_lease(self) -> None:
        """Tell when the lease is over, though the database may not answer; runs for ever."""
        was_valid = True
        while True:
            if was_valid and not self.is_valid:
                _log.error("the lease on the store is over, reading and sending stop", store=self.storage.name)
                self._told()
            was_valid = self.is_valid
            await trio.sleep(RETRY_S / 2)

    def _look(self, store: Store) -> tuple[int, Sequence[Peer]]:
        with store.transaction():
            self.membership.renew(self.entries)
            if self._untold:
                self.membership.configure(self.membership.configured)
            buried, peers = self.membership.bury(), self.membership.peers()
        self._untold = False
        return buried, peers

    def _pause(self, buried: int) -> float:
        if buried:
            _log.warning("agents that were not heard of any more are given up", agents=buried)
        # Nobody should wait longer for what a dead agent had than its lease lasts.
        ends = [peer.lease_s + MOMENT_S for peer in self.peers if peer.id != self.membership.id]
        return max(MOMENT_S, min([RENEW_S, *ends]))

    async def _sleep(self, pause_s: float) -> None:
        await first_of(self._news, self.storage.membership_lost, within_s=pause_s)
        self._news = trio.Event()

    def _told(self) -> None:
        self._turn.set()
        self._turn = trio.Event()

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and not self._failed:
            _log.error("the agents that share the store cannot be reached", reason=trouble)
        elif trouble is None and self._failed:
            _log.info("the agents that share the store are reached again")
        self._failed = trouble is not None


@asynccontextmanager
async def open_membership(
    storage: Storage, node: str, *, places: int | None = None
) -> AsyncIterator[Member | None]:
    """A member for as long as the block lasts, which then leaves at once; None for a store with one owner.

    ``places``: how many projects it can watch at a time; None where nothing limits them.
    Raises StoreError when it cannot join: the name is another agent's, for one.
    """
    if storage.membership is None:
        yield None
        return
    storage.membership.places = places
    member = Member(storage, storage.membership, node)
    await _first_join(member)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.live)
            nursery.start_soon(member.watch_lease)
            yield member
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), suppress(StoreError):
            await storage.run(Store.leave)


async def _first_join(member: Member) -> None:
    deadline = trio.current_time() + JOIN_S
    while True:
        try:
            return await member.join()
        except StoreError:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(RETRY_S)
