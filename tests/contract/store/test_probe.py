"""``probe_store`` says whether a store can be opened, and changes nothing."""

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from aintandem_notify.errors import StoreDamaged, StoreError
from aintandem_notify.store import Store, probe_store
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION

CURRENT = f"version {SCHEMA_VERSION}"


def state_of(folder: Path) -> Mapping[Path, tuple[int, int, bytes]]:
    """Each file and folder with its mode, its time of change and its content."""
    return {
        path: (path.stat().st_mode, path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob("*")
        if not stat.S_ISFIFO(path.stat().st_mode)
    }


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    before = state_of(folder)
    yield
    assert state_of(folder) == before


def new_store(folder: Path, name: str = "store.sqlite3") -> Path:
    path = folder / name
    Store(path).close()
    return path


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("name", ["store.sqlite3", "100%?#.db", "a b/c.db"])
def test_a_store_is_opened_and_left_as_it_was(name: str, tmp_path: Path) -> None:
    path = new_store(tmp_path, name)
    with unchanged(tmp_path):
        assert probe_store(path) == f"{path}: {CURRENT}"
        assert probe_store(f"sqlite:///{path}") == f"{path}: {CURRENT}"


def test_no_store_and_no_folder_are_made(tmp_path: Path) -> None:
    path = tmp_path / "no" / "folder" / "store.sqlite3"
    with unchanged(tmp_path):
        assert probe_store(path) == f"{path}: none yet; the agent creates it"


def test_a_store_that_an_agent_uses_is_no_trouble(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite3")
    try:
        with unchanged(tmp_path):
            assert "in use" in probe_store(tmp_path / "store.sqlite3")
    finally:
        store.close()


def test_an_older_store_is_not_upgraded(tmp_path: Path) -> None:
    path = new_store(tmp_path)
    change(path, "UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    with unchanged(tmp_path):
        assert probe_store(path) == f"{path}: version 2; the agent upgrades it to {SCHEMA_VERSION}"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE meta SET value = '999' WHERE key = 'schema_version'", "was used by a newer release"),
        ("UPDATE meta SET value = 'x' WHERE key = 'schema_version'", "schema version cannot be read"),
        ("DROP TABLE meta", "holds no tables of ours"),
        ("PRAGMA application_id = 7", "belongs to another program"),
    ],
)
def test_a_store_of_something_else_is_an_error(statement: str, reason: str, tmp_path: Path) -> None:
    path = new_store(tmp_path)
    change(path, statement)
    with unchanged(tmp_path), pytest.raises(StoreError, match=reason) as raised:
        probe_store(path)
    assert str(raised.value).startswith(f"store {path}: ")


def test_a_file_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, this is a text and no database" * 10, encoding="utf-8")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("text", "empty", "pipe", "", "text/below"):
        with unchanged(tmp_path), pytest.raises(StoreError):
            probe_store(tmp_path / name)


def test_a_damaged_store_is_an_error_and_stays_where_it_is(tmp_path: Path) -> None:
    path = new_store(tmp_path)
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    with unchanged(tmp_path), pytest.raises(StoreDamaged):
        probe_store(path)


def test_a_folder_in_which_nothing_can_be_created_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root can create files in any folder; this is the answer that all others get
        monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "locked")
    with pytest.raises(StoreError, match=r"nothing can be created in .*locked; check its permissions"):
        probe_store(tmp_path / "locked" / "deep" / "store.sqlite3")


def test_postgres(postgres_url: str) -> None:
    for _ in range(2):
        assert probe_store(postgres_url).endswith(": no tables yet; the agent creates them")
    with closing(Store(postgres_url)):
        assert probe_store(postgres_url).endswith(f": {CURRENT}")
    change_postgres(postgres_url, "UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    for _ in range(2):
        assert probe_store(postgres_url).endswith(f": version 2; the agent upgrades it to {SCHEMA_VERSION}")
    change_postgres(postgres_url, "UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="was used by a newer release"):
        probe_store(postgres_url)


def change_postgres(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def test_a_postgres_that_cannot_be_used_is_an_error(postgres_url: str) -> None:
    database = postgres_url.split("?")[0].rpartition("/")[2]
    with pytest.raises(StoreError, match="there is no such database"):
        probe_store(postgres_url.replace(database, "nope"))
    change_postgres(postgres_url, "CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(StoreError, match="this user may not do that"):
        probe_store(postgres_url.replace("postgres:@", "reader:@"))
