"""Events, rules and plugins for the tests of store, ingest and delivery."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import trio
from outcome import Error, Value

from aintandem_notify.domain.event_redaction import strip_texts
from aintandem_notify.domain.events import Event, event_from
from aintandem_notify.domain.notification import Notification, Project, Severity
from aintandem_notify.domain.runs import Run, advance
from aintandem_notify.plugins.runtime.calls import DeliveryResult
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


_SEVERITIES = {"task_failed": Severity.ERROR, "task_cancelled": Severity.WARNING}


def notification(about: Event, run: Run | None, rule: str = "all") -> Notification:
    """Returns a notification as the rules make it: its id follows from event and rule."""
    return Notification(
        id=f"ntf_{about.key[:20]}_{rule}",
        thread=run.thread if run else f"project/{about.project_id}",
        severity=_SEVERITIES.get(about.type, Severity.INFO),
        title=f"{about.type} {about.run_id}",
        event=about,
        run=run,
        project=PROJECT if about.project_id else None,
        rule=rule,
        created_at=NOW,
    )


@dataclass(frozen=True)
class Sent:
    """A notification and its destinations."""

    notification: Notification
    destinations: tuple[str, ...]


@dataclass
class FakeRouter:
    """Routes every event of ``types`` (None: all types) to ``destinations``."""

    destinations: tuple[str, ...] = ("file_log.a",)
    types: frozenset[str] | None = None
    refuse: Callable[[Event], bool] = lambda _event: False

    def may_notify(self, event_type: str) -> bool:
        return self.types is None or event_type in self.types

    def route(self, event: Event, run: Run | None, project: Project | None, now: datetime) -> list[Sent]:
        if not self.may_notify(event.type) or self.refuse(event):
            return []
        return [Sent(notification(event, run), self.destinations)]

    def route_without_texts(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[Sent]:
        if not self.may_notify(event.type) or self.refuse(event):
            return []
        return [Sent(strip_texts(notification(event, run)), self.destinations)]


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
