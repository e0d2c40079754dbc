"""Translates errors of PostgreSQL into StoreErrors that name the remedy."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from psycopg import Error, OperationalError, ProgrammingError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from aintandem_notify.errors import StoreError, StoreFull, TransactionConflict
from aintandem_notify.log import redact_start
from aintandem_notify.store.engine.database_errors import statement_failed
from aintandem_notify.store.engine.postgres.pooler import POOLER_MESSAGE

SQLSTATE_MESSAGES: Final[Mapping[str, str]] = {
    "28": "it refused the login; check user and password in [store] url",
    "3D000": "there is no such database; create it, or set another [store] url",
    "42501": "this user may not do that; it needs to create tables and to write in the schema",
    "25006": "it accepts no writes; is it a standby?",
    "53100": "the database's disk is full",
    "53300": "it accepts no more connections; raise max_connections there",
    "53": "it is out of resources",
    "55P03": "a lock was not available in time",
    "40": "another agent's transaction was in the way",
    "57014": "it took too long to answer",
    "25P03": "the connection was lost: a transaction took too long",
    "57P": "the connection was lost: the database ends or restarts",
    "08": "the connection was lost",
    # A prepared statement of another connection, or none where ours was.
    "42P05": POOLER_MESSAGE,
    "26000": POOLER_MESSAGE,
    "XX001": "it is damaged; see the log of the database",
    "XX002": "it is damaged; see the log of the database",
}
"""The operator's message for each SQLSTATE or prefix of one; the longest match wins."""

_ERROR_TYPES: Final[Mapping[str, type[StoreError]]] = {
    "53100": StoreFull,
    "40P01": TransactionConflict,  # a deadlock
    "40001": TransactionConflict,
}
"""The SQLSTATEs that are raised as a subclass of StoreError."""

# libpq sets no SQLSTATE for these. The first are the server's own texts, in the server's language.
_MESSAGES_WITHOUT_SQLSTATE: Final[Mapping[str, re.Pattern[str]]] = {
    "28": re.compile(
        r"password authentication failed|no password supplied|no pg_hba\.conf entry|role .* not exist"
    ),
    "3D000": re.compile(r"database .* does not exist"),
    "53300": re.compile(r"too many (clients|connections)|remaining connection slots"),
    "08": re.compile(r"connection (unexpectedly|is (closed|lost))|(lost|broken|consuming input|sending) "),
}

# PgBouncer's text; its SQLSTATE says the same as that of a lost connection.
_STATEMENT_POOLING: Final = re.compile(r"statement pooling mode")

_MAX_ERROR_CHARACTERS: Final = 2000
"""Characters of an error that are searched; libpq's texts are shorter."""

# Raised by psycopg before it contacts a server.
_UNKNOWN_PARAMETER: Final = re.compile(r'invalid (?:connection option|URI query parameter:?) "(\w{1,50})"')


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turns errors of the database into a StoreError that names the store ``name``."""
    try:
        yield
    except DBAPIError as error:
        raise _to_store_error(name, error.orig) from error
    except SQLAlchemyError as error:
        raise statement_failed(error) from error
    except Error as error:  # raised while a lost connection is replaced
        raise _to_store_error(name, error) from error


def _to_store_error(name: str, error: BaseException | None) -> StoreError:
    error_type = _ERROR_TYPES.get(getattr(error, "sqlstate", None) or "", StoreError)
    return error_type(f"store {name}: {message_for(error)}")


def message_for(error: BaseException | None) -> str:
    """The operator's message for an error of psycopg; never contains a parameter of the statement."""
    state = getattr(error, "sqlstate", None) or ""
    error_text = " ".join(str(error)[:_MAX_ERROR_CHARACTERS].split())
    if _STATEMENT_POOLING.search(error_text):
        return POOLER_MESSAGE
    for length in (5, 3, 2):
        if len(state) == 5 and state[:length] in SQLSTATE_MESSAGES:
            return SQLSTATE_MESSAGES[state[:length]]
    if not state and isinstance(error, OperationalError):
        messages = (
            SQLSTATE_MESSAGES[state]
            for state, pattern in _MESSAGES_WITHOUT_SQLSTATE.items()
            if pattern.search(error_text)
        )
        return next(messages, f"it cannot be reached: {redact_start(error_text, 300)}")
    if isinstance(error, ProgrammingError) and (match := _UNKNOWN_PARAMETER.search(str(error))):
        return f'[store] url has a parameter that PostgreSQL does not know: "{match[1]}"'
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return f"the database refused: {primary or type(error).__name__}"
