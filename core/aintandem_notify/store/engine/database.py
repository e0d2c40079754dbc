"""The interface that SQLite and PostgreSQL both offer to the store, and the choice between them by url."""

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection

from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.postgres_urls import is_postgres_url
from aintandem_notify.store.engine.postgres.url import display_name_of
from aintandem_notify.store.engine.quarantine import latest_quarantined
from aintandem_notify.store.engine.reserve import Reserve
from aintandem_notify.store.engine.sqlite import SqliteDatabase, sqlite_path_of

NEEDS_EXTRA: Final = "PostgreSQL needs an extra; install it with: pip install 'aintandem-notify[postgres]'"


class Database(Protocol):
    """One database, open."""

    name: str
    """The file or the database, for messages; contains no secret."""
    connection: Connection
    """The only connection; it executes statements inside ``transaction`` only."""
    reserve: Reserve | None
    """Disk space that can be freed on a full disk; None for PostgreSQL, whose disk is not managed by us."""
    may_be_shared: bool
    """Whether several agents can use it at the same time."""

    def translate_errors(self) -> AbstractContextManager[None]:
        """Turns errors of the driver inside the block into a StoreError of one clear sentence."""
        ...

    def transaction(self, *, durable: bool) -> AbstractContextManager[None]:
        """Commits the block as a whole or not at all. Without ``durable`` a power cut may undo all of it."""
        ...

    def make_room(self) -> None:
        """Return unused disk space to the system; call it outside of ``transaction`` only."""
        ...

    def close(self) -> None:
        """Close the connection and release the file or the session."""
        ...


def store_exists(url: str | Path) -> bool:
    """Whether a store exists at ``url``. Opens nothing, so it is always True for PostgreSQL."""
    if isinstance(url, str) and is_postgres_url(url):
        return True
    path = sqlite_path_of(url)
    return path is not None and path.exists()


def latest_quarantined_name(url: str | Path) -> str | None:
    """The name of the damaged file that was put aside last from ``url``; None if there is none."""
    path = None if isinstance(url, str) and is_postgres_url(url) else sqlite_path_of(url)
    with suppress(OSError):  # its folder may be missing, too
        quarantined = None if path is None else latest_quarantined(path)
        return None if quarantined is None else quarantined.name
    return None


def open_database(url: str | Path, *, reserve_bytes: int = 0, quarantines_damaged: bool = True) -> Database:
    """Opens the database at ``url`` and upgrades its schema to this version. Raises StoreError on failure.

    ``quarantines_damaged``: put a damaged file aside before raising, so that the next start creates a new one.
    """
    if isinstance(url, str) and is_postgres_url(url):
        try:
            from aintandem_notify.store.engine.postgres.database import PostgresDatabase
        except ImportError as error:
            raise StoreError(f"store {display_name_of(url)}: {NEEDS_EXTRA}") from error
        return PostgresDatabase(url)
    return SqliteDatabase(url, reserve_bytes=reserve_bytes, quarantines_damaged=quarantines_damaged)
