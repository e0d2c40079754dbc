"""Two agents on one PostgreSQL that decide about the same destinations at the same time."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import Any, Final, Self

import pytest
import trio
from sqlalchemy import event as hook
from structlog.testing import capture_logs

from aintandem_notify.config import Config
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import advance
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.ingest import Ingest, open_ingest
from aintandem_notify.ingest.staging import Fired, Staging
from aintandem_notify.rules import Router
from aintandem_notify.stages.pipeline import Hold, Stage, StagePolicy, Unit
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import JournalChanges, Storage, Store, open_storage
from aintandem_notify.store.stages.held import NewHold
from support.members import member
from support.outbox import NOW, event, inside, notification
from support.postgres import Postgres
from support.routing import config, destination, rule
from support.stage_traces import TITLE, messages

pytestmark = pytest.mark.usefixtures("long_leases")
ROUNDS = 8
"""With 100 it takes a minute, and nothing else happens."""
DESTINATIONS = ("slack.team", "file_log.a")
TASKS = ("train", "report", "clean")


def grouped(**stages: Any) -> Config:
    by_task = rule(
        "grouped",
        "task_failed",
        " ".join(DESTINATIONS),
        title=TITLE,
        group={"by": ["task"], "wait": 0.01, "every": 0.01},
        **stages,
    )
    return config(*map(destination, DESTINATIONS), by_task)


@asynccontextmanager
async def open_agent(url: str, name: str, rules: Config) -> AsyncIterator[tuple[Storage, Ingest]]:
    """An agent that watches the project of its own name."""
    async with (
        open_storage(url) as storage,
        open_ingest(
            storage,
            router=Router(rules),
            clock=SystemClock(),
            publish=lambda *_: None,
            wake=lambda _names: None,
            shared_look_every_s=0.01,
        ) as ingest,
    ):
        await storage.run(lambda store: store.join(name, projects_hash="all", version="1"))
        member(storage._store).projects.add(name)
        ingest.use(Router(rules), StagePolicy.of(rules))
        ingest.releases.begin(lambda _project: True)
        yield storage, ingest


async def fail(ingest: Ingest, project: str, chance: random.Random) -> None:
    for number in range(ROUNDS):
        runs = [(f"{number}-{run}", chance.choice(TASKS)) for run in range(6)]
        kinds = ("task_started", "task_failed")
        batch = [event(kind, run, number, project, task=task) for run, task in runs for kind in kinds]
        await ingest.commit(Project(id=project, name=project), batch)


async def test_all_that_two_agents_hold_and_release_together_is_told_once(postgres_url: str) -> None:
    rules = grouped(throttle={"limit": 2, "per": 0.05})
    with capture_logs() as logs:
        async with (
            open_agent(postgres_url, "one", rules) as (storage, one),
            open_agent(postgres_url, "two", rules) as (_, two),
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, one, "one", random.Random(1))
                nursery.start_soon(fail, two, "two", random.Random(2))
            # No event shows that another agent has released something.
            while await storage.run(inside(lambda store: store.held.next_due())):  # noqa: ASYNC110
                await trio.sleep(0.01)
            told = await storage.run(inside(messages))
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []
    times = Counter((message.destination, label) for message in told for label in message.labels)
    assert set(times.values()) == {1}
    assert len(times) == len(DESTINATIONS) * 2 * ROUNDS * 6


class Rival:
    """Another agent that begins in the middle of a transaction of this one; this one goes on when it waits.

    By the end of the block it has ended well.
    """

    def __init__(self, postgres: Postgres, work: Callable[[], object]) -> None:
        self._postgres = postgres
        self._work = work
        self._errors: list[BaseException] = []
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # raised in the test's thread
            self._errors.append(error)

    def begin(self) -> None:
        self._thread.start()
        with self._postgres.admin() as admin:
            while self._thread.is_alive() and not admin.execute(_WAITING).fetchone():
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join()
        if self._errors:
            raise self._errors[0]


_WAITING: Final = "SELECT 1 FROM pg_locks WHERE NOT granted"


@pytest.fixture
def stores(postgres_url: str) -> Iterator[tuple[Store, Store]]:
    """Two agents on one store."""
    with closing(Store(postgres_url)) as one, closing(Store(postgres_url)) as two:
        one.join("one", projects_hash="all", version="1")
        two.join("two", projects_hash="all", version="1")
        yield one, two


def hold(store: Store, name: str, stage: Stage, key: str, until: datetime) -> None:
    """Hold a notification at this destination; in a transaction."""
    failed = event("task_failed", name)
    about = notification(failed, advance(None, failed))
    unit = Unit("all", name, frozenset({about.severity}))
    store.journal.write(JournalChanges(events=[failed], notifications=[(about, [])]), NOW)
    store.held.add([NewHold(about, unit, Hold(stage, key, until))], NOW, config_hash="")


def fire(store: Store) -> Fired:
    """Release all that is due at ``NOW``."""
    with store.transaction():
        return Staging(
            store, StagePolicy(), (), NOW, router=Router(grouped()), is_caught_up=lambda _id: True, begun_at=NOW
        ).fire()


@pytest.mark.parametrize("names", [DESTINATIONS, DESTINATIONS[::-1]])
def test_who_releases_at_two_destinations_does_not_wait_for_who_adds_at_both(
    postgres: Postgres, stores: tuple[Store, Store], names: tuple[str, str]
) -> None:
    one, two = stores
    for age, name in zip((2, 1), names, strict=True):
        inside(partial(hold, name=name, stage=Stage.GROUP, key="all\n", until=NOW - timedelta(seconds=age)))(one)
    with Rival(postgres, partial(inside(lambda store: store.stage_locks.wait_for(DESTINATIONS)), two)) as rival:

        def begin_before_the_second(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            if "pg_try_advisory_xact_lock" in statement:
                rival.begin()

        hook.listen(one._connection.engine, "before_cursor_execute", begin_before_the_second)
        fired = fire(one)
        hook.remove(one._connection.engine, "before_cursor_execute", begin_before_the_second)
    assert fired.more or fired.destinations == set(names)
    assert fired.destinations | fire(one).destinations == set(names)


def test_what_comes_while_a_silence_is_ended_goes_on_with_all_that_it_held(
    postgres: Postgres, stores: tuple[Store, Store]
) -> None:
    one, two = stores
    ends = NOW + timedelta(hours=1)
    inside(lambda store: store.silences.add(Silence("s1", {}, NOW, ends)))(one)

    def end(store: Store) -> None:
        store.silences.end(["s1"], NOW)
        store.held.end_silences(["s1"], NOW)

    with Rival(postgres, partial(inside(end), two)) as rival, one.transaction():
        assert [silence.id for silence in one.silences.active(NOW, lock=True)] == ["s1"]
        rival.begin()
        hold(one, "slack.team", Stage.SILENCES, "s1", ends)
    assert inside(lambda store: store.held.next_due())(one) == NOW
    assert fire(one).destinations == {"slack.team"}
