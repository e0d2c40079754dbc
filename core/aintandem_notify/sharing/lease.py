"""Being one of the agents that share a store: joined, renewed again and again, joined anew after a lapse."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from aintandem_notify import __version__, log
from aintandem_notify.config import Config
from aintandem_notify.errors import MembershipLost, StoreError
from aintandem_notify.orchestrator import UnwatchedProjects
from aintandem_notify.sharing.settings import configured_destinations
from aintandem_notify.sharing.waiting import wait_for_any
from aintandem_notify.store import Storage, Store
from aintandem_notify.store.sharing.membership import Membership, Peer

RENEW_INTERVAL_S: Final = 3.0
"""Seconds between two looks at the others, at each of which the own lease is renewed."""
RETRY_INTERVAL_S: Final = 1.0
"""Seconds until a database that does not answer is asked again, and whether a name is free."""
JOIN_TIMEOUT_S: Final = 15.0
"""How long a start waits for its name: the database may not have noticed yet that the last holder is gone."""
EXPIRY_MARGIN_S: Final = 0.05
"""How much later than a lease ends its end is looked for."""

_log = log.get_logger(__name__)


class LeaseHolder:
    """This agent among the others; made by ``open_membership``."""

    def __init__(self, storage: Storage, membership: Membership, node: str) -> None:
        self.storage = storage
        self.membership = membership
        self.node = node
        self.projects_hash = ""
        """A hash of what is to be watched; empty until that is known."""
        self.peers: Sequence[Peer] = ()
        """All that lived at the last look, this one included."""
        self.join_count = 0
        """How often it has joined; whatever belonged to an earlier membership is not this agent's any more."""
        self.unwatched: UnwatchedProjects | None = None
        """The wanted projects that no agent has a place for, at the last look; None where there are none."""
        self._updated = trio.Event()
        self._wake_up = trio.Event()
        self._failed = False
        self._salt = b""
        self._has_unpublished_destinations = False

    @property
    def is_valid(self) -> bool:
        """Whether nobody can have taken over what this agent has."""
        return self.membership.is_valid

    @property
    def updated(self) -> trio.Event:
        """Is set after the next look at the others, and when this agent is out."""
        return self._updated

    async def publish_destinations(self, config: Config, local: Mapping[str, bool]) -> None:
        """Tell the others which destinations this agent has; again after a reload.

        ``local``: the plugin types whose destinations can only be reached from this machine. Raises StoreError
        when it cannot be told for the first time; later it is told as soon as that is possible.
        """
        self._salt = self._salt or await self.storage.run(Store.salt)
        self.membership.destinations = configured_destinations(config, local, self._salt)
        self._has_unpublished_destinations = True
        with suppress(StoreError):
            await self.storage.run(self._renew)

    def set_projects_hash(self, projects_hash: str) -> None:
        """Tell the others what this agent wants to watch: a hash of it, empty while it knows of no project."""
        if projects_hash != self.projects_hash:
            self.projects_hash = projects_hash
            self._wake_up.set()

    async def join(self) -> None:
        """Raises StoreError: the database cannot be had, or another agent has the name."""
        await self.storage.run(
            lambda store: store.join(self.node, projects_hash=self.projects_hash, version=__version__)
        )
        self.join_count += 1
        self.peers = ()
        _log.info("joined the agents that share the store", store=self.storage.name, node=self.node)

    async def renew_forever(self) -> None:
        """Renew, bury the dead, join anew after a lapse; runs for ever."""
        while True:
            pause_s = RETRY_INTERVAL_S
            try:
                if self.membership.lost:
                    await self.join()
                removed, self.peers = await self.storage.run(self._renew)
            except MembershipLost as error:
                _log.warning("out of the agents that share the store, joining them anew", reason=str(error))
                pause_s = 0.0
            except StoreError as error:
                self._log_trouble(str(error))
            else:
                self._log_trouble(None)
                pause_s = self._next_pause_s(removed)
            self._notify_waiters()
            await self._sleep(pause_s)

    async def watch_lease(self) -> None:
        """Tell when the lease is over, though the database may not answer; runs for ever."""
        was_valid = True
        while True:
            if was_valid and not self.is_valid:
                _log.error("the lease on the store is over, reading and sending stop", store=self.storage.name)
                self._notify_waiters()
            was_valid = self.is_valid
            await trio.sleep(RETRY_INTERVAL_S / 2)

    def _renew(self, store: Store) -> tuple[int, Sequence[Peer]]:
        with store.transaction():
            self.membership.renew(self.projects_hash)
            if self._has_unpublished_destinations:
                self.membership.set_destinations(self.membership.destinations)
            removed, peers = self.membership.remove_expired(), self.membership.peers()
        self._has_unpublished_destinations = False
        return removed, peers

    def _next_pause_s(self, removed: int) -> float:
        if removed:
            _log.warning("agents that were not heard of any more are given up", agents=removed)
        # Nobody should wait longer for what a dead agent had than its lease lasts.
        expiries_s = [peer.lease_s + EXPIRY_MARGIN_S for peer in self.peers if peer.id != self.membership.id]
        return max(EXPIRY_MARGIN_S, min([RENEW_INTERVAL_S, *expiries_s]))

    async def _sleep(self, pause_s: float) -> None:
        await wait_for_any(self._wake_up, self.storage.membership_lost, within_s=pause_s)
        self._wake_up = trio.Event()

    def _notify_waiters(self) -> None:
        self._updated.set()
        self._updated = trio.Event()

    def _log_trouble(self, trouble: str | None) -> None:
        if trouble is not None and not self._failed:
            _log.error("the agents that share the store cannot be reached", reason=trouble)
        elif trouble is None and self._failed:
            _log.info("the agents that share the store are reached again")
        self._failed = trouble is not None


@asynccontextmanager
async def open_membership(
    storage: Storage, node: str, *, places: int | None = None
) -> AsyncIterator[LeaseHolder | None]:
    """A member for as long as the block lasts, which then leaves at once; None for a store with one owner.

    ``places``: how many projects it can watch at a time; None where nothing limits them.
    Raises StoreError when it cannot join: the name is another agent's, for one.
    """
    if storage.membership is None:
        yield None
        return
    storage.membership.places = places
    member = LeaseHolder(storage, storage.membership, node)
    await _join_with_retry(member)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.renew_forever)
            nursery.start_soon(member.watch_lease)
            yield member
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), suppress(StoreError):
            await storage.run(Store.leave)


async def _join_with_retry(member: LeaseHolder) -> None:
    deadline = trio.current_time() + JOIN_TIMEOUT_S
    while True:
        try:
            return await member.join()
        except StoreError:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(RETRY_INTERVAL_S)
