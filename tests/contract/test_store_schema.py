"""Released schemas do not change: the earlier versions are stored beside this test."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aintandem_notify.store import Store
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION
from aintandem_notify.store.engine.sqlite import APPLICATION_ID
from support.outbox import claim_all, event, queue_up


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


@pytest.fixture(params=range(1, SCHEMA_VERSION))
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store with the schema of an earlier version."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(Path(__file__).with_name(f"store_v{request.param}.sql").read_text())
        raw.execute(f"PRAGMA application_id={APPLICATION_ID}")
    return path


def test_a_store_of_an_earlier_version_is_upgraded(old: Path, tmp_path: Path) -> None:
    """If this fails because of a new column, raise ``SCHEMA_VERSION`` in ``migrations`` and add a step."""
    with closing(Store(old)) as store:
        queue_up([event("task_started")])(store)
        assert len(claim_all()(store)) == 1
    Store(tmp_path / "new.db").close()
    assert len(schema_of(old)) == 10
    assert schema_of(old) == schema_of(tmp_path / "new.db")
