"""Keeps this agent's membership in a shared store: joins, renews the lease, and joins again after losing it."""

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
"""Seconds between two renewals of the lease; each also reads the other agents."""
RETRY_INTERVAL_S: Final = 1.0
"""Seconds after a failed renewal, or a failed try to join, until the next try."""
JOIN_TIMEOUT_S: Final = 15.0
"""Seconds that a start waits for its name, since the database may notice late that the last holder is gone."""
EXPIRY_MARGIN_S: Final = 0.05
"""Seconds after the end of another agent's lease at which it is checked."""

_log = log.get_logger(__name__)


class LeaseHolder:
    """Renews this agent's lease and keeps the list of members; made by ``open_membership``."""

    def __init__(self, storage: Storage, membership: Membership, node: str) -> None:
        self.storage = storage
        self.membership = membership
        self.node = node
        self.projects_hash: str = ""
        """A hash of the configured projects; empty while no project is known."""
        self.peers: Sequence[Peer] = ()
        """The members at the last renewal, this agent included."""
        self.join_count: int = 0
        """Number of joins; projects of an earlier membership may belong to others by now."""
        self.unwatched: UnwatchedProjects | None = None
        """The wanted projects that no agent has a place for, in the last round; None if there are none."""
        self._updated = trio.Event()
        self._wake_up = trio.Event()
        self._failed = False
        self._salt = b""
        self._has_unpublished_destinations = False

    @property
    def is_valid(self) -> bool:
        """Whether no other agent can have taken over this agent's projects and claims."""
        return self.membership.is_valid

    @property
    def updated(self) -> trio.Event:
        """Set after each renewal or failed try, and when the lease ends; then a new event takes its place."""
        return self._updated

    async def publish_destinations(self, config: Config, local: Mapping[str, bool]) -> None:
        """Publishes this agent's destinations to the others; called again after a reload.

        ``local``: whether only this machine can reach a destination, by plugin type. Raises StoreError if the salt
        cannot be read the first time. If publishing fails, the next successful renewal publishes them.
        """
        self._salt = self._salt or await self.storage.run(Store.salt)
        self.membership.destinations = configured_destinations(config, local, self._salt)
        self._has_unpublished_destinations = True
        with suppress(StoreError):
            await self.storage.run(self._renew)

    def set_projects_hash(self, projects_hash: str) -> None:
        """Publishes the hash of the configured projects with the next renewal; empty while no project is known."""
        if projects_hash != self.projects_hash:
            self.projects_hash = projects_hash
            self._wake_up.set()

    async def join(self) -> None:
        """Joins the other agents. Raises StoreError if the database fails, or another agent has the name."""
        await self.storage.run(
            lambda store: store.join(self.node, projects_hash=self.projects_hash, version=__version__)
        )
        self.join_count += 1
        self.peers = ()
        _log.info("joined the agents that share the store", store=self.storage.name, node=self.node)

    async def renew_forever(self) -> None:
        """Renews the lease, removes expired agents, and joins again after losing the membership; runs for ever."""
        while True:
            pause_s = RETRY_INTERVAL_S
            try:
                if self.membership.lost:
                    await self.join()
                removed, self.peers = await self.storage.run(self._renew)
            except MembershipLost as error:
                _log.warning(
                    "lost the membership of the agents that share the store, joining them again", reason=str(error)
                )
                pause_s = 0.0
            except StoreError as error:
                self._log_trouble(str(error))
            else:
                self._log_trouble(None)
                pause_s = self._next_pause_s(removed)
            self._notify_waiters()
            await self._sleep(pause_s)

    async def watch_lease(self) -> None:
        """Notifies waiters at the end of the lease, even while the database does not answer; runs for ever."""
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
            _log.warning("removed agents whose lease ended", agents=removed)
        # The projects and claims of a dead agent should be released as soon as its lease ends.
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
    """Joins the agents of a shared store for the duration of the block; yields None for a store with one owner.

    ``places``: how many projects this agent can watch at a time; None without a limit.
    Raises StoreError when it cannot join, for example because another agent has the name.
    """
    if not isinstance(storage.membership, Membership):
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
