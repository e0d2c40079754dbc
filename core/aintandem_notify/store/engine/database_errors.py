"""Translates errors of SQLAlchemy, SQLite and the file system into StoreErrors that name the remedy."""

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

SQLITE_MESSAGES: Final[Mapping[str, str]] = {
    "SQLITE_BUSY": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_LOCKED": "it is in use by another agent; stop that one, or set another [store] url for this one",
    "SQLITE_NOTADB": "it is not a database; move it away, or set another [store] url",
    "SQLITE_CORRUPT": "it is damaged; nothing more is written into it, and the next start checks it",
    "SQLITE_READONLY": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_PERM": "it cannot be written; check the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and can be written",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR_WRITE": "the disk failed to store more; a quota or a limit on file sizes may be used up",
    "SQLITE_IOERR": "the disk failed to read or write it",
}
"""The operator's message for each SQLite error code; extended codes stand before primary ones."""

OS_ERROR_MESSAGES: Final[Mapping[int, str]] = {
    errno.EROFS: "it cannot be written; its disk is mounted read-only",
    errno.EACCES: SQLITE_MESSAGES["SQLITE_PERM"],
    errno.EPERM: SQLITE_MESSAGES["SQLITE_PERM"],
    errno.ENOSPC: SQLITE_MESSAGES["SQLITE_FULL"],
}
"""The operator's message for each errno; other numbers get the system's own text."""

ERROR_TYPES: Final[Mapping[str, type[StoreError]]] = {
    SQLITE_MESSAGES["SQLITE_BUSY"]: StoreInUse,
    SQLITE_MESSAGES["SQLITE_FULL"]: StoreFull,
    SQLITE_MESSAGES["SQLITE_IOERR_WRITE"]: StoreFull,  # a quota, as SQLite sees it
    SQLITE_MESSAGES["SQLITE_CORRUPT"]: StoreDamaged,
    SQLITE_MESSAGES["SQLITE_NOTADB"]: StoreDamaged,
}
"""The messages that are raised as a subclass of StoreError."""

DISK_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""The errnos of a full disk or a used-up quota."""


def translate_driver_errors(engine: Engine) -> None:
    """Raises StatementFailed for errors out of SQLAlchemy or the driver that neither calls a database error.

    Examples are a number too large for the driver, a text that it cannot encode, or a bug in it. Errors that our
    own code raises between two calls pass unchanged.
    """

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        # An error while connecting arrives twice, the second time wrapped by SQLAlchemy.
        is_translated = isinstance(error, AInTandemNotifyError | SQLAlchemyError)
        is_known = is_translated or context.sqlalchemy_exception is not None
        return None if is_known or not isinstance(error, Exception) else statement_failed(error)


def statement_failed(error: BaseException) -> StatementFailed:
    """An error whose text contains nothing of the statement and its parameters."""
    return StatementFailed(f"the database library failed on a statement ({type(error).__name__})")


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turns errors of the database and the file system into a StoreError that names the store ``name``."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        message = _message_for(error)
        raise ERROR_TYPES.get(message, StoreError)(f"store {name}: {message}") from error
    except SQLAlchemyError as error:
        raise statement_failed(error) from error
    except OSError as error:
        error_type = StoreFull if error.errno in DISK_FULL_ERRNOS else StoreError
        raise error_type(
            f"store {name}: {OS_ERROR_MESSAGES.get(error.errno or 0, error.strerror or error)}"
        ) from error


def _message_for(error: DBAPIError | sqlite3.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Extended codes begin with the primary one: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
    code = getattr(cause, "sqlite_errorname", "")
    for primary, message in SQLITE_MESSAGES.items():
        if code == primary or code.startswith(f"{primary}_"):
            return message
    return f"the database refused: {cause}"
