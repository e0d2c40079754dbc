"""Released schemas do not change: the earlier versions are stored beside this test."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aintandem_notify.store import Store
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.engine.sqlite import APPLICATION_ID
from aintandem_notify.store.tables.journal import JournalChanges
from support.outbox import NOW, claim_all, event, inside, notification, queue_up


def schema_of(path: Path) -> dict[str, object]:
    """Every table's columns and indexes, independent of the statements that created them."""
    with closing(sqlite3.connect(path)) as raw:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: (
                raw.execute("SELECT * FROM pragma_table_info(?) ORDER BY name", [table]).fetchall(),
                {
                    (unique, tuple(raw.execute("SELECT seqno, name FROM pragma_index_info(?)", [index])))
                    for index, unique in raw.execute('SELECT name, "unique" FROM pragma_index_list(?)', [table])
                },
            )
            for table in tables
        }


BARE_KEYS_UNTIL_VERSION = 4
"""Keys of events have times in later versions."""


def store_of_version(version: int, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(Path(__file__).with_name(f"store_v{version}.sql").read_text())
        raw.execute(f"PRAGMA application_id={APPLICATION_ID}")
    return path


@pytest.fixture(params=range(1, SCHEMA_VERSION))
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store with the schema of an earlier version."""
    return store_of_version(request.param, tmp_path / "old.db")


@pytest.fixture(params=range(1, BARE_KEYS_UNTIL_VERSION + 1))
def with_bare_keys(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store of a version whose keys of events have no times."""
    return store_of_version(request.param, tmp_path / "old.db")


def test_a_store_of_an_earlier_version_is_upgraded(old: Path, tmp_path: Path) -> None:
    """If this fails because of a new column, raise ``SCHEMA_VERSION`` in ``migrations`` and add a step."""
    with closing(Store(old)) as store:
        queue_up([event("task_started")])(store)
        assert len(claim_all()(store)) == 1
    Store(tmp_path / "new.db").close()
    assert len(schema_of(old)) == 18
    assert schema_of(old) == schema_of(tmp_path / "new.db")


def test_events_of_an_earlier_version_are_known_and_their_notifications_go_out(with_bare_keys: Path) -> None:
    """Their keys have no times; those of later events have."""
    before, after = event("task_started", error="x"), event("task_failed", at=60)
    sent = notification(before, None)
    at, content = to_microseconds(NOW), sent.content_json(with_event=False, secrets="")
    with closing(sqlite3.connect(with_bare_keys)) as raw, raw:
        raw.execute(
            "INSERT INTO events (key, type, family, occurred_at, received_at, caught_up, wire)"
            " VALUES (?, ?, 'task', ?, ?, 0, ?)",
            [before.key, before.type, at, at, before.wire_json],
        )
        raw.execute(
            "INSERT INTO notifications (id, event_key, rule, created_at, content) VALUES (?, ?, 'all', ?, ?)",
            [sent.id, before.key, at, content],
        )
        raw.execute(
            "INSERT INTO deliveries (notification_id, destination, thread, state, due_at, attempts, fault_count,"
            " created_at) VALUES (?, 'file_log.a', ?, 'queued', ?, 0, 0, ?)",
            [sent.id, sent.thread, at, at],
        )
    with closing(Store(with_bare_keys)) as store:
        journaled = inside(lambda store: store.journal.journaled_keys([before, after]))
        assert journaled(store) == {before.key}
        (claim,) = claim_all()(store)
        assert (claim.notification, claim.notification.event.key) == (sent, before.key)
        inside(lambda store: store.journal.write(JournalChanges(events=[after]), NOW))(store)
        assert journaled(store) == {before.key, after.key}


@pytest.mark.parametrize("since_1970", [-60, 0], ids=str)
def test_events_of_an_earlier_version_are_known_if_all_are_of_a_clock_that_was_not_set(
    with_bare_keys: Path, since_1970: int
) -> None:
    before = event("task_started", at=since_1970 - int(NOW.timestamp()))
    with closing(sqlite3.connect(with_bare_keys)) as raw, raw:
        raw.execute(
            "INSERT INTO events (key, type, family, occurred_at, received_at, caught_up, wire)"
            " VALUES (?, ?, 'task', ?, ?, 0, ?)",
            [before.key, before.type, to_microseconds(before.timestamp), to_microseconds(NOW), before.wire_json],
        )
    with closing(Store(with_bare_keys)) as store:
        assert inside(lambda store: store.journal.journaled_keys([before]))(store) == {before.key}


def test_events_are_stored_under_keys_in_the_order_of_their_times() -> None:
    """So that a new entry of an index needs no page of its own."""
    events = [event("task_started", run=f"t{n}", at=n) for n in range(20)]
    with closing(Store("sqlite://")) as store:
        queue_up(events)(store)
        with store.transaction():
            for table, key in (("events", "key"), ("notifications", "event_key")):
                stored = store._connection.exec_driver_sql(f"SELECT {key} FROM {table} ORDER BY 1").scalars()
                assert [row[-32:] for row in stored] == [one.key for one in events]
