"""Traces of a world with stages: made by chance, and played to the model and to the real ingest."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from itertools import count
from typing import Any

import trio
from sqlalchemy import text
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.config import Config, QuietConfig
from aintandem_notify.config.models import EpisodesConfig
from aintandem_notify.domain.events import DigestEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import Storage, Store, open_storage
from support.outbox import NOW, event, inside
from support.routing import config, destination, rule
from support.stage_model import StageModel
from support.stage_model_words import Happening, Hush, Night, RuleSketch, Setup, Told
from support.staging import StageBench, open_stages, with_quiet

Choose = Callable[[Sequence[Any]], Any]
"""Draws one of the values: of hypothesis, or of ``random``."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DESTINATIONS = ("slack.team", "file_log.audit")
PROJECTS = ("sales", "ops")
TASKS = ("train", "report")
WELL = "report"
"""The task that never fails; the others never succeed, where trouble must not end."""
ERRORS = ("oom 5", "oom 7", "disk")
TITLE = "{{ project.id }}/{{ run.id }}#{{ run.attempt }} {{ event.type }}"


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Happen:
    """Events of the present moment, ``ago`` seconds old, in one transaction."""

    events: tuple[tuple[str, str, str, str, str], ...]
    ago: int = 0


@dataclass(frozen=True)
class Restart:
    """The agent is down for so long, and starts with this config."""

    down: int
    setup: Setup


@dataclass(frozen=True)
class Reload:
    setup: Setup


@dataclass(frozen=True)
class AddSilence:
    id: str
    matchers: tuple[tuple[str, str], ...]
    seconds: int


@dataclass(frozen=True)
class EndSilence:
    """Ends it if it is active."""

    id: str


@dataclass(frozen=True)
class Link:
    """The links of the projects: no event is missing while they are up."""

    up: bool


Step = Wait | Happen | Restart | Reload | AddSilence | EndSilence | Link


@dataclass(frozen=True)
class Trace:
    setup: Setup
    steps: tuple[Step, ...]
    begin: datetime = NOW


# The possible events.


def some_setup(choose: Choose, *, ends: bool = False) -> Setup:
    """Some rules and quiet hours; ``ends``: trouble of which people are told may end."""
    nights = tuple(_some_night(choose, name) for name in ("night", "lunch"))
    recipients = ((DESTINATIONS[0],), DESTINATIONS, DESTINATIONS)
    last = _some_rule(choose, "last", recipients, ends)  # if all were for nobody, every destination would be told
    numbers = range(choose((0, 1, 2)))
    rules = (*(_some_rule(choose, f"r{number}", (*recipients, ()), ends) for number in numbers), last)
    quiet_of = tuple((name, choose(("", "", "", "night", "lunch"))) for name in DESTINATIONS)
    return Setup(rules, nights, tuple((name, quiet) for name, quiet in quiet_of if quiet))


def _some_night(choose: Choose, name: str) -> Night:
    start, end = choose(
        (("22:00", "07:00"), ("23:30", "02:30"), ("02:15", "03:15"), ("12:00", "13:00"), ("09:00", "09:00"))
    )
    days = choose((range(7), range(5), (5, 6))) if start != end else choose(((0, 2), (5, 6)))
    return Night(
        name,
        time.fromisoformat(start),
        time.fromisoformat(end),
        tuple(days),
        choose(("UTC", "Europe/Berlin", "America/New_York")),
        choose(("digest", "each", "drop")),
        choose(((), ("critical",))),
    )


def _some_rule(choose: Choose, name: str, recipients: Sequence[tuple[str, ...]], ends: bool) -> RuleSketch:
    def some(*values: Any) -> Any:
        return choose((None, None, *values))

    has_group, has_throttle = choose((True, False)), choose((True, False, False))
    on = some(("first_failure",), ("first_failure", "recovered"), ("recovered",)) if ends else None
    return RuleSketch(
        name,
        choose((("task_failed",), ("task_failed", "task_completed"), ("task_failed", "task_cancelled"))),
        choose(recipients),
        severity=choose((None, None, None, "critical", "info")),
        settle=some(60, 120),
        once=some("error", "task"),
        cooldown=some(600, 7200),
        by=choose((("project",), ("task", "error"), ("type",))) if has_group else (),
        wait=choose((30, 60)),
        every=choose((300, 3600)),
        limit=choose((1, 2)) if has_throttle else None,
        per=choose((120, 3600)),
        quiet=some("night", "lunch"),
        on=on,
        confirm=choose((1, 1, 2)) if on else 1,
        tell_end=choose((True, True, False)) if ends else False,
    )


def some_events(choose: Choose, most: int, *, ends: bool = False) -> Happen:
    events: list[tuple[str, str, str, str, str]] = []
    for _ in range(choose(range(1, most + 1))):
        project, task, error = choose(PROJECTS), choose(TASKS), choose(ERRORS)
        run = f"{task}-{choose(range(4))}"
        end = choose(("", "task_failed", "task_failed", "task_completed") if ends else ("", *ends_of(task)))
        events += [(kind, project, run, task, error) for kind in ("task_started", end) if kind]
    return Happen(tuple(events), choose((0, 0, 0, 45, 90)))


def ends_of(task: str) -> tuple[str, ...]:
    """The events that may end a run of the task."""
    return (
        ("task_completed", "task_cancelled") if task == WELL else ("task_failed", "task_failed", "task_cancelled")
    )


def some_step(choose: Choose, number: int, *, ends: bool = False) -> Step:
    kind = choose(
        ("wait",) * 6 + ("happen",) * 6 + ("restart", "restart", "reload", "silence", "silence", "end", "link")
    )
    match kind:
        case "wait":
            return Wait(choose((1, 10, 29, 30, 60, 120, 290, 600, 3600, 4 * 3600, 11 * 3600)))
        case "happen":
            return some_events(choose, 4, ends=ends)
        case "restart":
            return (
                Restart(choose((0, 1, 45, 300, 3600, 9 * 3600)), some_setup(choose, ends=ends))
                if choose((True, False))
                else Restart(choose((0, 45, 3600)), SAME)
            )
        case "reload":
            return Reload(some_setup(choose, ends=ends))
        case "silence":
            matchers = choose(
                (
                    (("project", "sal*"),),
                    (("task", "train*"),),
                    (("rule", "r0"),),
                    (("type", "task_*"), ("destination", "slack.*")),
                    (("task", "*-1"), ("project", "ops")),
                )
            )
            return AddSilence(f"s{number}", matchers, choose((20, 60, 600, 7200, 30000)))
        case "end":
            return EndSilence(f"s{choose(range(max(1, number)))}")
        case _:
            return Link(choose((True, False)))


SAME = Setup(())
"""Stands for the config that the agent has already."""
BEGINS = tuple(
    datetime.fromisoformat(f"{day}T{hour}:00:00+00:00")
    for day, hour in (
        ("2026-03-28", "20"),
        ("2026-10-24", "21"),
        ("2026-06-04", "11"),
        ("2026-03-08", "05"),
        ("2026-11-01", "03"),
    )
)
"""Before nights on which clocks change, and on a usual day."""


def some_trace(choose: Choose, length: int, *, ends: bool = False) -> Trace:
    setup = some_setup(choose, ends=ends)
    steps = tuple(some_step(choose, number, ends=ends) for number in range(length))
    return Trace(setup, (*steps, Link(up=True), Wait(5 * 86400)), choose(BEGINS))


# The model's answer.


def predict(trace: Trace) -> StageModel:
    """The model after the trace."""
    model = StageModel(trace.setup, trace.begin)
    numbers = count()
    for step in trace.steps:
        match step:
            case Wait(seconds):
                model.wait_until(model.now + timedelta(seconds=seconds))
            case Happen(events, ago):
                for _, part in by_project(events):
                    model.happen(
                        Happening(kind, project, run, model.now + since, task, **failure(kind, error))
                        for (kind, project, run, task, error), since in zip(
                            part, times(part, numbers, ago), strict=True
                        )
                    )
            case Restart(down, setup):
                model.start(model.setup if setup is SAME else setup, model.now + timedelta(seconds=down))
            case Reload(setup):
                model.start(setup, model.now, is_reload=True)
            case AddSilence(name, matchers, seconds):
                model.silence(Hush(name, matchers, model.now, model.now + timedelta(seconds=seconds)))
            case EndSilence(name):
                if any(hush.id == name and hush.expires > model.now for hush in model.silences):
                    model.end_silence(name)
            case Link(up):
                model.caught_up = up
    return model


# The real one.


def real_config(setup: Setup) -> Config:
    """The setup as a config of the product."""
    once = {"error": "{{ event.error }}", "task": "{{ run.name }}"}
    quiet_of = dict(setup.quiet_of)
    rules = [
        rule(
            sketch.name,
            " ".join(sketch.types),
            " ".join(sketch.notify) or "nobody",
            severity=sketch.severity,
            title=TITLE,
            settle=sketch.settle,
            once_per=once.get(sketch.once or ""),
            cooldown=sketch.cooldown,
            group={"by": list(sketch.by), "wait": sketch.wait, "every": sketch.every} if sketch.by else None,
            throttle={"limit": sketch.limit, "per": sketch.per} if sketch.limit else None,
            quiet=sketch.quiet,
            on=sketch.on,
            confirm=sketch.confirm if sketch.on else None,
            tell_end=sketch.tell_end,
        )
        for sketch in setup.rules
    ]
    nights = {
        night.name: QuietConfig(
            **{
                "from": f"{night.start:%H:%M}",
                "to": f"{night.end:%H:%M}",
                "days": [DAYS[day] for day in night.days],
                "tz": night.zone,
                "then": night.then,
                "except": list(night.exceptions),
            }
        )
        for night in setup.nights
    }
    destinations = [destination(name, quiet=quiet_of.get(name)) for name in DESTINATIONS]
    found = with_quiet(config(*destinations, *rules), **nights)
    return replace(found, episodes=EpisodesConfig(expire="3650d"))  # expiry is not in the model


@dataclass
class Player:
    """The real ingest, in virtual time; ``url`` of a store that is opened again at each start."""

    url: str
    setup: Setup
    now: datetime
    caught_up: bool = True
    numbers: Iterator[int] = field(default_factory=count)

    async def play(self, steps: Sequence[Step]) -> list[Told]:
        remaining = list(steps)
        keeper = AsyncExitStack()
        async with keeper:
            # A store in memory outlives the agent here.
            storage = (
                await keeper.enter_async_context(open_storage(self.url, inline=True))
                if self.is_in_memory
                else None
            )
            while remaining:
                async with self.open_store(storage) as opened:
                    await self.run(opened, remaining)
                if remaining:
                    restart = remaining.pop(0)
                    assert isinstance(restart, Restart)
                    await trio.sleep(restart.down)
                    self.now += timedelta(seconds=restart.down)
                    self.setup = self.setup if restart.setup is SAME else restart.setup
            async with self.open_store(storage) as opened:
                return await opened.run(inside(messages))

    @property
    def is_in_memory(self) -> bool:
        return self.url == "sqlite://"

    @asynccontextmanager
    async def open_store(self, storage: Storage | None) -> AsyncIterator[Storage]:
        if storage is not None:
            yield storage
        else:
            async with open_storage(self.url, inline=True) as opened:
                yield opened

    async def run(self, storage: Storage, remaining: list[Step]) -> None:
        """One life of the agent, until its restart."""
        async with open_stages(storage, real_config(self.setup), self.now, caught_up=self.caught_up) as bench:
            await wait_all_tasks_blocked()
            while remaining and not isinstance(remaining[0], Restart):
                await self.step(bench, remaining.pop(0))
                await wait_all_tasks_blocked()
            self.now, self.caught_up = bench.clock.now(), bench.caught_up
            assert bench.ingest.releases._logged == set()  # or they were sent without asking the stages

    async def step(self, bench: StageBench, step: Step) -> None:
        match step:
            case Wait(seconds):
                await trio.sleep(seconds)
            case Happen(events, ago):
                since = bench.clock.now() - NOW
                for project, part in by_project(events):
                    moments = [(since + moment).total_seconds() for moment in times(part, self.numbers, ago)]
                    happened = [
                        event(kind, run, moment, project, task=task, **failure(kind, error))
                        for (kind, _, run, task, error), moment in zip(part, moments, strict=True)
                    ]
                    await bench.ingest.commit(Project(id=project, name=project), happened)
            case Reload(setup):
                self.setup = setup
                bench.use(real_config(setup))
            case AddSilence(name, matchers, seconds):
                now = bench.clock.now()
                silence = Silence(name, dict(matchers), now, now + timedelta(seconds=seconds))
                await bench.storage.run(inside(lambda store: store.silences.add(silence)))
                bench.ingest.look_again()
            case EndSilence(name):
                await bench.storage.run(inside(lambda store: end_silence(store, name, bench.clock.now())))
                bench.ingest.look_again()
            case Link(up):
                bench.caught_up = up


def failure(kind: str, error: str) -> dict[str, str]:
    return {"error": error} if kind == "task_failed" else {}


def times(part: Sequence[tuple[str, ...]], numbers: Iterator[int], ago: int) -> Iterator[timedelta]:
    """The times of the events of a transaction, from now. No two of a run have the same, or they would be one."""
    number = next(numbers)
    seen: Counter[str] = Counter()
    for _, _, run, *_ in part:
        yield timedelta(seconds=-ago, microseconds=64 * number + seen[run])
        seen[run] += 1


def by_project(events: Sequence[tuple[str, str, str, str, str]]) -> Iterator[tuple[str, list[Any]]]:
    """A transaction has the events of one project after the other."""
    for project in dict.fromkeys(entry[1] for entry in events):
        yield project, [entry for entry in events if entry[1] == project]


def end_silence(store: Store, name: str, now: datetime) -> None:
    if any(silence.id == name for silence in store.silences.active(now)):
        store.silences.end([name], now)
        store.held.end_silences([name], now)


def messages(store: Store) -> list[Told]:
    """All messages that the store has ever queued. One of several says the same as the held rows that it told.

    The words before the end of a silence are not of the stages, and not among them.
    """
    rows = store._connection.execute(
        text(
            "SELECT h.told_by, n.content FROM held h JOIN notifications n ON n.id = h.notification_id "
            "WHERE h.told_by IS NOT NULL AND h.told_by <> h.notification_id ORDER BY h.id"
        )
    )
    labels: dict[str, list[str]] = {}
    for told_by, content in rows:
        labels.setdefault(told_by, []).append(_label(json.loads(content)))
    queued = store._connection.execute(
        text(
            "SELECT d.created_at, d.destination, d.notification_id FROM deliveries d "
            "LEFT JOIN notifications n ON n.id = d.notification_id WHERE coalesce(n.rule, '') <> 'silence'"
        )
    )
    return sorted(
        _message(store, at, destination, notification_id, labels.get(notification_id, []))
        for at, destination, notification_id in queued.all()
    )


def _message(store: Store, at_us: int, destination: str, notification_id: str, labels: list[str]) -> Told:
    notification = store.outbox.read_notification(notification_id)
    assert notification is not None
    at, severity, about = datetime.fromtimestamp(at_us / 1e6, UTC), notification.severity.value, notification.event
    if not isinstance(about, DigestEvent):
        label = _label(json.loads(notification.model_dump_json(include={"title", "run", "event"})))
        return rounded(Told(at, destination, "single", (label,), severity))
    assert about.count == len(labels)
    assert all(title.startswith(("Fixed after", *labels)) for title in about.titles)
    counts = (about.failed_runs, about.open_runs)
    return rounded(Told(at, destination, about.held_by, tuple(labels), severity, *counts))


def _label(content: Mapping[str, Any]) -> str:
    """The title as the model has it."""
    if not content["title"].startswith("Fixed after"):
        return str(content["title"])
    run = content["run"]
    return f"fixed {run['project_id']}/{run['id']}#{run['attempt']} task_completed"


def rounded(told: Told) -> Told:
    """Times to the second: those of events differ a little, and all that stages add are whole seconds."""
    return replace(told, at=datetime.fromtimestamp(round(told.at.timestamp()), UTC))


def play(trace: Trace, url: str) -> list[Told]:
    """The messages of the real ingest."""
    return trio.run(Player(url, trace.setup, trace.begin).play, trace.steps, clock=MockClock(autojump_threshold=0))
