"""Agents that share projects on one real PostgreSQL. Leases use the database's clock; all waits are virtual."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
import trio
from sqlalchemy import text
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.errors import StoreError
from aintandem_notify.orchestrator import UnwatchedProjects
from aintandem_notify.sharing import LeaseHolder, open_membership, open_sharing
from aintandem_notify.sharing.balance import GIVE_COOLDOWN_S
from aintandem_notify.sharing.lease import JOIN_TIMEOUT_S
from aintandem_notify.store import Storage, Store
from support.outbox import NOW, SetClock, memory

T = TypeVar("T")


class BreakableStorage(Storage):
    """A store that cannot be reached while ``cut`` is set."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, inline=True)
        self.cut = False

    async def run(self, fn: Callable[[Store], T]) -> T:
        if self.cut:
            await trio.lowlevel.checkpoint()
            raise StoreError("the connection was lost")
        return await super().run(fn)


@dataclass
class FakeWatcher:
    """Records the calls that an agent's fleet would get."""

    wanted: set[str]
    watched: set[str] = field(default_factory=set)
    forgotten: list[str] = field(default_factory=list)
    wanted_changed: trio.Event = field(default_factory=trio.Event)

    async def watch_only(self, ids: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.watched = set(ids)

    async def forget(self, ids: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.forgotten += ids

    def set_wanted(self, ids: Collection[str]) -> None:
        self.wanted = set(ids)
        self.wanted_changed.set()
        self.wanted_changed = trio.Event()


@dataclass
class Agent:
    storage: BreakableStorage
    member: LeaseHolder
    watcher: FakeWatcher

    def expire(self) -> None:
        """Ends the agent's lease in the database."""
        with self.storage._store.transaction(fenced=False):
            self.storage._store._connection.execute(
                text("UPDATE agents SET expires_at = 0 WHERE id = :me"), {"me": self.member.membership.id}
            )

    def lapse(self) -> None:
        """Ends the agent's lease by its own clock."""
        self.member.membership.clock = lambda: float("inf")


Open = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def agent(postgres_url: str, long_leases: float) -> Open:
    """Opens an agent that wants these projects; agents share projects if their ``projects_hash`` is equal."""

    @asynccontextmanager
    async def open_agent(
        name: str, wanted: Collection[str], projects_hash: str = "all", places: int | None = None
    ) -> AsyncIterator[Agent]:
        store = Store(postgres_url)
        try:
            storage, watcher = BreakableStorage(store), FakeWatcher(set(wanted))
            async with open_membership(storage, name, places=places) as member:
                assert member is not None
                async with open_sharing(
                    member, watcher, forget=watcher.forget, projects_hash=lambda: projects_hash, clock=SetClock()
                ):
                    yield Agent(storage, member, watcher)
        finally:
            store.close()

    return open_agent


PROJECTS = {f"p{n}" for n in range(7)}


async def test_one_agent_watches_all(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        assert first.watcher.watched == PROJECTS
        assert sorted(first.watcher.forgotten) == sorted(PROJECTS)
        first.watcher.set_wanted({"p1", "new"})
        await trio.sleep(1)
        assert first.watcher.watched == {"p1", "new"}


async def test_a_new_agent_gets_its_share_and_releases_it_when_it_leaves(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        async with agent("two", PROJECTS) as second:
            await trio.sleep(20)
            assert len(second.watcher.watched) == 3
            assert first.watcher.watched == PROJECTS - second.watcher.watched
        assert second.watcher.watched == set()
        await trio.sleep(4)
        assert first.watcher.watched == PROJECTS


async def test_projects_of_a_dead_agent_are_taken_over(agent: Open, autojump_clock: MockClock) -> None:
    async with (
        agent("one", PROJECTS) as first,
        agent("two", PROJECTS) as second,
        agent("three", PROJECTS) as third,
    ):
        await trio.sleep(30)
        assert sorted(len(each.watcher.watched) for each in (first, second, third)) == [2, 2, 3]
        second.storage.cut = True
        second.expire()
        await trio.sleep(4)
        assert first.watcher.watched | third.watcher.watched == PROJECTS
        assert not first.watcher.watched & third.watcher.watched


async def test_an_agent_considered_dead_stops_and_joins_again(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        before = first.member.membership.id
        with capture_logs() as logs:
            first.expire()
            await trio.sleep(10)
        assert first.member.membership.id != before
        assert first.watcher.watched == PROJECTS
        assert len(first.watcher.forgotten) == 2 * len(PROJECTS)
        assert "lost the membership of the agents that share the store, joining them again" in [
            line["event"] for line in logs
        ]


async def test_an_agent_that_cannot_reach_the_store_stops_when_its_lease_is_over(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        first.storage.cut = True
        await trio.sleep(5)
        assert first.watcher.watched == PROJECTS
        assert first.storage.membership.may_send
        first.lapse()
        await trio.sleep(1)
        assert first.watcher.watched == set()
        assert not first.storage.membership.may_send
        first.storage.cut = False
        first.member.membership.clock = trio.current_time
        await trio.sleep(5)
        assert first.watcher.watched == PROJECTS
        assert first.storage.membership.may_send


async def test_projects_that_stay_free_are_taken_by_any_agent_and_kept(
    agent: Open, autojump_clock: MockClock
) -> None:
    """The other agent has the same hash but wants another project."""
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        async with agent("other", {"elsewhere"}):
            await trio.sleep(40)
            assert first.watcher.watched == PROJECTS
            forgotten = len(first.watcher.forgotten)
            await trio.sleep(GIVE_COOLDOWN_S - 60)
            assert len(first.watcher.forgotten) == forgotten


async def test_projects_that_an_agent_has_no_place_for_are_watched_by_another(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("few", PROJECTS, places=2) as few:
        await trio.sleep(1)
        assert len(few.watcher.watched) == 2
        async with agent("one", PROJECTS) as first:
            await trio.sleep(1)
            assert first.watcher.watched == PROJECTS - few.watcher.watched
            async with agent("two", PROJECTS) as second:
                await trio.sleep(20)
                watched = [other.watcher.watched for other in (few, first, second)]
                assert sorted(map(len, watched)) == [2, 2, 3]
                assert set().union(*watched) == PROJECTS
                before = [len(other.watcher.forgotten) for other in (few, first, second)]
                await trio.sleep(2 * GIVE_COOLDOWN_S)
                assert [len(other.watcher.forgotten) for other in (few, first, second)] == before


async def test_projects_without_a_place_are_logged_once_and_taken_as_soon_as_there_is_room(
    agent: Open, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with agent("few", PROJECTS, places=2) as few, agent("some", PROJECTS, places=3) as several:
            await trio.sleep(GIVE_COOLDOWN_S)
            assert (len(few.watcher.watched), len(several.watcher.watched)) == (2, 3)
            assert few.member.unwatched == several.member.unwatched == UnwatchedProjects(2, NOW)
            async with agent("more", PROJECTS, places=4) as more:
                await trio.sleep(1)
                assert more.watcher.watched == PROJECTS - few.watcher.watched - several.watcher.watched
                await trio.sleep(10)
                assert [each.member.unwatched for each in (few, several, more)] == [None, None, None]
            few.watcher.set_wanted(PROJECTS - {"p1"})
            several.watcher.set_wanted(PROJECTS - {"p1"})
            await trio.sleep(20)
            assert few.member.unwatched == several.member.unwatched == UnwatchedProjects(1, NOW)
    warnings = [line for line in logs if line["event"] == "some projects are watched by no agent"]
    assert [line["projects"] for line in warnings] == [2, 2, 1, 1]
    assert [line["event"] for line in logs].count("every project is watched by an agent again") == 2


async def test_an_agent_restarted_with_fewer_places_gives_projects_away(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        first.storage.cut = True  # so that it cannot leave
        first.member.membership.connection.connection.close()
    async with agent("one", PROJECTS, places=3) as again:
        await trio.sleep(1)
        assert sorted(again.watcher.forgotten) == sorted(PROJECTS)  # all projects were its own again
        assert len(again.watcher.watched) == 3
        async with agent("two", PROJECTS) as second:
            await trio.sleep(1)
            assert second.watcher.watched == PROJECTS - again.watcher.watched


async def test_agents_with_other_projects_do_not_share(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as first, agent("two", {"p1", "x"}, projects_hash="some") as second:
        await trio.sleep(20)
        assert first.watcher.watched == PROJECTS
        assert second.watcher.watched == {"x"}


async def test_an_agent_that_knows_of_no_project_yet_takes_none_away(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as first, agent("two", ()) as second:
        await trio.sleep(20)
        assert first.watcher.watched == PROJECTS
        second.watcher.set_wanted(PROJECTS)
        await trio.sleep(20)
        assert len(second.watcher.watched) == 3


async def test_many_projects_are_taken_in_batches(agent: Open, autojump_clock: MockClock) -> None:
    many = {f"project {n}" for n in range(12_345)}
    async with agent("one", many) as first:
        await trio.sleep(5)
        assert first.watcher.watched == many


async def test_projects_are_read_again_after_an_uncertain_commit(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        with first.storage._store.transaction():
            # As if an earlier release had been stored, but its answer lost.
            first.member.membership.release_projects(["p1"])
        first.storage.cut = True
        await trio.sleep(4)
        first.storage.cut = False
        await trio.sleep(10)
        assert first.watcher.watched == PROJECTS
        with first.storage._store.transaction():
            assert first.member.membership.owned_projects() == PROJECTS


async def test_projects_taken_by_an_uncertain_commit_are_forgotten_first(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as first:
        await trio.sleep(1)
        first.storage.cut = True
        first.watcher.set_wanted(PROJECTS)
        await trio.sleep(2)
        first.member.membership.projects = PROJECTS - {"p1"}  # as if p1 was acquired, but the answer lost
        first.watcher.forgotten.clear()
        first.storage.cut = False
        await trio.sleep(10)
        assert first.watcher.watched == PROJECTS
        assert first.watcher.forgotten == ["p1"]


async def test_a_name_that_is_taken_is_waited_for_and_then_refused(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS):
        with pytest.raises(StoreError, match="another agent called"):
            async with agent("one", PROJECTS):
                raise AssertionError("there are two of one name")
        assert trio.current_time() >= JOIN_TIMEOUT_S


async def test_a_store_with_one_owner_has_no_members() -> None:
    watcher = FakeWatcher({"p"}, {"p"})
    async with memory() as storage, open_membership(storage, "one") as member:
        assert member is None
        async with open_sharing(
            member, watcher, forget=watcher.forget, projects_hash=lambda: "", clock=SetClock()
        ):
            assert watcher.watched == {"p"}
        assert storage.membership.may_send
