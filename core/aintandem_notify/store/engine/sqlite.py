"""The SQLite database: creating, locking, checking, upgrading and closing the file.

The store uses one connection with an exclusive lock, so a second agent on the same file is refused at once. This
also avoids a bug of older SQLite versions, which needs two connections in WAL mode. ``synchronous=FULL`` makes a
commit survive a power cut.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.store.engine.database_errors import (
    SQLITE_MESSAGES,
    translate_driver_errors,
    translate_errors,
)
from aintandem_notify.store.engine.file_size_limit import raise_size_limit, size_limit_problem
from aintandem_notify.store.engine.migrations import create, upgrade
from aintandem_notify.store.engine.quarantine import (
    HEADER_BYTES,
    HeaderKind,
    classify_header,
    latest_quarantined,
    quarantine,
    wal_path_of,
)
from aintandem_notify.store.engine.reserve import Reserve
from aintandem_notify.store.engine.schema import PREDECESSOR_KEY, meta

APPLICATION_ID: Final = int.from_bytes(b"AINT", "big")
"""Marks a SQLite file as ours (PRAGMA application_id)."""

QUICK_CHECK_BYTES: Final = 64 * 1024 * 1024
"""Up to this size every open checks the pages, which takes about a tenth of a second. A larger file is checked
only if the last agent did not close it, so that its WAL file is still there. With 100,000 queued deliveries the
check took a fifth of the start."""

_FILE_URL_PREFIX: Final = "sqlite:///"
"""The prefix of a url that names a file."""

CHECKPOINT_PAGES: Final = 8000
"""Pages (4 KiB) in the WAL before a checkpoint writes them to the file. A page that many commits change is then
written there once."""

MIN_FREE_BYTES: Final = 1024 * 1024
"""Bytes that must stay free on a full disk after a checkpoint of the WAL."""

CACHE_KIB: Final = 16_384
"""SQLite's page cache; enough for the indexes of some 100,000 deliveries."""


class SqliteDatabase:
    """The file at ``url`` (a path or ``sqlite:///path``; ``sqlite://`` is in memory), held until ``close``.

    Raises StoreError when it cannot be opened. With ``quarantines_damaged`` a damaged or emptied file of ours is
    first put aside, so that the next start creates a new one.
    """

    may_be_shared = False

    def __init__(self, url: str | Path, *, reserve_bytes: int = 0, quarantines_damaged: bool = True) -> None:
        self._path = sqlite_path_of(url)
        self.reserve: Reserve | None = None if self._path is None else _lock_file(self._path, reserve_bytes)
        self.connection: Connection
        self.name: str
        try:
            self.connection, self.name = _connect_or_quarantine(url, self._path, self.reserve, quarantines_damaged)
        except BaseException:
            if self.reserve is not None:
                self.reserve.close(leave_nothing=True)
            raise
        self._identity = None if self._path is None else file_identity_of(self._path)
        self._durable = True

    def translate_errors(self) -> AbstractContextManager[None]:
        """See ``Database``."""
        return translate_errors(self.name)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """See ``Database``."""
        if self._path is not None:
            self._require_unchanged_file(self._path)
        if durable is not self._durable:
            set_durable(self.connection, durable)
            self._durable = durable
        with self.connection.begin():
            yield

    def _require_unchanged_file(self, path: Path) -> None:
        current, before = file_identity_of(path), self._identity
        # SQLite would go on writing to a file without a name, and the queue would be lost.
        if current is None or before is None or (current.device, current.inode) != (before.device, before.inode):
            raise StoreError(
                f"store {self.name}: its file was moved, deleted or replaced while in use; "
                "bring it back, or restart the agent to begin with an empty store"
            )
        # We never shrink the file, so a file that is shorter than before was truncated by somebody else.
        if current.size < before.size:
            raise StoreDamaged(f"store {self.name}: {SQLITE_MESSAGES['SQLITE_CORRUPT']}")
        self._identity = current

    def make_room(self) -> None:
        """Writes the WAL to the file and truncates it, if the disk has room for the file to grow."""
        if self._path is None or self._identity is None:
            return
        driver = _driver_connection(self.connection)
        pages, page_size = (driver.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        needed = max(0, pages * page_size - self._path.stat().st_size)
        # If the disk filled up half-way, nothing could be recorded any more.
        if shutil.disk_usage(self._path.parent).free >= needed + MIN_FREE_BYTES:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Releases the file; then another agent may open it."""
        try:
            if self.reserve is not None and self.reserve.is_suspect:
                skip_final_checkpoint(self.connection)
            disconnect(self.connection)
        finally:
            if self.reserve is not None:
                self.reserve.close()


class FileIdentity(NamedTuple):
    """The device and inode that identify a file, and its size in bytes."""

    device: int
    inode: int
    size: int


def sqlite_path_of(url: str | Path) -> Path | None:
    """The file that a ``[store] url`` names; None for a database in memory (``sqlite://``).

    ``url`` is a path or ``sqlite:///path``. Nothing in the path is decoded and it has no query, since a folder may
    be called ``100%?``. Raises StoreError for other databases.
    """
    if isinstance(url, Path) or "://" not in url:
        return Path(url).expanduser()
    if url.startswith(_FILE_URL_PREFIX) and url not in (_FILE_URL_PREFIX, f"{_FILE_URL_PREFIX}:memory:"):
        return Path(url.removeprefix(_FILE_URL_PREFIX)).expanduser()
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("[store] url cannot be read; write it as a path or as sqlite:///path") from None
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"[store] url: {parsed.get_backend_name()} is not supported by this version; "
            "write a path or sqlite:///path"
        )
    return None


def _lock_file(path: Path, reserve_bytes: int) -> Reserve:
    """Creates the folder of ``path`` if needed (0700) and locks the store; returns the lock and disk reserve."""
    with translate_errors(str(path)):
        require_regular_file(path)
        # Only an agent reserves space, and only an agent makes the file grow.
        size = path.stat().st_size if path.exists() else 0
        if reserve_bytes and (problem := size_limit_problem(raise_size_limit(), size)) is not None:
            raise StoreError(f"store {path}: {problem}")
        make_folder(path.parent)
        return Reserve(path, reserve_bytes)


def require_regular_file(path: Path) -> None:
    """Raises StoreError if there is something else than a file at ``path``."""
    # Opening a pipe would block, and a device would be renamed like an emptied store of ours.
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise StoreError(f"store {path}: it is {kind}; name a file in [store] url")


def _connect_or_quarantine(
    url: str | Path, path: Path | None, reserve: Reserve | None, quarantines_damaged: bool
) -> tuple[Connection, str]:
    if path is None or reserve is None:
        return connect(url)
    try:
        try:
            opened = connect(url, thorough=reserve.is_suspect)
        except StoreFull:
            if not reserve.release():
                raise
            opened = connect(url)
    except StoreDamaged:
        if not reserve.is_locked:
            raise
        if not quarantines_damaged:
            raise StoreDamaged(
                f"store {path}: it is damaged or was emptied, and stays as it is for now; an agent that starts "
                "puts it aside, and the next one begins anew with an empty store"
            ) from None
        with translate_errors(str(path)):
            quarantined = quarantine(path, SystemClock().now())
        reserve.clear_suspect()
        raise StoreDamaged(
            f"store {path}: it is damaged or was emptied, so it was put aside as {quarantined.name} and nothing "
            "was deleted; start again to begin anew with an empty store"
        ) from None
    reserve.clear_suspect()
    return opened


def connect(url: str | Path, *, thorough: bool = False) -> tuple[Connection, str]:
    """Opens, locks, checks and upgrades the store; returns its only connection and the store's name.

    A missing file is created (0600). ``thorough`` checks every page and index. Raises StoreError.
    """
    path = sqlite_path_of(url)
    name = ":memory:" if path is None else str(path)
    with translate_errors(name):
        if path is None:
            connection = _open_connection(None)
            with connection.begin():
                create(connection)
            return connection, name
        if not is_own_file(path):
            _create_file(path)
        was_left_open = wal_path_of(path).exists()
        connection = _open_connection(path)
        try:
            _set_pragmas(connection)
            if thorough or was_left_open or path.stat().st_size <= QUICK_CHECK_BYTES:
                check_pages(connection, path, "integrity_check" if thorough else "quick_check")
            with connection.begin():
                # In WAL mode the first transaction takes the lock, and only a write notices a read-only file.
                connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            _upgrade(connection, path)
        except BaseException as error:
            if isinstance(error, StoreDamaged):
                skip_final_checkpoint(connection)
            disconnect(connection)
            raise
        return connection, name


def disconnect(connection: Connection) -> None:
    """Closes the connection, which first writes the WAL to the file."""
    connection.close()
    connection.engine.dispose()


def skip_final_checkpoint(connection: Connection) -> None:
    """Makes closing the connection write nothing to the file. No effect before Python 3.12."""
    driver = _driver_connection(connection)
    if sys.version_info >= (3, 12):
        driver.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def file_identity_of(path: Path) -> FileIdentity | None:
    """Device, inode and size of the file at ``path``; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # half the time of Path.stat, and every transaction needs it
    except FileNotFoundError:
        return None
    return FileIdentity(status.st_dev, status.st_ino, status.st_size)


def set_durable(connection: Connection, durable: bool) -> None:
    """Sets whether later transactions wait for the disk. Otherwise they survive a kill, but no power cut."""
    _driver_connection(connection).execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")


def _engine(path: Path | None) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=None if path is None else str(path)),
        poolclass=StaticPool,
        hide_parameters=True,  # keeps the texts of tasks out of errors
        # No waiting for locks, since another agent keeps its lock. We begin the transactions ourselves.
        connect_args={"timeout": 0, "check_same_thread": False, "isolation_level": None},
    )

    translate_driver_errors(engine)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _open_connection(path: Path | None) -> Connection:
    return _engine(path).connect()


def _set_pragmas(connection: Connection) -> None:
    """Sets the pragmas of the connection. Changes nothing in the file and does not lock it yet."""
    driver = _driver_connection(connection)
    driver.execute("PRAGMA locking_mode=EXCLUSIVE")
    driver.execute("PRAGMA journal_mode=WAL")
    driver.execute("PRAGMA synchronous=FULL")
    driver.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    driver.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


def check_pages(connection: Connection, path: Path, check: str) -> None:
    """Runs ``PRAGMA check``. Raises StoreDamaged if it finds anything."""
    (result,) = _driver_connection(connection).execute(f"PRAGMA {check}(1)").fetchone()
    if result != "ok":
        raise StoreDamaged(f"store {path}: {SQLITE_MESSAGES['SQLITE_CORRUPT']}")


def _upgrade(connection: Connection, path: Path) -> None:
    try:
        with connection.begin():
            upgrade(connection)
    except StoreError as error:
        raise StoreError(f"store {path}: {error}") from error


def is_own_file(path: Path) -> bool:
    """Whether there is a store at ``path``. Raises StoreError for a file that cannot be used."""
    if path.exists():
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            # SQLite's own error for a read-only disk differs between versions.
            raise StoreError(f"store {path}: {SQLITE_MESSAGES['SQLITE_READONLY']}")
        with path.open("rb") as file:
            kind = classify_header(file.read(HEADER_BYTES), APPLICATION_ID)
        if kind is HeaderKind.EMPTY:
            # SQLite would treat it as a new database, and nobody would learn that a queue was lost.
            raise StoreDamaged(f"store {path}: it was emptied, so its content is lost")
        if kind is HeaderKind.NOT_SQLITE:
            raise StoreError(f"store {path}: {SQLITE_MESSAGES['SQLITE_NOTADB']}")
        if kind is HeaderKind.OTHER_PROGRAM:
            raise StoreError(f"store {path}: it belongs to another program; set another [store] url")
        return True
    wal = wal_path_of(path)
    if wal.exists() and wal.stat().st_size > 0:
        raise StoreError(
            f"store {path}: the store file is missing, but {wal.name} exists; "
            f"restore the file, or move {wal.name} away"
        )
    return False


def _create_file(path: Path) -> None:
    """Creates the store under a temporary name, then links it to ``path``; so a kill leaves no partial store."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    # A file of this name may belong to somebody else, or be a link: it is neither used nor emptied.
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    try:
        connection = _open_connection(draft)
        try:
            _driver_connection(connection).execute(f"PRAGMA application_id={APPLICATION_ID}")
            with connection.begin():
                create(connection)
                if quarantined := latest_quarantined(path):
                    connection.execute(insert(meta), {"key": PREDECESSOR_KEY, "value": quarantined.name})
        finally:
            disconnect(connection)
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename, it never replaces the file of a faster agent
    except FileExistsError:
        return
    except OSError:  # a file system without links
        draft.rename(path)
    if os.name == "posix":
        with suppress(OSError), closing(_Folder(path.parent)) as folder:
            os.fsync(folder.descriptor)


class _Folder:
    """A folder opened for fsync, so that a new name in it survives a power cut."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.descriptor)


def _driver_connection(connection: Connection) -> Any:
    """The driver's connection, for statements that must not run inside a transaction."""
    return connection.connection.driver_connection
