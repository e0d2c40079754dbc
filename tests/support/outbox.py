"""Events, rules and plugins for the tests of store, ingest and delivery."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeVar

import trio
from outcome import Error, Value

from aintandem_notify.config import Config
from aintandem_notify.domain.events import Event, event_from
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.runs import Run, advance
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.rules import Router
from aintandem_notify.store import (
    Claim,
    DeliveryFilter,
    DeliveryRow,
    JournalChanges,
    Storage,
    Store,
    open_storage,
)
from aintandem_notify.store.tables.notification_cache import NotificationCache
from support.routing import config, destination, rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = Project(id="p", name="Sales")
T = TypeVar("T")


def event(kind: str, run: str = "t1", at: float = 0, project: str = "p", **fields: Any) -> Event:
    """Returns a live event, ``at`` seconds after NOW; ``run`` is its task."""
    moment = (NOW + timedelta(seconds=at)).isoformat()
    frame = {"type": kind, "timestamp": moment, "projectId": project, "taskId": run} | fields
    event = event_from(frame, project, NOW)
    assert isinstance(event, Event), event
    return event


ALL_EVENTS: Final = "* connection/* agent/* unknown/*"
NO_EVENTS: Final = "nothing_of_this_type"


def one_rule(*destinations: str, events: str = ALL_EVENTS, when: str | None = None, name: str = "all") -> Config:
    """A config with one rule. The title of its notifications is the type and the run of the event."""
    names = destinations or ("file_log.a",)
    title = "{{ event.type }} {{ event.run_id }}"
    return config(*map(destination, names), rule(name, events, " ".join(names), when=when, title=title))


def router(*destinations: str, events: str = ALL_EVENTS, when: str | None = None) -> Router:
    """The real router with one rule: these events go to these destinations, or to ``file_log.a``."""
    return Router(one_rule(*destinations, events=events, when=when))


_router = cache(lambda name: Router(one_rule(name=name)))


def notification(about: Event, run: Run | None, rule: str = "all") -> Notification:
    """Returns the notification that a rule makes."""
    project = PROJECT if about.project_id else None
    (routed,) = _router(rule).route(about, run, project, NOW)
    return routed.notification


class SetClock:
    """A wall clock that the test sets. ``passed``: the time that has really passed, if it differs."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now
        self.passed: datetime | None = None

    def now(self) -> datetime:
        return self.time

    def capped_now(self) -> datetime:
        return self.passed or self.time


Answer = Exception | dict[str, Any] | None
"""The reaction of a fake plugin to a notification: an error, a receipt, or None."""


@dataclass
class FakeHost:
    """Plugins with fixed reactions: one of ``answers`` per try, then ``default``.

    ``tries`` has (when, destination, notification) of every try in order.
    """

    answers: deque[Answer] = field(default_factory=deque)
    default: Answer = None
    takes_s: float = 0.0
    tries: list[tuple[float, str, Notification]] = field(default_factory=list)
    loaded: trio.Event = field(default_factory=trio.Event)
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loaded.set()

    def is_loaded(self, name: str) -> bool:
        return self.loaded.is_set()

    async def wait_loaded(self, name: str) -> None:
        await self.loaded.wait()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        results: list[DeliveryResult] = []
        self.batches.append(len(notifications))
        for notification in notifications:
            self.tries.append((trio.current_time(), name, notification))
            await trio.sleep(self.takes_s)
            answer = self.answers.popleft() if self.answers else self.default
            results.append(Error(answer) if isinstance(answer, Exception) else Value(answer))
            if isinstance(answer, Exception):
                break
        return results

    @property
    def titles(self) -> list[str]:
        """The tried notifications, in order."""
        return [notification.title for _, _, notification in self.tries]

    @property
    def times(self) -> list[float]:
        """The start of each try, in seconds of trio's clock."""
        return [round(when, 3) for when, _, _ in self.tries]


_url = "sqlite://"
"""The database of the current test; ``stores.any_store`` sets it."""
_opened: list[Store] = []


def memory() -> AbstractAsyncContextManager[Storage]:
    """Yields a store that works in the trio thread; in memory unless the test requests ``any_store``."""
    return open_storage(_url, inline=True)


def new_store(recent: NotificationCache | None = None) -> Store:
    """Returns such a store without trio. ``any_store`` closes it with the test."""
    opened = Store(_url, notification_cache=recent)
    _opened.append(opened)
    return opened


def inside(fn: Callable[[Store], T]) -> Callable[[Store], T]:
    """Runs ``fn`` in a transaction."""

    def run(store: Store) -> T:
        with store.transaction():
            return fn(store)

    return run


def queue_up(
    events: Iterable[Event], destinations: Sequence[str] = ("file_log.a",), now: datetime = NOW
) -> Callable[[Store], None]:
    """Writes the events with one notification each, as ingest does."""

    def write(store: Store) -> None:
        changes = JournalChanges()
        latest: dict[Any, Run] = {}
        for queued in events:
            run = advance(None, queued) if queued.run_id else None
            if run is not None and run.ref not in latest and not store.journal.latest_runs([run.ref]):
                latest[run.ref] = run
                changes.new_runs.append(run)
            changes.events.append(queued)
            changes.notifications.append((notification(queued, run), destinations))
        store.journal.write(changes, now)

    return inside(write)


def claim_all(
    destination: str = "file_log.a", limit: int = 1000, now: datetime = NOW, horizon: float = 60
) -> Callable[[Store], list[Claim]]:
    """Returns the claims that the destination would get next."""
    return inside(
        lambda store: store.outbox.claim(
            destination, limit=limit, now=now, horizon=now + timedelta(seconds=horizon)
        )
    )


def delivery_rows(destination: str | None = None) -> Callable[[Store], list[DeliveryRow]]:
    """Returns all deliveries, or those of one destination, the oldest first."""

    def read(store: Store) -> list[DeliveryRow]:
        queries = store.delivery_queries
        rows = queries.rows(queries.ids(DeliveryFilter(destination=destination), limit=10_000))
        return sorted(rows, key=lambda row: row.id)

    return inside(read)
