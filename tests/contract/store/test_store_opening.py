"""Opening a store: the created file, and one clear sentence for each problem with it."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.store import Store, open_storage
from aintandem_notify.store.engine.database_errors import translate_errors
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION, upgrade
from aintandem_notify.store.engine.sqlite import APPLICATION_ID, connect, disconnect, sqlite_path_of
from support.outbox import NOW, claim_all, event, inside, queue_up

NOBODY = 65534
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "agent.db"


@pytest.fixture
def used(path: Path) -> Path:
    """A store that an agent has used and closed."""
    with closing(Store(path)) as store:
        queue_up([event("task_started", run=f"t{n}", task="x" * 2000) for n in range(20)])(store)
    return path


def reason(path: Path | str) -> str:
    """The message of the error that opening the store raises."""
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@posix
def test_a_new_store_is_the_owners_alone(path: Path) -> None:
    with closing(Store(path)) as store:
        store_files = sorted(path.parent.iterdir())
        assert [stat.S_IMODE(file.stat().st_mode) for file in store_files] == [0o600] * len(store_files)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert store.name == str(path)
    assert sorted(path.parent.iterdir()) == [path, path.with_name("agent.db-reserve")]


def test_a_new_store_is_marked_durable_and_in_wal_mode(path: Path) -> None:
    path.parent.mkdir()
    connection, _ = connect(path)
    settings = ("application_id", "journal_mode", "synchronous", "locking_mode")
    rows = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in settings]
    disconnect(connection)
    assert rows == [APPLICATION_ID, "wal", 2, "exclusive"]


@pytest.mark.parametrize("form", [str, Path, lambda path: f"sqlite:///{path}"])
def test_a_store_is_named_by_path_or_url(path: Path, form: Callable[[Path], str | Path]) -> None:
    Store(form(path)).close()
    assert path.stat().st_size > 0


def test_a_store_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store("sqlite://").close()
    assert list(tmp_path.iterdir()) == []
    assert sqlite_path_of("sqlite:///:memory:") is None


@pytest.mark.parametrize("name", ["100%", "a?b=c", "a#b", "a;b", "%41", "caf\udce9", "a\nb", " ", "file:x"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "state.db"
    Store(f"sqlite:///{path}").close()
    assert path.stat().st_size > 0
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:geheim@h", "cannot be read"),
        ("postgresql://u:geheim@h:port/db", "cannot be read"),
        ("mysql+pymysql://u:geheim@h/db", "mysql is not supported by this version"),
        ("://geheim", "cannot be read"),
    ],
)
def test_other_databases_are_refused_without_their_password(url: str, says: str) -> None:
    assert says in reason(url)
    assert "geheim" not in reason(url)


def test_what_is_written_is_there_again(used: Path) -> None:
    with closing(Store(used)) as store:
        assert len(claim_all()(store)) == 20


def test_a_second_agent_leaves_at_once_and_harms_nothing(used: Path) -> None:
    script = f"from aintandem_notify.store import Store; Store({str(used)!r})"
    with closing(Store(used)) as store:
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert f"store {used}: it is in use by another agent" in other.stderr
        assert "in use by another agent" in reason(used)
        queue_up([event("task_failed", run="late")])(store)
        assert len(claim_all()(store)) == 21


def test_the_file_is_free_again_after_a_kill(used: Path) -> None:
    script = f"""
import os
from support.outbox import event, queue_up
from aintandem_notify.store import Store
queue_up([event("task_failed", run="late")])(Store({str(used)!r}))
os.kill(os.getpid(), 9)
"""
    tests = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", script], check=False, env=os.environ | {"PYTHONPATH": tests})
    assert used.with_name("agent.db-wal").exists()
    with closing(Store(used)) as store:
        assert len(claim_all()(store)) == 21


def quarantined_files(path: Path) -> dict[str, bytes]:
    """Names and contents of the files that were put aside from ``path``."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if ".damaged-" in file.name}


def assert_quarantined(path: Path) -> bytes:
    """Checks that a start puts the damaged file aside unchanged, and that the next one creates a new store."""
    damaged = path.read_bytes()
    message = reason(path)
    (quarantined,) = quarantined_files(path)
    assert message == (
        f"store {path}: it is damaged or was emptied, so it was put aside as {quarantined} and nothing "
        "was deleted; start again to begin anew with an empty store"
    )
    assert not path.exists()
    with closing(Store(path)) as store:
        assert store.damaged_predecessor() == quarantined
        assert claim_all()(store) == []
        store.clear_damaged_predecessor()
    with closing(Store(path)) as store:
        assert store.damaged_predecessor() is None
    assert quarantined_files(path) == {quarantined: damaged}
    return damaged


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"SQLite", b"SQLite format 3\0\x10\0"])
def test_an_emptied_file_is_not_taken_for_a_new_store(used: Path, content: bytes) -> None:
    used.write_bytes(content)
    assert assert_quarantined(used) == content


def test_files_put_aside_in_the_same_second_keep_apart(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemClock, "now", lambda _self: NOW)
    for content in (b"", b"\0"):
        used.write_bytes(content)
        reason(used)
    assert list(map(len, quarantined_files(used).values())) == [0, 1] or list(
        map(len, quarantined_files(used).values())
    ) == [1, 0]
    with closing(Store(used)) as store:
        assert store.damaged_predecessor() == "agent.db.damaged-20260101T000000Z-2"


def test_a_damaged_files_wal_goes_with_it(used: Path) -> None:
    wal = used.with_name("agent.db-wal")
    used.write_bytes(b"")
    wal.write_bytes(b"frames")
    reason(used)
    assert sorted(quarantined_files(used).values()) == [b"", b"frames"]
    assert not wal.exists()
    with closing(Store(used)) as store:
        assert not str(store.damaged_predecessor()).endswith("-wal")


@posix
def test_the_file_of_a_living_agent_is_never_put_aside(used: Path) -> None:
    with closing(Store(used)) as store:
        used.write_bytes(b"")
        assert "in use by another agent" in reason(used)
        assert quarantined_files(used) == {}
        with pytest.raises(StoreDamaged, match="it is damaged"):
            claim_all()(store)


def test_a_file_that_is_no_database(used: Path) -> None:
    used.write_text("to do: buy milk\n" * 1000)
    assert "it is not a database" in reason(used)
    assert used.read_text().startswith("to do")


def test_another_programs_database_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url)")
    before = path.read_bytes()
    assert "it belongs to another program" in reason(path)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_half_a_file(used: Path) -> None:
    used.write_bytes(used.read_bytes()[: used.stat().st_size // 2])
    assert_quarantined(used)


@pytest.mark.parametrize("page", range(2, 12))
def test_a_corrupt_page(used: Path, page: int) -> None:
    content = bytearray(used.read_bytes())
    assert len(content) > 4096 * page
    content[4096 * (page - 1) : 4096 * page] = b"\xde\xad" * 2048
    used.write_bytes(content)
    assert_quarantined(used)


def test_a_missing_file_beside_its_wal(used: Path) -> None:
    used.with_name("agent.db-wal").write_bytes(b"committed, but not folded in")
    used.unlink()
    assert "the store file is missing, but agent.db-wal exists" in reason(used)


@pytest.fixture
def plain_user() -> Iterator[Path]:
    """A folder of the test's user, which is ``nobody`` in place of root, since root may write everywhere."""
    with TemporaryDirectory(prefix="aintandem-notify-") as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.setresuid(0, 0, 0)


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_or_folder_that_is_read_only(plain_user: Path, what: str) -> None:
    used = plain_user / "state" / "agent.db"
    Store(used).close()
    locked = used if what == "file" else used.parent
    mode = locked.stat().st_mode
    locked.chmod(mode & ~0o222)
    try:
        assert "it cannot be written" in reason(used)
    finally:
        locked.chmod(mode)


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    assert "it is a folder" in reason(path)


@posix
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(os.devnull)], ids=["pipe", "device"])
def test_a_file_that_is_not_regular_is_left_alone(path: Path, make: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True)
    make(path)
    before = path.lstat()
    assert "it is no regular file; name a file in [store] url" in reason(path)
    assert path.lstat() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_where_its_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "agent.db") in reason(tmp_path / "file" / "agent.db")


def test_a_newer_schema(used: Path) -> None:
    with closing(sqlite3.connect(used)) as raw, raw:
        raw.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    assert "its schema has version 99" in reason(used)
    assert "newer release" in reason(used)


@pytest.mark.parametrize("change", ["DELETE FROM meta", "UPDATE meta SET value = 'x'", "DROP TABLE meta"])
def test_a_version_that_cannot_be_read(used: Path, change: str) -> None:
    with closing(sqlite3.connect(used)) as raw, raw:
        raw.execute(change)
    assert f"store {used}: it" in reason(used)


def test_migrations_run_one_after_the_other_and_all_or_nothing(used: Path) -> None:
    def add_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE projects ADD COLUMN lease TEXT"))

    def fail(connection: Connection) -> None:
        add_column(connection)
        raise StoreError("out of luck")

    connection, _ = connect(used)
    with pytest.raises(StoreError, match="out of luck"), connection.begin():
        upgrade(connection, version=SCHEMA_VERSION + 1, steps={SCHEMA_VERSION + 1: fail})
    with connection.begin():
        upgrade(connection, version=SCHEMA_VERSION + 1, steps={SCHEMA_VERSION + 1: add_column})
    with connection.begin():
        upgrade(connection, version=SCHEMA_VERSION + 1, steps={})
        assert connection.execute(text("SELECT lease FROM projects")).all() == []
    disconnect(connection)
    assert f"version {SCHEMA_VERSION + 1} and this aintandem-notify knows version {SCHEMA_VERSION}" in reason(used)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("SQLITE_BUSY", "in use by another agent"),
        ("SQLITE_BUSY_SNAPSHOT", "in use by another agent"),
        ("SQLITE_READONLY", "cannot be written"),
        ("SQLITE_READONLY_DIRECTORY", "cannot be written"),
        ("SQLITE_CANTOPEN", "cannot be opened"),
        ("SQLITE_FULL", "the disk is full"),
        ("SQLITE_IOERR_WRITE", "the disk failed"),
        ("SQLITE_CORRUPT_INDEX", "it is damaged"),
        ("SQLITE_NOTADB", "not a database"),
        ("SQLITE_TOOBIG", "the database refused: words of sqlite"),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_errors_of_the_database_become_sentences(code: str, says: str, wrapped: bool) -> None:
    cause = sqlite3.OperationalError("words of sqlite")
    cause.sqlite_errorname = code
    error = OperationalError("SELECT 1", {}, cause) if wrapped else cause
    with pytest.raises(StoreError, match=says), translate_errors("agent.db"):
        raise error


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOSPC, StoreFull, "the disk is full"),
        (errno.EDQUOT, StoreFull, os.strerror(errno.EDQUOT)),
        (errno.EROFS, StoreError, "it cannot be written; its disk is mounted read-only"),
        (errno.EACCES, StoreError, "it cannot be written; check the permissions"),
        (errno.EIO, StoreError, os.strerror(errno.EIO)),
    ],
)
def test_errors_of_the_system_become_sentences(number: int, kind: type[StoreError], says: str) -> None:
    with pytest.raises(StoreError, match=f"store agent.db: {says}") as caught, translate_errors("agent.db"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SQLITE_FULL", StoreFull),
        ("SQLITE_IOERR_WRITE", StoreFull),  # a quota, as SQLite sees it
        ("SQLITE_IOERR_READ", StoreError),
        ("SQLITE_CORRUPT", StoreDamaged),
        ("SQLITE_NOTADB", StoreDamaged),
        ("SQLITE_READONLY", StoreError),
    ],
)
def test_errors_of_the_database_tell_the_remedy(code: str, kind: type[StoreError]) -> None:
    cause = sqlite3.OperationalError("words of sqlite")
    cause.sqlite_errorname = code
    with pytest.raises(StoreError) as caught, translate_errors("agent.db"):
        raise cause
    assert type(caught.value) is kind


def expire_all(store: Store) -> None:
    store.backlog.expire("file_log.a", older_than=NOW.replace(year=2030), now=NOW, reason="old")


def expire_and_fail(store: Store) -> None:
    expire_all(store)
    raise ZeroDivisionError


def test_a_transaction_is_all_or_nothing(used: Path) -> None:
    with closing(Store(used)) as store:
        with pytest.raises(ZeroDivisionError):
            inside(expire_and_fail)(store)
        assert len(claim_all()(store)) == 20
        with store.transaction(durable=False):
            expire_all(store)
        assert claim_all()(store) == []


@posix
def test_a_file_that_was_moved_or_replaced_is_not_written_any_more(used: Path, tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    with closing(Store(used)) as store:
        used.rename(away)
        with pytest.raises(StoreError, match="moved, deleted or replaced"):
            queue_up([event("task_failed")])(store)
        used.write_bytes(b"another agent's")
        with pytest.raises(StoreError, match="moved, deleted or replaced"):
            claim_all()(store)
        away.replace(used)
        assert len(claim_all()(store)) == 20


async def test_work_in_the_stores_thread_returns_and_raises(path: Path) -> None:
    async with open_storage(path) as storage:
        await storage.run(queue_up([event("task_started")]))
        assert len(await storage.run(claim_all())) == 1
        with pytest.raises(ZeroDivisionError):
            await storage.run(inside(lambda _store: 1 // 0))
        assert storage.name == str(path)
    Store(path).close()


@posix
@pytest.mark.parametrize("kind", ["a link", "a file that all may read"])
def test_a_foreign_file_at_the_temporary_name_is_not_used(kind: str, path: Path, tmp_path: Path) -> None:
    other, draft = tmp_path / "other", path.with_name(f".{path.name}.{os.getpid()}.new")
    other.write_text("not ours")
    path.parent.mkdir()
    if kind == "a link":
        draft.symlink_to(other)
    else:
        draft.touch()
        draft.chmod(0o666)
    with closing(Store(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert other.read_text() == "not ours"
    assert not draft.is_symlink()
