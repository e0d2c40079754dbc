"""Held notifications in every database: how long they are kept, and who may release them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.runs import advance
from aintandem_notify.stages.pipeline import Drop, Hold, Stage, Unit, Window, WindowKey
from aintandem_notify.store import PRUNE_STEPS, PruneLimits, Store
from aintandem_notify.store.engine import schema
from aintandem_notify.store.stages.held import NewHold, Selection
from aintandem_notify.store.tables.journal import JournalChanges
from support.outbox import NOW, event, inside, new_store, notification
from support.stores import any_store, store_url

__all__ = ["any_store", "store_url"]

DAY = timedelta(days=1)
UNIT = Unit("all", "slack.team", frozenset({Severity.ERROR}))


@pytest.fixture
def store(any_store: str) -> Store:
    return new_store()


def hold(
    store: Store, outcome: Hold | Drop, run: str = "t1", at: datetime = NOW, event_type: str = "task_failed"
) -> None:
    """Stores an event with its notification and one outcome, as ingest does."""
    failed = event(event_type, run, at=(at - NOW).total_seconds())
    attempt = advance(None, failed)
    about = notification(failed, attempt)
    changes = JournalChanges(
        events=[failed], new_runs=[attempt], notifications=[(about, [])] if isinstance(outcome, Hold) else []
    )
    inside(lambda store: store.journal.write(changes, at))(store)
    inside(lambda store: store.held.add([NewHold(about, UNIT, outcome)], at, config_hash="c"))(store)


def counts(store: Store) -> tuple[int, ...]:
    tables: tuple[Any, ...] = (schema.held, schema.notifications, schema.events)
    with store.transaction():
        return tuple(
            store._connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        )


def prune(store: Store, now: datetime) -> None:
    limits = PruneLimits(now, 30 * DAY, 100)
    for step in PRUNE_STEPS.values():
        with store.transaction():
            step(store.retention, limits, None)


def grouped(until: datetime) -> Hold:
    return Hold(Stage.GROUP, "all\n", until)


def test_a_held_notification_is_kept_until_it_was_told_or_dropped(store: Store) -> None:
    hold(store, grouped(NOW + 90 * DAY))
    prune(store, NOW + 60 * DAY)
    assert counts(store) == (1, 1, 1)
    with store.transaction():
        [due] = store.held.due(NOW + 90 * DAY)
        store.held.drop(Selection(due), Drop(Stage.QUIET, "quiet hours night"), NOW + 90 * DAY)
    prune(store, NOW + 100 * DAY)
    assert counts(store) == (1, 1, 1)  # its trace explains for as long as [store] keep
    prune(store, NOW + 121 * DAY)
    assert counts(store) == (0, 0, 0)


def test_a_dropped_one_leaves_a_trace_without_a_text(store: Store) -> None:
    hold(store, Drop(Stage.ONCE_PER, "cooldown", NOW + DAY))
    assert counts(store) == (1, 0, 1)
    assert inside(lambda store: store.held.next_due())(store) is None
    prune(store, NOW + 31 * DAY)
    assert counts(store) == (0, 0, 0)


def test_the_hold_that_is_due_first_comes_first(store: Store) -> None:
    for run, seconds in (("t1", 30), ("t2", 10), ("t3", 20)):
        hold(store, Hold(Stage.QUIET, run, NOW + timedelta(seconds=seconds)), run)
    with store.transaction():
        assert store.held.next_due() == NOW + timedelta(seconds=10)
        due = store.held.due(NOW + timedelta(seconds=20))
        assert [(entry.id.key, (entry.due_at - NOW).total_seconds()) for entry in due] == [("t2", 10), ("t3", 20)]


def test_notifications_that_are_told_together_are_one_unit(store: Store) -> None:
    for run in ("t1", "t2", "t3"):
        hold(store, grouped(NOW), run)
    with store.transaction():
        [due] = store.held.due(NOW)
        quiet = Hold(Stage.QUIET, "night", NOW + DAY)
        ids = [row.id for row in store.held.rows(Selection(due), limit=10)]
        store.held.move(Selection(due, ids=ids[:2]), quiet, as_one=True)
        store.held.move(Selection(due), quiet)
        [later] = store.held.due(NOW + DAY)
        assert [row.bundle for row in store.held.rows(Selection(later), limit=10)] == [ids[0], ids[0], None]
        summary = store.held.summarize(Selection(later, bundle=ids[0]), max_titles=1)
        assert (summary.count, list(summary.titles)) == (2, ["task_failed t1"])
        assert summary.severities == frozenset({Severity.ERROR})
        assert (summary.failed_runs, summary.open_runs) == (2, 2)


def test_the_worst_titles_of_a_summary_come_first(store: Store) -> None:
    for run, event_type in (("t1", "task_completed"), ("t2", "task_cancelled"), ("t3", "task_failed")):
        hold(store, grouped(NOW), run, event_type=event_type)
    with store.transaction():
        [due] = store.held.due(NOW)
        summary = store.held.summarize(Selection(due), max_titles=2)
        assert list(summary.titles) == ["task_failed t3", "task_cancelled t2"]
        assert list(summary.title_projects) == ["Sales", "Sales"]


def windows(
    store: Store, write: Callable[[dict[WindowKey, Window]], None] | None = None
) -> dict[WindowKey, Window]:
    key = WindowKey(Stage.GROUP, "slack.team", "all\nSales")
    with store.transaction():
        found = store.stage_windows.read([key])
        if write is not None:
            write(found)
            store.stage_windows.write(found)
        return found


def test_a_window_is_kept_until_it_has_long_ended(store: Store) -> None:
    key = WindowKey(Stage.GROUP, "slack.team", "all\nSales")
    assert windows(store).get(key, Window(NOW - 365 * DAY)).ends_at < NOW
    windows(store, lambda found: found.update({key: Window(NOW, 2)}))
    windows(store, lambda found: found.update({key: Window(NOW + DAY, 3)}))
    assert windows(store)[key] == Window(NOW + DAY, 3)
    prune(store, NOW + 30 * DAY)
    assert windows(store)[key] == Window(NOW + DAY, 3)
    prune(store, NOW + 32 * DAY)
    assert windows(store).get(key, Window(NOW - 365 * DAY)).ends_at < NOW
