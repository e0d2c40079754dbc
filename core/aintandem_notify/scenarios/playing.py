"""Plays a scenario: the agent's ingest, with rules and stages, on a store in memory and at the scenario's time."""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Final, TypeVar

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.domain.events import (
    AgentStartedEvent,
    AgentStoppedEvent,
    ConnectionConnectedEvent,
    ConnectionDisconnectedEvent,
    Event,
    FeedGapEvent,
)
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.observation import Gap, ObservationBatch
from aintandem_notify.domain.runs import STATE_AFTER, TERMINAL_STATES, Run, RunRef, run_ref
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.rules import Router
from aintandem_notify.scenarios.gaps import observe
from aintandem_notify.scenarios.scenario import (
    Happening,
    LinkChange,
    Reload,
    Restart,
    Scenario,
    SilenceBegins,
    SilenceEnds,
    Step,
)
from aintandem_notify.scenarios.step_texts import describe
from aintandem_notify.scenarios.timeline import Entry, Notified, Timeline
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Storage, Store, open_storage
from aintandem_notify.store.stages.untold import Untold
from aintandem_notify.watches.watch import watches_of

MAX_AFTER_END: Final = timedelta(days=400)
"""The time for which a scenario goes on after its last step while something is held: a silence may last a year."""

_IN_MEMORY: Final = "sqlite:///:memory:"
_ALL: Final = 10_000_000
_SOON: Final = timedelta(seconds=1)

T = TypeVar("T")


class ScenarioClock:
    """A wall clock that the scenario sets, together with trio's own clock ``for_trio``."""

    def __init__(self, now: datetime) -> None:
        self.for_trio: Final = MockClock()
        self._now = now

    def now(self) -> datetime:
        """The time, aware UTC."""
        return self._now

    def capped_now(self) -> datetime:
        """As ``now``: a scenario's clock is never set wrong."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Moves to ``moment``, unless it is past."""
        if moment > self._now:
            # A second more, so that no timer of this moment is still pending because of rounding.
            self.for_trio.jump((moment - self._now).total_seconds() + 1)
            self._now = moment


def play(scenario: Scenario) -> Timeline:
    """The course of the scenario until nothing is held any more. Waits for nothing, and sends nothing."""
    clock = ScenarioClock(scenario.start)
    return trio.run(_play, scenario, clock, clock=clock.for_trio)


async def _play(scenario: Scenario, clock: ScenarioClock) -> Timeline:
    async with open_storage(_IN_MEMORY, inline=True, clock=clock) as storage:
        player = _Player(scenario, storage, clock)
        steps = deque(scenario.steps)
        await player.run_agent(steps)
        while steps:
            await player.restart_agent(steps)
        return await player.timeline()


class _Player:
    """The agent and its surroundings, and the entries so far."""

    def __init__(self, scenario: Scenario, storage: Storage, clock: ScenarioClock) -> None:
        self._scenario = scenario
        self._config = scenario.config
        self._storage = storage
        self._clock = clock
        self._entries: list[Entry] = []
        self._down_since: dict[Project, datetime] = {}
        self._missed: defaultdict[Project, list[Event]] = defaultdict(list)
        self._woken: set[str] = set()
        self._newest_before: list[int] = []
        """By step: the newest delivery before it."""
        self._last_untold = 0

    async def run_agent(self, steps: deque[Step]) -> None:
        """Runs the agent until its next restart, or until nothing is held after the last step."""
        async with self._open_agent() as ingest:
            await self._play_steps(ingest, steps)

    async def restart_agent(self, steps: deque[Step]) -> None:
        """Carries out the restart, which is the first of the steps, and goes on as ``run_agent``."""
        restart = steps.popleft()
        assert isinstance(restart, Restart)  # noqa: S101  # the only step at which ``run_agent`` leaves steps
        await self._add_entry(restart)
        while steps and steps[0].at < restart.until:
            await self._carry_out_offline(steps.popleft(), restart.at)
        self._clock.set(restart.until)
        for project in {*self._projects(), *self._down_since}:
            await self._note_blind(project, restart.at, restart.until)
        async with self._open_agent() as ingest:
            projects, plugins = len(self._config.projects), len(self._config.instances)
            now = self._clock.now()
            await ingest.commit(None, [AgentStartedEvent(timestamp=now, projects=projects, plugins=plugins)])
            for project in list(self._down_since):
                await self._catch_up(ingest, project)
            await self._play_steps(ingest, steps)

    async def timeline(self) -> Timeline:
        """Everything that has happened."""
        far = self._clock.now() + MAX_AFTER_END

        def read(store: Store) -> Timeline:
            claims = [
                claim
                for destination in store.outbox.queues()
                for claim in store.outbox.claim(destination, limit=_ALL, now=far, horizon=far)
            ]
            return Timeline(
                entries=self._entries,
                notified=[
                    Notified(
                        at=claim.created_at,
                        steps=bisect_left(self._newest_before, claim.id),
                        destination=claim.destination,
                        notification=claim.notification,
                    )
                    for claim in sorted(claims, key=attrgetter("id"))
                ],
                untold=store.untold.list(),
            )

        return await self._inside(read)

    @asynccontextmanager
    async def _open_agent(self) -> AsyncIterator[Ingest]:
        router = Router(self._config)
        async with open_ingest(
            self._storage,
            router=router,
            clock=self._clock,
            publish=lambda _event, _project: None,
            wake=self._woken.update,
        ) as ingest:
            ingest.use(router, StagePolicy.of(self._config), watches_of(self._config))
            ingest.releases.watching.expect(self._projects())
            ingest.releases.begin(self._is_caught_up)
            yield ingest

    async def _play_steps(self, ingest: Ingest, steps: deque[Step]) -> None:
        while steps:
            await self._advance(steps[0].at)
            if isinstance(steps[0], Restart):
                await self._note_newest()
                await ingest.commit(None, [AgentStoppedEvent(timestamp=self._clock.now())])
                return
            await self._carry_out(ingest, steps.popleft())
        expected = [expectation.at for expectation in self._scenario.expectations if expectation.at is not None]
        await self._advance(max(expected, default=self._clock.now()))
        await self._advance(self._clock.now() + MAX_AFTER_END, only_while_held=True)

    async def _advance(self, until: datetime, *, only_while_held: bool = False) -> None:
        """Moves the clock from due time to due time, and then to ``until``."""
        while True:
            await wait_all_tasks_blocked()
            due = await self._inside(partial(_next_due, only_held=only_while_held))
            if due is None or due > until:
                break
            self._clock.set(max(due, self._clock.now() + _SOON))
        if not only_while_held:
            self._clock.set(until)
            await wait_all_tasks_blocked()

    async def _carry_out(self, ingest: Ingest, step: Step) -> None:
        await self._note_newest()
        remark = ""
        match step:
            case Happening(project=project) if project in self._down_since:
                self._miss(step, self._clock.now())
                remark = "missed, there is no link"
            case Happening(project=project, events=events):
                remark = await self._happen(ingest, project, events)
            case SilenceBegins() | SilenceEnds():
                await self._inside(lambda store: self._change_silence(store, step))
                ingest.look_again()
            case Reload(config=config):
                self._config = config
                router = Router(config)
                ingest.use(router, StagePolicy.of(config), watches_of(config))
            case LinkChange(is_up=True):
                await self._catch_up(ingest, step.project)
            case LinkChange():
                await self._lose_link(ingest, step.project)
        await wait_all_tasks_blocked()
        await self._add_entry(step, remark)

    async def _happen(self, ingest: Ingest, project: Project | None, events: Sequence[Event]) -> str:
        refs = {ref for event in events if (ref := run_ref(event)) is not None}
        runs = await self._inside(lambda store: store.journal.latest_runs(refs))
        self._woken.clear()
        await ingest.commit(project, events)
        untold = await self._inside(self._new_untold)
        if self._woken or untold:
            return ""
        if any(_repeats_end(event, runs) for event in events):
            return "nobody is told again: the run has ended like this before, and no new attempt has begun"
        return "nobody is told: no rule takes it"

    async def _carry_out_offline(self, step: Step, since: datetime) -> None:
        """Carries out a step while the agent does not run, since ``since``."""
        self._clock.set(step.at)
        await self._note_newest()
        match step:
            case Happening():
                self._miss(step, since)
            case SilenceBegins() | SilenceEnds():
                await self._inside(lambda store: self._change_silence(store, step))
        await self._add_entry(step, "the agent does not run")

    def _projects(self) -> list[Project]:
        return [
            Project(id=entry.id, name=entry.name or entry.id)
            for entry in self._config.projects
            if not entry.is_glob
        ]

    def _is_caught_up(self, project_id: str) -> bool:
        return all(project.id != project_id for project in self._down_since)

    def _miss(self, step: Happening, since: datetime) -> None:
        """Keeps the events for catching up, as the orchestrator does."""
        if step.project is not None:
            self._down_since.setdefault(step.project, since)
            self._missed[step.project] += step.events

    async def _lose_link(self, ingest: Ingest, project: Project) -> None:
        now = self._clock.now()
        self._down_since.setdefault(project, now)
        lost = ConnectionDisconnectedEvent(
            timestamp=now, project_id=project.id, code=1006, reason="the connection was lost", will_reconnect=True
        )
        await ingest.commit(project, [lost])

    async def _catch_up(self, ingest: Ingest, project: Project) -> None:
        """Looks up the missed events as the agent does: only the last state of each run is to be seen."""
        now = self._clock.now()
        since = self._down_since.pop(project, now)
        missed = self._missed.pop(project, [])
        gap = Gap(since, now, self._scenario.start, self._config.connection.catch_up_max)
        refs = {ref for event in missed if (ref := run_ref(event)) is not None}
        runs = await self._inside(lambda store: store.journal.latest_runs(refs))
        await ingest.commit(project, [ConnectionConnectedEvent(timestamp=now, project_id=project.id)])
        await self._note_blind(project, since, now)
        observations = tuple(observe(runs, missed, now))
        result = await ingest.reconcile(project, ObservationBatch(observations, gap, ingest.transaction_no))
        event = FeedGapEvent(
            timestamp=now,
            project_id=project.id,
            project_name=project.name,
            blind_from=since,
            blind_until=now,
            seconds=gap.seconds,
            changed=result.changed,
            too_old=result.too_old,
            gone=result.gone,
        )
        await ingest.commit(project, [event])

    async def _note_blind(self, project: Project, since: datetime, until: datetime) -> None:
        """Note that nothing was heard of the project between the two times, as catching up does."""
        await self._inside(lambda store: store.blind_times.add(project.id, since, until))

    def _change_silence(self, store: Store, step: SilenceBegins | SilenceEnds) -> None:
        if isinstance(step, SilenceBegins):
            store.silences.add(step.silence)
        else:
            now = self._clock.now()
            store.silences.end([step.silence_id], now)
            store.held.end_silences([step.silence_id], now)

    async def _add_entry(self, step: Step, remark: str = "") -> None:
        untold = await self._inside(self._new_untold)
        if untold:
            self._last_untold = untold[-1].id
        self._entries.append(Entry(at=step.at, line=step.line, text=describe(step), untold=untold, remark=remark))

    async def _note_newest(self) -> None:
        self._newest_before.append(await self._inside(lambda store: store.delivery_queries.newest_id()))

    def _new_untold(self, store: Store) -> list[Untold]:
        return store.untold.list(after_id=self._last_untold)

    async def _inside(self, fn: Callable[[Store], T]) -> T:
        def call(store: Store) -> T:
            with store.transaction():
                return fn(store)

        return await self._storage.run(call)


def _next_due(store: Store, *, only_held: bool) -> datetime | None:
    """The time at which something is due next.

    Reminders and watches may go on for ever, so they end with the last step.
    """
    times = [store.held.next_due()]
    if not only_held:
        times += [store.episodes.next_due(), store.watch_timers.next_due()]
    return min((moment for moment in times if moment is not None), default=None)


def _repeats_end(event: Event, runs: Mapping[RunRef, Run]) -> bool:
    """True if the run had ended in the same way before; ``runs`` are those before the event."""
    ref = run_ref(event)
    run = None if ref is None else runs.get(ref)
    return run is not None and run.state in TERMINAL_STATES and STATE_AFTER.get(event.type) is run.state
