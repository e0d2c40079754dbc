"""What the store needs of a database, whichever it is."""

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection

from aintandem_notify.errors import StoreError
from aintandem_notify.store.engine.postgres_url import display_name_of, is_postgres_url
from aintandem_notify.store.engine.quarantine import latest_quarantined
from aintandem_notify.store.engine.reserve import Reserve
from aintandem_notify.store.engine.sqlite import SqliteDatabase, sqlite_path_of

NEEDS_EXTRA: Final = "PostgreSQL needs an extra; install it with: pip install 'aintandem-notify[postgres]'"


class Database(Protocol):
    """One database, open."""

    name: str
    """For people; holds no secret."""
    connection: Connection
    """The one connection; statements go through it inside ``transaction`` only."""
    reserve: Reserve | None
    """Room that can be given up on a full disk; None where the disk is not ours to care for."""
    may_be_shared: bool
    """Whether several agents can work on it at the same time."""

    def translate_errors(self) -> AbstractContextManager[None]:
        """Turns what the driver raises inside into a StoreError of one clear sentence."""
        ...

    def transaction(self, *, durable: bool) -> AbstractContextManager[None]:
        """All or nothing. One that need not be ``durable`` may be undone, whole, by a power cut."""
        ...

    def make_room(self) -> None:
        """Give back to the disk what is not needed at this moment; outside of ``transaction`` only."""
        ...

    def close(self) -> None:
        """Give it back for good."""
        ...


def store_exists(url: str | Path) -> bool:
    """Whether there is a store at ``url`` yet, as far as can be told without opening it."""
    if isinstance(url, str) and is_postgres_url(url):
        return True
    path = sqlite_path_of(url)
    return path is not None and path.exists()


def latest_quarantined_name(url: str | Path) -> str | None:
    """The name of the damaged file that was put aside last in favour of the one at ``url``; None if none was."""
    path = None if isinstance(url, str) and is_postgres_url(url) else sqlite_path_of(url)
    with suppress(OSError):  # not even its folder may be there
        quarantined = None if path is None else latest_quarantined(path)
        return None if quarantined is None else quarantined.name
    return None


def open_database(url: str | Path, *, reserve_bytes: int = 0, quarantines_damaged: bool = True) -> Database:
    """The database at ``url``, on this version's schema. Raises StoreError when it cannot be had.

    ``quarantines_damaged``: whether a damaged file is put aside then, for the next one to begin anew.
    """
    if isinstance(url, str) and is_postgres_url(url):
        try:
            from aintandem_notify.store.engine.postgres import PostgresDatabase
        except ImportError as error:
            raise StoreError(f"store {display_name_of(url)}: {NEEDS_EXTRA}") from error
        return PostgresDatabase(url)
    return SqliteDatabase(url, reserve_bytes=reserve_bytes, quarantines_damaged=quarantines_damaged)
