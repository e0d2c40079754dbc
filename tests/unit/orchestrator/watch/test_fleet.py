"""The fleet watches the right projects, and each of them fails alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import MAX_NAME_CHARACTERS
from aintandem_notify.errors import ConfigError, HttpFailed, Problem
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.rest.records import ProjectList, ProjectRecord
from aintandem_notify.orchestrator.watch.fleet import Fleet, Watcher, resolve, run_fleet
from aintandem_notify.orchestrator.watch.status import DiscoveryStatus, ProjectStatus, StatusObserver
from support.trio_clock import TrioClock

CONNECTION = ConnectionConfig()


def entry(project_id: str, name: str | None = None) -> ProjectConfig:
    return ProjectConfig(id=project_id, name=name)


def record(project_id: str, name: str | None = None) -> ProjectRecord:
    return ProjectRecord(id=project_id, name=name)


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ([entry("a")], {"a": "Alpha"}),
        ([entry("a", "Mine")], {"a": "Mine"}),
        ([entry("nowhere")], {"nowhere": "nowhere"}),
        ([entry("*")], {"a": "Alpha", "sales-1": "sales-1", "sales-2": "Two"}),
        ([entry("sales-*")], {"sales-1": "sales-1", "sales-2": "Two"}),
        ([entry("SALES-*")], {}),
        ([entry("*"), entry("a", "Mine")], {"a": "Mine", "sales-1": "sales-1", "sales-2": "Two"}),
        ([entry("a", "Mine"), entry("*")], {"a": "Mine", "sales-1": "sales-1", "sales-2": "Two"}),
        ([entry("sales-[12]"), entry("sales-*")], {"sales-1": "sales-1", "sales-2": "Two"}),
        ([], {}),
    ],
)
def test_watched_projects_and_their_names(entries: Sequence[ProjectConfig], names: dict[str, str]) -> None:
    listed = [record("a", "Alpha"), record("sales-1"), record("sales-2", "Two")]
    assert {project.id: project.name for project in resolve(entries, listed).values()} == names


@pytest.mark.parametrize("meant", ["p", "*"])
def test_a_name_of_megabytes_is_cut_for_each_notification_has_it(meant: str) -> None:
    (project,) = resolve([entry(meant)], [record("p", "token=namecanary01 " * 100_000)]).values()
    assert len(project.name) <= MAX_NAME_CHARACTERS
    assert "namecanary01" not in project.name


@dataclass
class World:
    """The listed and the watched projects; ``listing`` fails while it is None."""

    listing: list[ProjectRecord] | None = field(default_factory=list)
    is_whole: bool = True
    watches_well: bool = True
    lists_take: float = 0.0
    lookups: list[float] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    watched: dict[str, Project] = field(default_factory=dict)
    observers: dict[str, StatusObserver] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    ending_takes: float = 0.0
    prepared: list[ConnectionConfig] = field(default_factory=list)

    @cached_property
    def clock(self) -> TrioClock:
        return TrioClock()

    def observe(self, project_id: str, state: ConnectionState) -> None:
        project = Project(id=project_id, name=project_id)
        self.observers[project_id](ProjectStatus(project, state, self.clock.now()))

    async def list_projects(self) -> ProjectList:
        self.lookups.append(trio.current_time())
        await trio.sleep(self.lists_take)
        if self.listing is None:
            raise HttpFailed("refused")
        return ProjectList(list(self.listing), is_whole=self.is_whole)

    def prepare(self, connection: ConnectionConfig) -> Watcher:
        if connection.ca_file is not None:
            raise ConfigError([Problem("of no use")])
        self.prepared.append(connection)
        return self.watch

    async def watch(self, project: Project, observe: StatusObserver) -> None:
        self.begun.append(project.id)
        self.observers[project.id] = observe
        if self.watches_well:
            observe(ProjectStatus(project, ConnectionState.CONNECTED, self.clock.now()))
        if self.crashes.get(project.id, 0):
            self.crashes[project.id] -= 1
            raise ZeroDivisionError("oops")
        if project.id == "gives-up":
            return
        self.watched[project.id] = project
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.ending_takes)
            del self.watched[project.id]

    @asynccontextmanager
    async def fleet(self, *entries: ProjectConfig) -> AsyncIterator[Fleet]:
        async with run_fleet(
            prepare=self.prepare, list_projects=self.list_projects, clock=self.clock, chance=lambda: 1.0
        ) as fleet:
            await fleet.set_projects(entries, CONNECTION)
            await wait_all_tasks_blocked()
            yield fleet


@pytest.fixture
def world() -> World:
    return World()


async def test_literal_projects_with_names_need_no_lookup(world: World, autojump_clock: MockClock) -> None:
    async with world.fleet(entry("a", "A"), entry("b", "B")) as fleet:
        assert sorted(world.watched) == ["a", "b"]
        await trio.sleep(10_000)
        assert world.lookups == []
        assert {status.project.id: status.state.value for status in fleet.snapshot()} == {
            "a": "connected",
            "b": "connected",
        }
    assert world.watched == {}


async def test_the_orchestrator_names_projects_without_a_name_in_the_config(
    world: World, autojump_clock: MockClock
) -> None:
    world.listing = [record("a", "Alpha")]
    async with world.fleet(entry("a"), entry("b")):
        assert {project.id: project.name for project in world.watched.values()} == {"a": "Alpha", "b": "b"}
        await trio.sleep(10_000)
        assert len(world.lookups) == 1


@pytest.mark.parametrize("lists_take", [0.0, 60.0])
async def test_a_literal_project_does_not_wait_for_its_name(
    lists_take: float, world: World, autojump_clock: MockClock
) -> None:
    world.listing, world.lists_take = None, lists_take
    async with world.fleet(entry("a")):
        await trio.sleep(4)
        assert world.watched["a"].name == "a"


async def test_projects_are_shown_before_anything_is_known_of_them(
    world: World, autojump_clock: MockClock
) -> None:
    world.lists_take = 60.0
    async with run_fleet(
        prepare=world.prepare, list_projects=world.list_projects, clock=world.clock, chance=lambda: 1.0
    ) as fleet:
        fleet.expect([entry("a"), entry("b", "B"), entry("c*")])
        before = {status.project.id: status for status in fleet.snapshot()}
        assert {project_id: status.project.name for project_id, status in before.items()} == {"a": "a", "b": "B"}
        assert all(
            status.state is ConnectionState.DISCONNECTED and status.last_error for status in before.values()
        )
        await fleet.set_projects([entry("a"), entry("b", "B")], CONNECTION)
        await wait_all_tasks_blocked()
        assert sorted(world.watched) == ["b"]
        assert sorted(status.project.id for status in fleet.snapshot()) == ["a", "b"]
        await trio.sleep(4)
        assert sorted(world.watched) == ["a", "b"]
        assert sorted(status.project.id for status in fleet.snapshot()) == ["a", "b"]


async def test_a_project_of_another_agent_is_not_shown(world: World, autojump_clock: MockClock) -> None:
    world.lists_take = 60.0
    async with world.fleet() as fleet:
        await fleet.watch_only(["a"])
        await fleet.set_projects([entry("a"), entry("b")], CONNECTION)
        assert [status.project.id for status in fleet.snapshot()] == ["a"]


async def test_the_search_for_projects_says_how_it_stands(world: World, autojump_clock: MockClock) -> None:
    world.listing = None
    async with world.fleet(entry("a", "A"), entry("x*"), entry("y*")) as fleet:
        began = fleet.discovery().since
        assert fleet.discovery() == DiscoveryStatus("refused", began, {}, has_listed=False)
        await trio.sleep(40)
        assert fleet.discovery().since == began, "since the first failure"
        world.listing = [record("x1"), record("z")]
        await trio.sleep(300)
        idle_since = fleet.discovery().idle_globs["y*"]
        assert fleet.discovery() == DiscoveryStatus(idle_globs={"y*": idle_since})
        world.listing = []
        await trio.sleep(900)
        idle = fleet.discovery().idle_globs
        assert (idle["y*"], idle["x*"] > idle_since) == (idle_since, True)
        world.listing = None
        await fleet.set_projects([entry("x*"), entry("z*")], CONNECTION)
        assert fleet.discovery() == DiscoveryStatus(idle_globs={"x*": idle["x*"]}, has_listed=False)
        await trio.sleep(1)
        assert fleet.discovery().trouble == "refused"
        await fleet.set_projects([entry("z", "Z")], CONNECTION)
        assert fleet.discovery() == DiscoveryStatus(), "no glob, no search"


async def test_a_list_that_gives_only_names_is_no_trouble(world: World, autojump_clock: MockClock) -> None:
    world.listing = None
    async with world.fleet(entry("a")) as fleet:
        await trio.sleep(10)
        assert fleet.discovery() == DiscoveryStatus()


async def test_a_link_that_opens_and_breaks_again_is_down_since_the_first_break(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.fleet(entry("a", "A")) as fleet:
        began = world.clock.now()

        def down_for(state: ConnectionState) -> float | None:
            world.observe("a", state)
            since = fleet.snapshot()[0].down_since
            return None if since is None else (since - began).total_seconds()

        await trio.sleep(100)
        assert down_for(ConnectionState.RECONNECTING) == 100
        for _ in range(5):
            await trio.sleep(10)
            assert down_for(ConnectionState.CONNECTED) is None
            await trio.sleep(59)
            assert down_for(ConnectionState.RECONNECTING) == 100
        assert down_for(ConnectionState.CONNECTED) is None
        await trio.sleep(60)
        assert down_for(ConnectionState.RECONNECTING) == 505, "a stable link ends it"


async def test_a_reload_ends_no_time_without_a_link(world: World, autojump_clock: MockClock) -> None:
    other = ConnectionConfig.model_construct(**{**CONNECTION.model_dump(), "heartbeat_interval": 5.0})
    world.listing, world.watches_well = [record("lost-1"), record("well-1")], False
    entries = [entry("lost", "Lost"), entry("unnamed"), entry("*-1")]
    async with world.fleet(*entries) as fleet:
        began = {status.project.id: status.down_since for status in fleet.snapshot()}
        assert len(began) == 4
        await trio.sleep(1000)
        world.observe("well-1", ConnectionState.CONNECTED)
        await trio.sleep(100)
        for connection in (other, CONNECTION):
            await fleet.set_projects(entries, connection)
            await trio.sleep(10)
            after = {status.project.id: status.down_since for status in fleet.snapshot()}
            assert after.pop("well-1") == world.clock.now() - timedelta(seconds=10)
            assert after == {project_id: since for project_id, since in began.items() if project_id != "well-1"}
            world.observe("well-1", ConnectionState.CONNECTED)


async def test_a_crash_is_no_connection(world: World, autojump_clock: MockClock) -> None:
    world.crashes = {"bad": 1000}
    async with world.fleet(entry("bad", "Bad")) as fleet:
        (first,) = fleet.snapshot()
        assert (first.state, first.connected_at) == (ConnectionState.DISCONNECTED, None)
        await trio.sleep(500)
        (status,) = fleet.snapshot()
        assert status.down_since == first.down_since


async def test_globs_are_resolved_again(world: World, autojump_clock: MockClock) -> None:
    world.listing = [record("a")]
    async with world.fleet(entry("*")) as fleet:
        assert sorted(world.watched) == ["a"]
        world.listing.append(record("b"))
        await trio.sleep(301)
        assert sorted(world.watched) == ["a", "b"]
        assert world.begun == ["a", "b"], "the watched ones were left alone"
        world.listing.remove(world.listing[0])
        await trio.sleep(300)
        assert sorted(world.watched) == ["a", "b"], "one odd list stops nothing"
        await trio.sleep(300)
        assert sorted(world.watched) == ["b"]
        assert [status.project.id for status in fleet.snapshot()] == ["b"]
        assert world.lookups == [0, 300, 600, 900]


async def test_a_glob_without_a_match_is_logged_once(world: World, autojump_clock: MockClock) -> None:
    world.listing = [record("a")]
    with capture_logs() as lines:
        async with world.fleet(entry("*"), entry("sales-*")):
            await trio.sleep(1000)
            world.listing.append(record("sales-1"))
            await trio.sleep(300)
            world.listing.pop()
            await trio.sleep(1000)
    told = [(line["glob"], line["listed"]) for line in lines if line["event"] == "no project matches"]
    assert told == [("sales-*", 1), ("sales-*", 1)]


async def test_one_odd_list_makes_no_glob_idle_while_its_projects_are_watched(
    world: World, autojump_clock: MockClock
) -> None:
    world.listing = [record("a")]
    async with world.fleet(entry("a*"), entry("b", "B"), entry("b*")) as fleet:
        await trio.sleep(1)
        assert list(fleet.discovery().idle_globs) == ["b*"], "an id in the config is no match"
        world.listing = []
        await trio.sleep(300)
        assert sorted(world.watched) == ["a", "b"]
        assert list(fleet.discovery().idle_globs) == ["b*"]
        await trio.sleep(300)
        assert sorted(world.watched) == ["b"]
        assert list(fleet.discovery().idle_globs) == ["a*", "b*"]


async def test_a_new_search_has_a_begin_of_its_own(world: World, autojump_clock: MockClock) -> None:
    world.listing = [record("a")]
    async with world.fleet(entry("a*")) as fleet:
        await trio.sleep(1000)
        world.lists_take = 60.0
        await fleet.set_projects([entry("b*")], CONNECTION)
        asked = fleet.discovery()
        assert (fleet.snapshot(), asked.has_listed, asked.asked_since) == ((), False, world.clock.now())
        await trio.sleep(61)
        assert fleet.discovery().asked_since is None


async def test_a_list_that_fails_stops_no_project_and_is_requested_again(
    world: World, autojump_clock: MockClock
) -> None:
    world.listing = None
    async with world.fleet(entry("*")):
        await trio.sleep(20)
        assert world.lookups == [0, 1, 3, 7, 15]
        world.listing = [record("a")]
        await trio.sleep(20)
        assert sorted(world.watched) == ["a"]
        world.listing = None
        await trio.sleep(10_000)
        assert sorted(world.watched) == ["a"]
        assert max(b - a for a, b in zip(world.lookups, world.lookups[1:], strict=False)) <= 300


async def test_a_project_that_crashes_is_started_again_alone(world: World, autojump_clock: MockClock) -> None:
    world.crashes = {"bad": 4}
    async with world.fleet(entry("bad", "Bad"), entry("good", "Good")) as fleet:
        await trio.sleep(2)
        bad, good = sorted(fleet.snapshot(), key=lambda status: status.project.id)
        assert (bad.restarts, bad.last_error) == (2, "ZeroDivisionError: oops")
        assert good.restarts == 0
        await trio.sleep(20)
        assert world.begun.count("bad") == 5
        assert world.begun.count("good") == 1
        assert sorted(world.watched) == ["bad", "good"]
        assert {status.restarts for status in fleet.snapshot()} == {0, 4}


async def test_a_project_that_gives_up_stays_visible(world: World, autojump_clock: MockClock) -> None:
    async with world.fleet(entry("gives-up", "x")) as fleet:
        await trio.sleep(10_000)
        assert world.begun == ["gives-up"]
        assert len(fleet.snapshot()) == 1


async def test_reconcile_changes_only_what_changed(world: World, autojump_clock: MockClock) -> None:
    world.ending_takes = 1.0
    async with world.fleet(entry("a", "A"), entry("b", "B")) as fleet:
        await fleet.set_projects([entry("b", "B"), entry("c", "C")], CONNECTION)
        assert "a" not in world.watched, "returns when the removed ones have ended"
        await wait_all_tasks_blocked()
        assert sorted(world.watched) == ["b", "c"]
        assert world.begun.count("b") == 1
        assert [status.project.id for status in fleet.snapshot()] == ["b", "c"]
        await fleet.set_projects([entry("b*"), entry("c", "C")], CONNECTION)
        assert sorted(world.watched) == ["b", "c"], "a glob that means it keeps it"


async def test_another_name_is_a_change(world: World, autojump_clock: MockClock) -> None:
    async with world.fleet(entry("a", "A"), entry("b", "B")) as fleet:
        await fleet.set_projects([entry("a", "Alpha"), entry("b"), entry("*")], CONNECTION)
        await wait_all_tasks_blocked()
        assert {project.id: project.name for project in world.watched.values()} == {"a": "Alpha", "b": "B"}
        assert world.begun == ["a", "b", "a"] or world.begun == ["b", "a", "a"]


async def test_a_project_that_comes_back_is_another_one(world: World, autojump_clock: MockClock) -> None:
    async with world.fleet(entry("a", "A")) as fleet:
        stale = world.observers["a"]
        await fleet.set_projects([], CONNECTION)
        assert fleet.snapshot() == ()
        await fleet.set_projects([entry("a", "A")], CONNECTION)
        await wait_all_tasks_blocked()
        stale(ProjectStatus(Project(id="a", name="old"), ConnectionState.DISCONNECTED, TrioClock().now()))
        assert [status.project.name for status in fleet.snapshot()] == ["A"]


async def test_other_connection_settings_restart_all(world: World, autojump_clock: MockClock) -> None:
    other = ConnectionConfig.model_construct(**{**CONNECTION.model_dump(), "heartbeat_interval": 5.0})
    async with world.fleet(entry("a", "A")) as fleet:
        await fleet.set_projects([entry("a", "A")], CONNECTION)
        assert world.begun == ["a"]
        await fleet.set_projects([entry("a", "A")], other)
        await wait_all_tasks_blocked()
        assert world.begun == ["a", "a"]
        assert world.prepared == [CONNECTION, other]


async def test_settings_of_no_use_change_nothing(
    world: World, autojump_clock: MockClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bad = ConnectionConfig.model_construct(
        **{**CONNECTION.model_dump(), "ca_file": tmp_path_factory.getbasetemp() / "none.pem"}
    )
    async with world.fleet(entry("a", "A")) as fleet:
        with pytest.raises(ConfigError):
            await fleet.set_projects([entry("b", "B")], bad)
        await wait_all_tasks_blocked()
        assert sorted(world.watched) == ["a"]
