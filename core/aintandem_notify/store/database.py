"""What the store needs of a database, whichever it is."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from aintandem_notify.store.sqlite import SqliteDatabase


class Database(Protocol):
    """One database, open. What the driver raises is named by whoever calls (``faults.naming_errors``)."""

    name: str
    """For people; holds no secret."""
    connection: Connection
    """The one connection; statements go through it inside ``transaction`` only."""

    def transaction(self, *, durable: bool) -> AbstractContextManager[None]:
        """All or nothing. One that need not be ``durable`` may be undone, whole, by a power cut."""
        ...

    def close(self) -> None:
        """Give it back for good."""
        ...


def open_database(url: str | Path) -> Database:
    """The database at ``url``, on this version's schema. Raises StoreError when it cannot be had."""
    return SqliteDatabase(url)
