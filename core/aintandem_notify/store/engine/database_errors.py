"""The database's errors, in the words of somebody who has to do something about them."""

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from aintandem_notify.errors import (
    AInTandemNotifyError,
    StatementFailed,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInUse,
)

SENTENCES: Final[Mapping[str, str]] = {
    "SQLITE_BUSY": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_LOCKED": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_NOTADB": "it is not a database; move it away, or set another [store] url",
    "SQLITE_CORRUPT": "it is damaged; nothing more is written into it, and the next start looks into it",
    "SQLITE_READONLY": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_PERM": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and can be written",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR_WRITE": "the disk failed to take more; a quota or a limit on file sizes may be used up",
    "SQLITE_IOERR": "the disk failed to read or write it",
}
"""SQLite's error codes, extended before primary ones, and what the operator is told."""

SYSTEM_SENTENCES: Final[Mapping[int, str]] = {
    errno.EROFS: "it cannot be written; its disk is mounted read-only",
    errno.EACCES: SENTENCES["SQLITE_PERM"],
    errno.EPERM: SENTENCES["SQLITE_PERM"],
    errno.ENOSPC: SENTENCES["SQLITE_FULL"],
}
"""The system's error numbers, and what the operator is told; for others the system's own words."""

KINDS: Final[Mapping[str, type[StoreError]]] = {
    SENTENCES["SQLITE_BUSY"]: StoreInUse,
    SENTENCES["SQLITE_FULL"]: StoreFull,
    SENTENCES["SQLITE_IOERR_WRITE"]: StoreFull,  # a quota, as SQLite sees it
    SENTENCES["SQLITE_CORRUPT"]: StoreDamaged,
    SENTENCES["SQLITE_NOTADB"]: StoreDamaged,
}
"""The sentences that mean more than that something went wrong."""

NO_ROOM: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What the system says when nothing more can be written here: the disk is full, or the user's share of it."""


def watch_statements(engine: Engine) -> None:
    """The border to SQLAlchemy and the driver: what neither calls an error of the database is a StatementFailed.

    A number that is too large for the driver, a text that it cannot encode, a fault of its own. Only the library's
    own calls are watched; what our code raises between two of them is left alone.
    """

    @event.listens_for(engine, "handle_error")
    def _name(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        # What fails on the way to a new connection comes by twice, the second time as SQLAlchemy's own.
        named = isinstance(error, AInTandemNotifyError | SQLAlchemyError)
        known = named or context.sqlalchemy_exception is not None
        return None if known or not isinstance(error, Exception) else statement_failed(error)


def statement_failed(error: BaseException) -> StatementFailed:
    """In words that hold nothing of the statement and its parameters."""
    return StatementFailed(f"the database library failed on a statement ({type(error).__name__})")


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Turns the database's errors into a StoreError of one clear sentence about the store ``name``."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        sentence = _sentence(error)
        raise KINDS.get(sentence, StoreError)(f"store {name}: {sentence}") from error
    except SQLAlchemyError as error:
        raise statement_failed(error) from error
    except OSError as error:
        kind = StoreFull if error.errno in NO_ROOM else StoreError
        raise kind(f"store {name}: {SYSTEM_SENTENCES.get(error.errno or 0, error.strerror or error)}") from error


def _sentence(error: DBAPIError | sqlite3.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Extended codes carry the primary one in front: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
    code = getattr(cause, "sqlite_errorname", "")
    for primary, sentence in SENTENCES.items():
        if code == primary or code.startswith(f"{primary}_"):
            return sentence
    return f"the database refused: {cause}"
