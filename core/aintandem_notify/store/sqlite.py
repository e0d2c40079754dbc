"""All that is SQLite's own, from making the file to closing it.

One connection with an exclusive lock: a second agent on the same file is noticed at once, and older SQLite
has a bug in WAL mode that needs two connections. ``synchronous=FULL`` makes a commit survive a power cut.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from aintandem_notify.errors import StoreError
from aintandem_notify.store.faults import SENTENCES, naming_errors
from aintandem_notify.store.migrations import create, upgrade

APPLICATION_ID: Final = int.from_bytes(b"AINT", "big")
"""Marks a SQLite file as ours (PRAGMA application_id)."""

QUICK_CHECK_BYTES: Final = 256 * 1024 * 1024
"""Up to this size every open checks the pages (some tenths of a second at the most); a larger file only when
the last agent did not close it, which its WAL file shows."""

CHECKPOINT_PAGES: Final = 8000
"""Pages (4 KiB) in the WAL before they are folded into the file: a busy page is then written there once for
many commits."""

CACHE_KIB: Final = 16_384
"""Pages that SQLite keeps in memory; the indexes of some 100,000 deliveries."""


class SqliteDatabase:
    """The file at ``url`` (a path or ``sqlite:///path``; ``sqlite://`` is in memory), held until ``close``.

    Raises StoreError when it cannot be had.
    """

    def __init__(self, url: str | Path) -> None:
        self.connection, self.name = connect(url)
        self._path = location_of(url)
        self._identity = self._path and identity_of(self._path)
        self._durable = True

    def naming_errors(self) -> AbstractContextManager[None]:
        """See ``Database``."""
        return naming_errors(self.name)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """All or nothing; see ``Database``."""
        self._check_in_place()
        if durable is not self._durable:
            set_durable(self.connection, durable)
            self._durable = durable
        with self.connection.begin():
            yield

    def _check_in_place(self) -> None:
        # SQLite would write on into a file that nobody finds again, and all that is queued would be lost.
        if self._path is not None and identity_of(self._path) != self._identity:
            raise StoreError(
                f"store {self.name}: its file was moved, deleted or replaced while in use; "
                "bring it back, or restart the agent to begin anew"
            )

    def close(self) -> None:
        """Release the file; another agent may open it then."""
        disconnect(self.connection)


def location_of(url: str | Path) -> Path | None:
    """The file that a ``[store] url`` names; None for a database in memory (``sqlite://``).

    A path or ``sqlite:///path``. Raises StoreError for other databases.
    """
    if isinstance(url, Path) or "://" not in url:
        return Path(url).expanduser()
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("[store] url cannot be read; write it as a path or as sqlite:///path") from None
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"[store] url: {parsed.get_backend_name()} is not supported by this version; "
            "write a path or sqlite:///path"
        )
    if parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).expanduser()


def connect(url: str | Path) -> tuple[Connection, str]:
    """The store's one connection, locked, checked and on this version's schema; and the store's name.

    A missing file is made (0600, in a folder of 0700). Raises StoreError.
    """
    path = location_of(url)
    name = ":memory:" if path is None else str(path)
    with naming_errors(name):
        if path is None:
            connection = _connection(None)
            with connection.begin():
                create(connection)
            return connection, name
        _ensure_file(path)
        left_open = _wal_of(path).exists()
        connection = _connection(path)
        try:
            _lock(connection, path)
            if left_open or path.stat().st_size <= QUICK_CHECK_BYTES:
                _check_pages(connection, path)
            _upgrade(connection, path)
        except BaseException:
            disconnect(connection)
            raise
        return connection, name


def disconnect(connection: Connection) -> None:
    """Close for good; the last act folds the WAL into the file."""
    connection.close()
    connection.engine.dispose()


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells the file at ``path`` from any other; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # half the time of Path.stat, and this is for every transaction
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def set_durable(connection: Connection, durable: bool) -> None:
    """Whether the next transactions wait for the disk. Those that do not survive a kill, not a power cut."""
    _driver(connection).execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")


def _engine(path: Path | None) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=None if path is None else str(path)),
        poolclass=StaticPool,
        hide_parameters=True,  # texts of tasks do not belong into errors
        # No waiting for locks: another holder is another agent, and it stays. Transactions are ours to begin.
        connect_args={"timeout": 0, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connection(path: Path | None) -> Connection:
    return _engine(path).connect()


def _lock(connection: Connection, path: Path) -> None:
    """Exclusive from here to the end; asks whose file it is before anything in it is changed."""
    driver = _driver(connection)
    driver.execute("PRAGMA locking_mode=EXCLUSIVE")
    (found,) = driver.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID:
        raise StoreError(f"store {path}: it belongs to another program; set another [store] url")
    driver.execute("PRAGMA journal_mode=WAL")
    driver.execute("PRAGMA synchronous=FULL")
    driver.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    driver.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    with connection.begin():
        # In WAL mode the lock is taken by the first transaction, and a read-only file is noticed by a write.
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")


def _check_pages(connection: Connection, path: Path) -> None:
    (verdict,) = _driver(connection).execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(f"store {path}: {SENTENCES['SQLITE_CORRUPT']}")


def _upgrade(connection: Connection, path: Path) -> None:
    try:
        with connection.begin():
            upgrade(connection)
    except StoreError as error:
        raise StoreError(f"store {path}: {error}") from error


def _ensure_file(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"store {path}: it is a folder; name a file in [store] url")
    if path.exists():
        if path.stat().st_size == 0:
            # SQLite would take it for a new database and nobody would learn that a queue was lost.
            raise StoreError(f"store {path}: it is empty, so what it held is lost; move it away to start anew")
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            # SQLite's own answer to a read-only disk differs from one version to the next.
            raise StoreError(f"store {path}: {SENTENCES['SQLITE_READONLY']}")
        return
    wal = _wal_of(path)
    if wal.exists() and wal.stat().st_size > 0:
        raise StoreError(f"store {path}: it is missing but {wal.name} is there; bring it back, or move that away")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _create_file(path)


def _create_file(path: Path) -> None:
    """Made beside its place and then put there whole: a kill in between leaves no half a store."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    try:
        connection = _connection(draft)
        try:
            _driver(connection).execute(f"PRAGMA application_id={APPLICATION_ID}")
            with connection.begin():
                create(connection)
        finally:
            disconnect(connection)
        _put_in_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _put_in_place(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename it never replaces the file of an agent that was faster
    except FileExistsError:
        return
    except OSError:  # a file system without links
        draft.rename(path)
    if os.name == "posix":
        with suppress(OSError), closing(_Folder(path.parent)) as folder:
            os.fsync(folder.descriptor)


class _Folder:
    """A folder opened to be synced, so that a new name in it survives a power cut."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def _wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _driver(connection: Connection) -> Any:
    """The driver's own connection, for what must not run inside a transaction."""
    return connection.connection.driver_connection
