"""Agents that share projects over one real PostgreSQL; only leases are the database's, all waits are virtual."""

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


class Wires(Storage):
    """A store that cannot be reached while ``cut``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, inline=True)
        self.cut = False

    async def run(self, fn: Callable[[Store], T]) -> T:
        if self.cut:
            await trio.lowlevel.checkpoint()
            raise StoreError("the connection was lost")
        return await super().run(fn)


@dataclass
class Watching:
    """What the fleet of an agent is told."""

    wanted: set[str]
    held: set[str] = field(default_factory=set)
    forgotten: list[str] = field(default_factory=list)
    wanted_changed: trio.Event = field(default_factory=trio.Event)

    async def watch_only(self, ids: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.held = set(ids)

    async def forget(self, ids: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.forgotten += ids

    def want(self, ids: Collection[str]) -> None:
        self.wanted = set(ids)
        self.wanted_changed.set()
        self.wanted_changed = trio.Event()


@dataclass
class Agent:
    wires: Wires
    member: LeaseHolder
    watching: Watching

    def expire(self) -> None:
        """As far as the database can tell it is dead."""
        with self.wires._store.transaction(fenced=False):
            self.wires._store._connection.execute(
                text("UPDATE agents SET expires_at = 0 WHERE id = :me"), {"me": self.member.membership.id}
            )

    def lapse(self) -> None:
        """Its own clock says that its lease is over."""
        self.member.membership.clock = lambda: float("inf")


Open = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def agent(postgres_url: str, long_leases: float) -> Open:
    """One more agent that wants these projects, or, with other ``entries``, others."""

    @asynccontextmanager
    async def opened(
        name: str, wanted: Collection[str], entries: str = "all", places: int | None = None
    ) -> AsyncIterator[Agent]:
        store = Store(postgres_url)
        try:
            wires, watching = Wires(store), Watching(set(wanted))
            async with open_membership(wires, name, places=places) as member:
                assert member is not None
                async with open_sharing(
                    member, watching, forget=watching.forget, projects_hash=lambda: entries, clock=SetClock()
                ):
                    yield Agent(wires, member, watching)
        finally:
            store.close()

    return opened


PROJECTS = {f"p{n}" for n in range(7)}


async def test_one_agent_watches_all(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        assert one.watching.held == PROJECTS
        assert sorted(one.watching.forgotten) == sorted(PROJECTS)
        one.watching.want({"p1", "new"})
        await trio.sleep(1)
        assert one.watching.held == {"p1", "new"}


async def test_a_newcomer_gets_a_fair_share_and_leaves_it_behind(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        async with agent("two", PROJECTS) as two:
            await trio.sleep(20)
            assert len(two.watching.held) == 3
            assert one.watching.held == PROJECTS - two.watching.held
        assert two.watching.held == set()
        await trio.sleep(4)
        assert one.watching.held == PROJECTS


async def test_what_a_dead_agent_had_is_taken_over(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one, agent("two", PROJECTS) as two, agent("three", PROJECTS) as three:
        await trio.sleep(30)
        assert sorted(len(one.watching.held) for one in (one, two, three)) == [2, 2, 3]
        two.wires.cut = True
        two.expire()
        await trio.sleep(4)
        assert one.watching.held | three.watching.held == PROJECTS
        assert not one.watching.held & three.watching.held


async def test_an_agent_taken_for_dead_lets_go_and_comes_back(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        before = one.member.membership.id
        with capture_logs() as logs:
            one.expire()
            await trio.sleep(10)
        assert one.member.membership.id != before
        assert one.watching.held == PROJECTS
        assert len(one.watching.forgotten) == 2 * len(PROJECTS)
        assert "out of the agents that share the store, joining them anew" in [line["event"] for line in logs]


async def test_an_agent_that_cannot_reach_the_store_stops_when_its_lease_is_over(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        one.wires.cut = True
        await trio.sleep(5)
        assert one.watching.held == PROJECTS
        assert one.wires.may_send
        one.lapse()
        await trio.sleep(1)
        assert one.watching.held == set()
        assert not one.wires.may_send
        one.wires.cut = False
        one.member.membership.clock = trio.current_time
        await trio.sleep(5)
        assert one.watching.held == PROJECTS
        assert one.wires.may_send


async def test_what_nobody_takes_is_anyones_and_is_kept(agent: Open, autojump_clock: MockClock) -> None:
    """The other one looks as if it wanted the same, and does not."""
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        async with agent("other", {"elsewhere"}):
            await trio.sleep(40)
            assert one.watching.held == PROJECTS
            forgotten = len(one.watching.forgotten)
            await trio.sleep(GIVE_COOLDOWN_S - 60)
            assert len(one.watching.forgotten) == forgotten


async def test_what_an_agent_has_no_place_for_is_watched_by_another(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("few", PROJECTS, places=2) as few:
        await trio.sleep(1)
        assert len(few.watching.held) == 2
        async with agent("one", PROJECTS) as one:
            await trio.sleep(1)
            assert one.watching.held == PROJECTS - few.watching.held
            async with agent("two", PROJECTS) as two:
                await trio.sleep(20)
                held = [other.watching.held for other in (few, one, two)]
                assert sorted(map(len, held)) == [2, 2, 3]
                assert set().union(*held) == PROJECTS
                before = [len(other.watching.forgotten) for other in (few, one, two)]
                await trio.sleep(2 * GIVE_COOLDOWN_S)
                assert [len(other.watching.forgotten) for other in (few, one, two)] == before


async def test_what_no_agent_has_a_place_for_is_said_once_and_taken_as_soon_as_there_is_room(
    agent: Open, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with agent("few", PROJECTS, places=2) as few, agent("some", PROJECTS, places=3) as some:
            await trio.sleep(GIVE_COOLDOWN_S)
            assert (len(few.watching.held), len(some.watching.held)) == (2, 3)
            assert few.member.unwatched == some.member.unwatched == UnwatchedProjects(2, NOW)
            async with agent("more", PROJECTS, places=4) as more:
                await trio.sleep(1)
                assert more.watching.held == PROJECTS - few.watching.held - some.watching.held
                await trio.sleep(10)
                assert [one.member.unwatched for one in (few, some, more)] == [None, None, None]
            few.watching.want(PROJECTS - {"p1"})
            some.watching.want(PROJECTS - {"p1"})
            await trio.sleep(20)
            assert few.member.unwatched == some.member.unwatched == UnwatchedProjects(1, NOW)
    said = [line for line in logs if line["event"] == "some projects are watched by no agent"]
    assert [line["projects"] for line in said] == [2, 2, 1, 1]
    assert [line["event"] for line in logs].count("every project is watched by an agent again") == 2


async def test_an_agent_started_again_with_fewer_places_gives_the_rest_away(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        one.wires.cut = True  # so that it cannot leave in good order
        one.member.membership.connection.connection.close()
    async with agent("one", PROJECTS, places=3) as again:
        await trio.sleep(1)
        assert sorted(again.watching.forgotten) == sorted(PROJECTS)  # all were its own again
        assert len(again.watching.held) == 3
        async with agent("two", PROJECTS) as two:
            await trio.sleep(1)
            assert two.watching.held == PROJECTS - again.watching.held


async def test_agents_that_want_other_things_do_not_share(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one, agent("two", {"p1", "x"}, entries="some") as two:
        await trio.sleep(20)
        assert one.watching.held == PROJECTS
        assert two.watching.held == {"x"}


async def test_an_agent_that_knows_of_no_project_yet_takes_none_away(
    agent: Open, autojump_clock: MockClock
) -> None:
    async with agent("one", PROJECTS) as one, agent("two", ()) as two:
        await trio.sleep(20)
        assert one.watching.held == PROJECTS
        two.watching.want(PROJECTS)
        await trio.sleep(20)
        assert len(two.watching.held) == 3


async def test_many_projects_are_taken_in_portions(agent: Open, autojump_clock: MockClock) -> None:
    many = {f"project {n}" for n in range(12_345)}
    async with agent("one", many) as one:
        await trio.sleep(5)
        assert one.watching.held == many


async def test_a_commit_in_doubt_is_looked_after(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        with one.wires._store.transaction():
            one.member.membership.release_projects(["p1"])  # as if it had been, before the answer was lost
        one.wires.cut = True
        await trio.sleep(4)
        one.wires.cut = False
        await trio.sleep(10)
        assert one.watching.held == PROJECTS
        with one.wires._store.transaction():
            assert one.member.membership.owned_projects() == PROJECTS


async def test_what_was_taken_unknowingly_is_forgotten_first(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS) as one:
        await trio.sleep(1)
        one.wires.cut = True
        one.watching.want(PROJECTS)
        await trio.sleep(2)
        one.member.membership.projects = PROJECTS - {"p1"}  # another had it, and the answer to our taking was lost
        one.watching.forgotten.clear()
        one.wires.cut = False
        await trio.sleep(10)
        assert one.watching.held == PROJECTS
        assert one.watching.forgotten == ["p1"]


async def test_a_name_that_is_taken_is_waited_for_and_then_refused(agent: Open, autojump_clock: MockClock) -> None:
    async with agent("one", PROJECTS):
        with pytest.raises(StoreError, match="another agent called"):
            async with agent("one", PROJECTS):
                raise AssertionError("there are two of one name")
        assert trio.current_time() >= JOIN_TIMEOUT_S


async def test_a_store_with_one_owner_has_no_members() -> None:
    watching = Watching({"p"}, {"p"})
    async with memory() as storage, open_membership(storage, "one") as member:
        assert member is None
        async with open_sharing(
            member, watching, forget=watching.forget, projects_hash=lambda: "", clock=SetClock()
        ):
            assert watching.held == {"p"}
        assert storage.may_send
