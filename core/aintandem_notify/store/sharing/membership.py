"""An agent as the owner of its store, alone or as a member of a group. SQL for PostgreSQL only.

A member joins, renews its lease, and owns projects. Its row in ``agents`` is its fence: every transaction begins
by checking it. Any agent that finds the row expired deletes it and releases its projects and claims. After that no
transaction of the expired agent succeeds. Times are the database's.

An advisory lock of the session holds the agent's name (``node``). A restarted agent takes its projects and claims
back at once, and a second agent of the same name is refused. ``sharing.lease`` renews the lease at intervals.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Never
from uuid import uuid4

from sqlalchemy import ARRAY, Connection, TextClause, bindparam, text
from sqlalchemy.types import Text

from aintandem_notify.errors import MembershipLost, StoreError

LEASE_S: Final = 10.0
"""Seconds after its last renewal until an agent is considered dead."""

MAX_BATCH: Final = 5000
"""Projects in one statement."""

MAX_PLACES: Final = 2**31 - 1
"""The maximum of the column ``places``; a system may allow more open files than that."""

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _text_array(name: str) -> Any:
    return bindparam(name, type_=ARRAY(Text))


def _sql(statement: str, *arrays: str) -> TextClause:
    return text(statement.replace("{now}", _NOW)).bindparams(*map(_text_array, arrays))


_CHECK_FENCE: Final = _sql("SELECT expires_at > {now}, {now} FROM agents WHERE id = :me FOR KEY SHARE")
_LOCK_NAME: Final = _sql("SELECT pg_try_advisory_lock(:key)")
_RENEW_LEASE: Final = _sql(
    "UPDATE agents SET expires_at = {now} + :lease, projects = :projects, entries = :projects_hash"
    " WHERE id = :me AND expires_at > {now}"
)
_INSERT_AGENT: Final = _sql(
    "INSERT INTO agents (id, node, entries, version, projects, places, started_at, expires_at)"
    " VALUES (:me, :node, :projects_hash, :version, 0, :places, {now}, {now} + :lease)"
)
_PEERS: Final = _sql(
    "SELECT id, entries, projects, expires_at - {now}, node, version, places FROM agents ORDER BY id"
)
_EXPIRED: Final = _sql("SELECT id FROM agents WHERE expires_at <= {now} AND id <> :me FOR UPDATE SKIP LOCKED")
_SAME_NODE: Final = _sql("SELECT id FROM agents WHERE node = :node FOR UPDATE")
_DELETE_AGENTS: Final = _sql("DELETE FROM agents WHERE id = ANY(:ids)", "ids")
_DELETE_DESTINATIONS: Final = _sql("DELETE FROM agent_destinations WHERE agent_id = ANY(:ids)", "ids")
_FREE_PROJECTS: Final = _sql("UPDATE projects SET owner = :new_owner WHERE owner = ANY(:ids)", "ids")
_FREE_CLAIMS: Final = _sql("UPDATE deliveries SET claimed_by = NULL WHERE claimed_by = ANY(:ids)", "ids")
_ADD_DESTINATIONS: Final = _sql(
    "INSERT INTO agent_destinations (agent_id, destination, variant)"
    " SELECT :me, name, variant FROM unnest(:names, :variants) AS mine(name, variant)",
    "names",
    "variants",
)
_ADD_PROJECTS: Final = _sql(
    "INSERT INTO projects (id, seen_until) SELECT unnest(:ids), 0 ON CONFLICT (id) DO NOTHING", "ids"
)
_OWNED_PROJECTS: Final = _sql("SELECT id FROM projects WHERE owner = :me")
_UNOWNED: Final = "SELECT id FROM projects WHERE owner IS NULL AND id > :after ORDER BY id LIMIT :limit"
_UNOWNED_PROJECTS: Final = {False: _sql(_UNOWNED), True: _sql(f"{_UNOWNED} FOR UPDATE SKIP LOCKED")}
_ACQUIRE_PROJECTS: Final = _sql(
    "UPDATE projects SET owner = :me WHERE id = ANY(:ids) AND owner IS NULL RETURNING id", "ids"
)
_RELEASE_PROJECTS: Final = _sql("UPDATE projects SET owner = NULL WHERE id = ANY(:ids) AND owner = :me", "ids")


@dataclass(frozen=True, slots=True)
class Peer:
    """A member that no agent has removed yet, this one included.

    ``projects_hash``: a hash of its configured projects; ``projects``: how many it owned at its last renewal;
    ``lease_s``: seconds until it is considered dead, negative after that; ``node``: its name; ``places``: how many
    projects it can watch, None without a limit.
    """

    id: str
    projects_hash: str
    projects: int
    lease_s: float
    node: str
    version: str
    places: int | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since its last renewal."""
        return LEASE_S - self.lease_s


@dataclass(frozen=True, slots=True)
class ConfiguredDestination:
    """A destination of this agent.

    ``variant``: a hash of its settings; ``local``: whether only this machine can reach it.
    """

    variant: str
    local: bool = False


class SoleOwner:
    """An agent that shares its store with no other; ``Membership`` overrides this for one that may."""

    id: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether this agent has joined the agents of a shared store."""
        return False

    @property
    def may_send(self) -> bool:
        """Whether no other agent can have taken over this agent's claims."""
        return True

    def fence(self) -> None:
        """Locks this agent's row until the transaction ends; raises MembershipLost if it expired or is gone."""

    def peers(self) -> Sequence[Peer]:
        """All members that no agent has removed yet, ordered by id."""
        return ()

    def owns(self, project_id: str) -> bool:  # noqa: ARG002
        """Whether this agent may store the project's events."""
        return True

    def placement(self, destination: str) -> tuple[str | None, str | None]:  # noqa: ARG002
        """The hash of the settings and the only agent that a delivery to it is meant for; None for any."""
        return None, None

    def variant(self, destination: str) -> str:  # noqa: ARG002
        """The hash of the destination's settings; empty if the store is not shared, or it is not configured."""
        return ""

    def now(self, fallback: datetime) -> datetime:
        """In a shared store, the database's time at the start of the transaction; else ``fallback``."""
        return fallback


@dataclass(slots=True)
class Membership(SoleOwner):
    """This agent's membership in a shared store; its methods are called inside a transaction of ``Store``.

    ``id`` is None while the agent is no member. An agent that never joined is not fenced. Commands never join, so
    they may read and write at any time.
    """

    connection: Connection
    clock: Callable[[], float] = time.monotonic
    id: str | None = None
    node: str = ""
    destinations: Mapping[str, ConfiguredDestination] = field(default_factory=dict)
    projects: set[str] = field(default_factory=set)
    """The projects of this agent, as in the store: no other agent changes them while this one is a member."""
    places: int | None = None
    """Number of projects that it can watch, published when it joins; None without a limit."""
    lost: bool = False
    """Whether it lost or left its membership: no transaction succeeds until it has joined again."""
    _now: datetime | None = None
    _session: object = None
    _valid_until: float = 0.0

    @property
    def is_shared(self) -> bool:
        return self.id is not None

    @property
    def may_send(self) -> bool:
        """Also true before this agent has joined."""
        return not (self.id or self.lost) or self.is_valid

    def owns(self, project_id: str) -> bool:
        return self.id is None or project_id in self.projects

    def now(self, fallback: datetime) -> datetime:
        return self._now or fallback

    @property
    def is_valid(self) -> bool:
        """Whether no other agent can have taken over this agent's projects and claims."""
        return self.id is not None and self.clock() < self._valid_until

    def join(self, node: str, *, projects_hash: str, version: str) -> None:
        """Joins under the name ``node`` and takes over the projects of an earlier agent of this name.

        Raises StoreError while another agent has that name.
        """
        self.mark_left()
        self._session = None
        if not self._lock_name(node):
            raise StoreError(f'another agent called "{node}" shares this store; give each its own [agent] name')
        me, started_at = uuid4().hex, self.clock()
        predecessors = self._run(_SAME_NODE, node=node).scalars().all()
        self._remove(predecessors, new_owner=me)
        places = None if self.places is None else min(self.places, MAX_PLACES)
        lease = _seconds_to_microseconds(LEASE_S)
        self._run(
            _INSERT_AGENT,
            me=me,
            node=node,
            projects_hash=projects_hash,
            version=version,
            places=places,
            lease=lease,
        )
        self._add_destinations(me)
        self.projects = set(self._run(_OWNED_PROJECTS, me=me).scalars())
        self.id, self.lost, self.node, self._valid_until = me, False, node, started_at + LEASE_S

    def fence(self) -> None:
        if self.id is None:
            if self.lost:
                self._raise_lost()
            return
        if self._session is not self._driver() and not self._lock_name(self.node):
            self._raise_lost()
        row = self._run(_CHECK_FENCE, me=self.id).one_or_none()
        if row is None or not row[0]:
            self._raise_lost()
        self._now = _EPOCH + timedelta(microseconds=row[1])

    def renew(self, projects_hash: str) -> None:
        """Extends the lease and publishes ``projects_hash``. Raises MembershipLost if the lease has expired."""
        started_at = self.clock()
        lease, count = _seconds_to_microseconds(LEASE_S), len(self.projects)
        result = self._run(_RENEW_LEASE, me=self.id, lease=lease, projects=count, projects_hash=projects_hash)
        if result.rowcount == 0:
            self._raise_lost()
        self._valid_until = started_at + LEASE_S

    def peers(self) -> list[Peer]:
        rows = self._run(_PEERS)
        return [
            Peer(agent_id, projects_hash, count, lease_us / 1e6, *names)
            for agent_id, projects_hash, count, lease_us, *names in rows
        ]

    def remove_expired(self) -> int:
        """Removes the agents whose lease expired and releases their projects and claims. Returns their number."""
        dead = self._run(_EXPIRED, me=self.id or "").scalars().all()
        self._remove(dead, new_owner=None)
        return len(dead)

    def leave(self) -> None:
        """Removes this agent and releases its projects and claims at once."""
        if self.id is not None:
            self._remove([self.id], new_owner=None)

    def mark_left(self) -> None:
        """Records, in memory only, that this agent is no member any more."""
        self.id, self.lost = None, True
        self.projects = set()

    def set_destinations(self, destinations: Mapping[str, ConfiguredDestination]) -> None:
        """Replaces the published destinations of this agent."""
        self.destinations = destinations
        if self.id is not None:
            self._run(_DELETE_DESTINATIONS, ids=[self.id])
            self._add_destinations(self.id)

    def placement(self, destination: str) -> tuple[str | None, str | None]:
        destination_settings = self.destinations.get(destination)
        if destination_settings is None:
            return None, None
        return destination_settings.variant, self.node if destination_settings.local else None

    def variant(self, destination: str) -> str:
        destination_settings = self.destinations.get(destination)
        return destination_settings.variant if destination_settings else ""

    def add_projects(self, ids: Sequence[str]) -> None:
        """Inserts rows for the projects, so that agents can own them."""
        for batch in _batches(ids):
            self._run(_ADD_PROJECTS, ids=batch)

    def free_projects(self, after: str, limit: int = MAX_BATCH, *, lock: bool = True) -> list[str]:
        """Up to ``limit`` projects without an owner, in the order of their ids, after the id ``after``.

        With ``lock`` they are locked for this transaction, and those that others have locked are omitted.
        """
        return list(self._run(_UNOWNED_PROJECTS[lock], after=after, limit=limit).scalars())

    def acquire_projects(self, ids: Sequence[str]) -> set[str]:
        """Makes this agent the owner of those projects in ``ids`` that have none. Returns them."""
        return {
            project_id
            for batch in _batches(ids)
            for project_id in self._run(_ACQUIRE_PROJECTS, me=self.id, ids=batch).scalars()
        }

    def release_projects(self, ids: Sequence[str]) -> None:
        """Ends this agent's ownership of these projects."""
        for batch in _batches(ids):
            self._run(_RELEASE_PROJECTS, me=self.id, ids=batch)

    def owned_projects(self) -> set[str]:
        """The projects that this agent owns according to the store."""
        return set(self._run(_OWNED_PROJECTS, me=self.id).scalars())

    def _remove(self, ids: Sequence[str], new_owner: str | None) -> None:
        if not ids:
            return
        # Many thousand projects and claims need more time than the usual statement timeout allows.
        self.connection.exec_driver_sql("SET LOCAL statement_timeout = '60s'")
        self._run(_DELETE_AGENTS, ids=list(ids))
        self._run(_DELETE_DESTINATIONS, ids=list(ids))
        self._run(_FREE_PROJECTS, ids=list(ids), new_owner=new_owner)
        self._run(_FREE_CLAIMS, ids=list(ids))

    def _add_destinations(self, me: str) -> None:
        names = list(self.destinations)
        variants = [self.destinations[name].variant for name in names]
        self._run(_ADD_DESTINATIONS, me=me, names=names, variants=variants)

    def _lock_name(self, node: str) -> bool:
        is_locked: bool = self._run(_LOCK_NAME, key=_lock_key(node)).scalar_one()
        if is_locked:
            self._session = self._driver()
        return is_locked

    def _raise_lost(self) -> Never:
        self.mark_left()
        raise MembershipLost("its lease ran out; other agents may have taken over its projects and deliveries")

    def _driver(self) -> object:
        return self.connection.connection.driver_connection

    def _run(self, statement: TextClause, **values: Any) -> Any:
        return self.connection.execute(statement, values)


def _batches(ids: Sequence[str]) -> Iterable[list[str]]:
    return (list(ids[start : start + MAX_BATCH]) for start in range(0, len(ids), MAX_BATCH))


def _seconds_to_microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _lock_key(node: str) -> int:
    """The advisory lock's key for a name: a signed 64-bit number."""
    digest = blake2b(node.encode("utf-8", "replace"), digest_size=8, person=b"agent").digest()
    return int.from_bytes(digest, "big", signed=True)
