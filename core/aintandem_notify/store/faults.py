"""The database's errors, in the words of somebody who has to do something about them."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError

from aintandem_notify.errors import StoreError

SENTENCES: Final[Mapping[str, str]] = {
    "SQLITE_BUSY": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_LOCKED": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_NOTADB": "it is not a database; move it away, or set another [store] url",
    "SQLITE_CORRUPT": "it is damaged; move it away together with its -wal file (and keep both) to start anew",
    "SQLITE_READONLY": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_PERM": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and can be written",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk failed to read or write it",
}
"""SQLite's primary error codes, and what the operator is told."""


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Turns the database's errors into a StoreError of one clear sentence about the store ``name``."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise StoreError(f"store {name}: {_sentence(error)}") from error
    except OSError as error:
        raise StoreError(f"store {name}: {error.strerror or error}") from error


def _sentence(error: DBAPIError | sqlite3.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Extended codes carry the primary one in front: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
    code = getattr(cause, "sqlite_errorname", "")
    for primary, sentence in SENTENCES.items():
        if code == primary or code.startswith(f"{primary}_"):
            return sentence
    return f"the database refused: {cause}"
