"""Several agents on one PostgreSQL in virtual time, of which any may die at any statement.

Each is a real ingest with a connection of its own. The history of their transactions is for ``FleetModel``.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
import trio
from sqlalchemy import event as hook
from sqlalchemy import text
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.domain.notification import Project
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import Storage, Store, open_storage
from aintandem_notify.store.sharing import membership
from support.members import member
from support.outbox import NOW, event, inside
from support.stage_fleet_model import (
    LINKED,
    Began,
    Configured,
    Died,
    Fired,
    FleetModel,
    Linked,
    Occurrence,
    Silenced,
    Stored,
    Unsilenced,
    Waited,
    Watches,
)
from support.stage_model_words import Happening, Hush, Setup, Told
from support.stage_traces import (
    PROJECTS,
    AddSilence,
    Choose,
    EndSilence,
    Happen,
    Link,
    Reload,
    Restart,
    Step,
    Trace,
    Wait,
    by_project,
    end_silence,
    failure,
    messages,
    real_config,
    some_step,
    some_trace,
    times,
)
from support.staging import StageBench, open_stages
from support.trio_clock import TrioClock

T = TypeVar("T")
LOOK_EVERY_S = 86_400.0
"""Agents do not look for each other's changes in between: the fleet tells them, or a day would take too long."""


@dataclass(frozen=True)
class Kill:
    """One of the agents dies: now, or at that statement of its transactions to come.

    ``gap``: seconds until the others notice.
    """

    agent: int
    statement: int | None
    gap: float


@dataclass(frozen=True)
class Join:
    """A further agent begins, if there is only one."""


@dataclass(frozen=True)
class Move:
    """The project moves to another agent."""

    project: str


FleetStep = Step | Kill | Join | Move


def some_fleet_step(choose: Choose, number: int) -> FleetStep:
    match choose(("kill",) * 4 + ("join",) * 3 + ("move",) * 2 + ("other",) * 12):
        case "kill":
            return _some_kill(choose)
        case "join":
            return Join()
        case "move":
            return Move(choose(PROJECTS))
        case _:
            step = some_step(choose, number)
            return _some_kill(choose) if isinstance(step, Restart) else step


def _some_kill(choose: Choose) -> Kill:
    statement = choose((None, *range(1, 50)))
    return Kill(choose((0, 1)), statement, choose((0, 1, 12, 12, 45, 300, 3600)))


class Killed(BaseException):
    """The end of an agent."""


@dataclass
class Doom:
    """Ends the agent in its transactions: when ``statements`` more have begun, of which the last is the commit."""

    gap: float = 0.0
    statements: int | None = None
    is_working: bool = False

    def count(self, *_arguments: object) -> None:
        if self.is_working and self.statements is not None:
            self.statements -= 1
            if self.statements <= 0:
                raise Killed


class MortalStorage(Storage):
    """Counts the statements of the agent's transactions."""

    def __init__(self, store: Store, doom: Doom) -> None:
        super().__init__(store, inline=True)
        self.doom = doom
        hook.listen(store._connection.engine, "before_cursor_execute", doom.count)

    async def run(self, fn: Callable[[Store], T]) -> T:
        def work(store: Store) -> T:
            self.doom.is_working, before = True, self.doom.statements
            try:
                result = fn(store)
                if self.doom.statements != before:  # it was a transaction, and the agent does not know of its end
                    self.doom.count()
                return result
            finally:
                self.doom.is_working = False

        return await super().run(work)


@dataclass
class Agent:
    name: str
    storage: Storage
    bench: StageBench
    doom: Doom
    life: trio.CancelScope
    gone: trio.Event = field(default_factory=trio.Event)

    @property
    def projects(self) -> set[str]:
        return member(self.storage._store).projects


@dataclass
class Fleet:
    url: str
    setup: Setup
    nursery: trio.Nursery
    clock: TrioClock
    projects: Sequence[str] = PROJECTS
    history: list[Occurrence] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    deaths: int = 0
    is_linked: bool = True
    happenings: dict[str, Happening] = field(default_factory=dict)
    """By the key of the event, those that are not stored yet."""
    numbers: Iterator[int] = field(default_factory=count)
    names: Iterator[int] = field(default_factory=count)

    async def play(self, steps: Sequence[FleetStep]) -> None:
        await self.begin()
        await self.begin()
        for project in self.projects[::2]:
            await self.move(project)
        for step in steps:
            await self.step(step)
            await wait_all_tasks_blocked()
            await self.bury()
        for agent in self.agents:
            assert agent.bench.ingest.releases._logged == set()  # or they were sent without asking the stages
        self.history.append(Waited(self.clock.now()))

    # The agents.

    async def begin(self) -> None:
        """A further agent. The first one takes all projects."""
        agent = await self.nursery.start(self.live, f"agent-{next(self.names)}")
        self.agents.append(agent)
        if len(self.agents) == 1:
            await self.take_over(agent)
        await wait_all_tasks_blocked()

    async def live(self, name: str, *, task_status: trio.TaskStatus[Agent]) -> None:
        agent: Agent | None = None
        doom = Doom()
        try:
            with trio.CancelScope() as life:
                async with open_storage(self.url, inline=True) as storage:
                    await storage.run(lambda store: store.join(name, projects_hash="all", version="1"))
                    mortal = MortalStorage(storage._store, doom)
                    config, start = real_config(self.setup), self.clock.now()
                    async with open_stages(mortal, config, start, shared_look_every_s=LOOK_EVERY_S) as bench:
                        agent = Agent(name, storage, bench, doom, life)
                        self.write_down(agent)
                        bench.ingest.releases.begin(lambda project: self.is_linked or project != LINKED)
                        self.history.append(Began(name, start))
                        task_status.started(agent)
                        await trio.sleep_forever()
        except* Killed:
            pass
        finally:
            if agent is not None:
                self.history.append(Died(name, self.clock.now()))
                agent.gone.set()

    def write_down(self, agent: Agent) -> None:
        """Let the history have the transactions that the agent commits."""
        ingest, releases, name = agent.bench.ingest, agent.bench.ingest.releases, agent.name
        store_events, release = ingest._transact, releases._transact

        def storing(store: Store, batch: Any, now: Any, *more: Any, **keys: Any) -> Any:
            plan = store_events(store, batch, now, *more, **keys)
            keyed = [event.key for submission in batch for event in submission.events]
            new = tuple(self.happenings.pop(key) for key in keyed if key in self.happenings)
            if new:
                self.history.append(Stored(name, new, now))
            return plan

        def releasing(store: Store, now: Any, fire: Any) -> Any:
            fired = release(store, now, fire)
            self.history.append(Fired(name, now))
            return fired

        ingest._transact = storing  # type: ignore[method-assign]
        releases._transact = releasing  # type: ignore[method-assign]

    async def bury(self) -> None:
        """The others take over the projects of those that have died; if there are none, one begins anew."""
        while dead := [agent for agent in self.agents if agent.gone.is_set()]:
            self.agents = [agent for agent in self.agents if agent not in dead]
            self.deaths += len(dead)
            for agent in self.agents:
                agent.bench.ingest.look_again()  # the others release all that the dead one held
            await trio.sleep(max(agent.doom.gap for agent in dead))
            await wait_all_tasks_blocked()
            heirs = [agent for agent in self.agents if not agent.gone.is_set()]
            if heirs:
                await self.take_over(heirs[0])
            elif not self.agents:
                await self.begin()

    async def take_over(self, heir: Agent) -> None:
        def take(store: Store) -> set[str]:
            # The living ones have leases that outlast the test.
            names = [agent.name for agent in self.agents]
            store._connection.execute(
                text("UPDATE agents SET expires_at = 0 WHERE NOT node = ANY(:names)"), {"names": names}
            )
            member(store).remove_expired()
            member(store).add_projects(self.projects)
            return member(store).acquire_projects(member(store).free_projects(""))

        await self.watch(heir, await heir.storage.run(inside(take)))

    async def move(self, project: str) -> None:
        owner = self.owner(project)
        others = [agent for agent in self.agents if agent is not owner]
        if not others:
            return
        await owner.storage.run(inside(lambda store: member(store).release_projects([project])))
        owner.projects.discard(project)
        taken = await others[0].storage.run(inside(lambda store: member(store).acquire_projects([project])))
        await self.watch(others[0], taken)

    async def watch(self, agent: Agent, projects: set[str]) -> None:
        agent.projects.update(projects)
        self.history.append(Watches(agent.name, tuple(sorted(projects)), self.clock.now()))
        await agent.bench.ingest.forget(projects)
        agent.bench.ingest.look_again()

    def owner(self, project: str) -> Agent:
        [owner] = [agent for agent in self.agents if project in agent.projects]
        return owner

    # The steps.

    async def step(self, step: FleetStep) -> None:
        now = self.clock.now()
        match step:
            case Kill(number, statement, gap):
                agent = self.agents[number % len(self.agents)]
                agent.doom.gap, agent.doom.statements = gap, statement
                if statement is None:
                    agent.life.cancel()
            case Join():
                if len(self.agents) < 2:
                    await self.begin()
            case Move(project):
                await self.move(project)
            case Wait(seconds):
                await self.wait(seconds)
            case Happen(events, ago):
                await self.happen(events, ago)
            case Reload(setup):
                self.setup = setup
                self.history.append(Configured(setup, now))
                for agent in self.agents:
                    agent.bench.use(real_config(setup))
            case AddSilence(name, matchers, seconds):
                hush = Hush(name, matchers, now, now + timedelta(seconds=seconds))
                silence = Silence(name, dict(matchers), hush.begins, hush.expires)
                await self.change(lambda store: store.silences.add(silence), Silenced(hush, now))
            case EndSilence(name):
                active = await self.agents[0].storage.run(inside(lambda store: store.silences.active(now)))
                if name in [silence.id for silence in active]:
                    await self.change(lambda store: end_silence(store, name, now), Unsilenced(name, now))
            case Link(up):
                self.is_linked = up
                self.history.append(Linked(up, now))
            case Restart():
                raise AssertionError("a fleet has kills instead")

    async def change(self, fn: Callable[[Store], None], occurrence: Occurrence) -> None:
        await self.agents[0].storage.run(inside(fn))
        self.history.append(occurrence)
        for agent in self.agents:
            agent.bench.ingest.look_again()

    async def wait(self, seconds: float) -> None:
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            with trio.move_on_at(end):
                await self.death()
            await self.bury()

    async def death(self) -> None:
        async with trio.open_nursery() as nursery:
            for agent in self.agents:
                nursery.start_soon(self._until_gone, agent, nursery.cancel_scope)
            await trio.sleep_forever()

    async def _until_gone(self, agent: Agent, scope: trio.CancelScope) -> None:
        await agent.gone.wait()
        scope.cancel()

    async def happen(self, events: tuple[tuple[str, str, str, str, str], ...], ago: int) -> None:
        """Events whose agent dies reach its successor, which cannot know whether they were stored."""
        since = self.clock.now() - NOW
        for project, part in by_project(events):
            moments = list(times(part, self.numbers, ago))
            happened = [
                event(kind, run, (since + moment).total_seconds(), project, task=task, **failure(kind, error))
                for (kind, _, run, task, error), moment in zip(part, moments, strict=True)
            ]
            for (kind, _, run, task, error), moment, new in zip(part, moments, happened, strict=True):
                self.happenings[new.key] = Happening(
                    kind, project, run, NOW + since + moment, task, **failure(kind, error)
                )
            while not await self.hand_over(self.owner(project), project, happened):
                await self.bury()
            await wait_all_tasks_blocked()
            await self.bury()

    async def hand_over(self, agent: Agent, project: str, happened: Sequence[Any]) -> bool:
        """False if the agent has died."""
        stored = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, agent, nursery.cancel_scope)
            await agent.bench.ingest.commit(Project(id=project, name=project), happened)
            stored = True
            nursery.cancel_scope.cancel()
        return stored


@dataclass
class FleetResult:
    told: list[Told]
    history: list[Occurrence]
    deaths: int
    words: list[str]
    """The ids of the silences before whose end a word was said."""


def play_fleet(setup: Setup, steps: Sequence[FleetStep], begin: Any, url: str) -> FleetResult:
    """The messages of real agents, and their history."""

    async def run() -> FleetResult:
        async with trio.open_nursery() as nursery:
            fleet = Fleet(url, setup, nursery, TrioClock(begin))
            await fleet.play(steps)
            nursery.cancel_scope.cancel()
        async with open_storage(url, inline=True) as storage:
            told = await storage.run(inside(messages))
            words = await storage.run(inside(silence_words))
        return FleetResult(told, fleet.history, fleet.deaths, words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "LEASE_S", 10.0 * 365 * 86_400)
        # A shared store takes the database's time, which nobody can set.
        patch.setattr(membership.Membership, "now", lambda _self, fallback: fallback)
        return trio.run(run, clock=MockClock(autojump_threshold=0))


def silence_words(store: Store) -> list[str]:
    rows = store._connection.execute(text("SELECT wire FROM events WHERE type = 'silence_ending'"))
    return sorted(json.loads(row.wire)["silence"] for row in rows)


def follow(setup: Setup, begin: Any, history: Sequence[Occurrence]) -> FleetModel:
    model = FleetModel(setup, begin)
    model.follow(history)
    return model


def some_fleet_trace(choose: Choose, length: int) -> tuple[Trace, list[FleetStep]]:
    trace = some_trace(choose, 0)
    steps = [some_fleet_step(choose, number) for number in range(length)]
    return trace, [*steps, Link(up=True), Wait(5 * 86400)]
