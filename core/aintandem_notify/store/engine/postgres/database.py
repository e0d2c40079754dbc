"""The PostgreSQL database: connecting, reconnecting, session settings and the creation of the schema.

The store uses one connection, which also holds its advisory locks. When it breaks, the current transaction fails
and the next one opens a new connection. The agent needs this connection for as long as it runs, so a pooler in
transaction mode does not work; ``postgres_pooler`` notices one.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from secrets import token_hex
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from aintandem_notify.errors import StoreError
from aintandem_notify.store.engine.database_errors import translate_driver_errors
from aintandem_notify.store.engine.migrations import create, upgrade
from aintandem_notify.store.engine.postgres.errors import translate_errors
from aintandem_notify.store.engine.postgres.pooler import POOLER_MESSAGE, lends_out_sessions
from aintandem_notify.store.engine.postgres.text_codec import register_text_codec
from aintandem_notify.store.engine.postgres.url import display_name_of, parse_postgres_url
from aintandem_notify.store.engine.reserve import Reserve
from aintandem_notify.store.engine.schema import SALT_KEY, meta

APPLICATION_NAME: Final = "aintandem-notify"
"""The name of our connections in ``pg_stat_activity``."""

SCHEMA_LOCK_KEY: Final = int.from_bytes(b"AINTschm", "big") >> 1
"""The advisory lock for creating or changing the schema, so that agents that start together take turns."""

CONNECT_TIMEOUT_S: Final = 5
"""Seconds after which connecting fails."""

SESSION_SETTINGS: Final = {
    # Shorter than the lease of an agent, so that a hanging statement or lock does not end its membership.
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    # An agent that is stopped in the middle of a transaction must not block the others for long.
    "idle_in_transaction_session_timeout": "5s",
    # The server notices within these seconds that our machine is gone, and releases our locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Server settings of every session."""

_CONNECTION_PARAMETERS: Final = {
    "application_name": APPLICATION_NAME,
    "client_encoding": "utf8",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "8000",
    "connect_timeout": str(CONNECT_TIMEOUT_S),
}
"""libpq parameters, mostly to notice soon that the server is gone; parameters in the url take precedence."""

NOT_UTF8_MESSAGE: Final = "it cannot hold every text; create the database with ENCODING 'UTF8'"


class PostgresDatabase:
    """The database at ``url`` (``postgresql://user@host/dbname``), upgraded to this version's schema.

    Raises StoreError when it cannot be opened.
    """

    may_be_shared = True

    def __init__(self, url: str) -> None:
        parsed = parse_postgres_url(url)
        self.name: str = display_name_of(url)
        self.reserve: Reserve | None = None  # the server's disk is not managed by us
        with translate_errors(self.name):
            self.connection: Connection = engine_for(parsed).connect()
            try:
                require_usable(self.connection, parsed)
                self._upgrade_schema()
            except StoreError as error:
                self.close()
                raise StoreError(f"store {self.name}: {error}") from error
            except BaseException:
                self.close()
                raise

    def translate_errors(self) -> AbstractContextManager[None]:
        """See ``Database``."""
        return translate_errors(self.name)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """See ``Database``."""
        connection = self.connection
        with connection.begin():
            if not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield

    def make_room(self) -> None:
        """Does nothing: the server's disk is not managed by us."""

    def close(self) -> None:
        """Ends the session, which releases its advisory locks."""
        self.connection.close()
        self.connection.engine.dispose()

    def _upgrade_schema(self) -> None:
        connection = self.connection
        with connection.begin():
            # Another agent may be upgrading, with more rows than the usual timeouts allow for.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK_KEY})")
            if inspect(connection).has_table(meta.name):
                upgrade(connection)
            else:
                create(connection)
                connection.execute(insert(meta), {"key": SALT_KEY, "value": token_hex(16)})


def require_usable(connection: Connection, url: URL) -> None:
    """Raises StoreError if the agent cannot work with this database, or not through this pooler."""
    driver: Any = connection.connection.driver_connection
    _, parameters = connection.dialect.create_connect_args(url)
    every_parameter: Any = {**parameters, **_parameters_beside(url)}
    if lends_out_sessions(driver, lambda: psycopg.connect(**every_parameter)):
        raise StoreError(POOLER_MESSAGE)
    with connection.begin():
        if connection.exec_driver_sql("SHOW server_encoding").scalar_one() != "UTF8":
            raise StoreError(NOT_UTF8_MESSAGE)


def _parameters_beside(url: URL) -> dict[str, str]:
    """Our parameters, without those that the url has, too."""
    return {key: value for key, value in _CONNECTION_PARAMETERS.items() if key not in url.query}


def engine_for(url: URL) -> Engine:
    """Connects with our parameters and session settings; each connection is new."""
    engine = create_engine(
        url,
        poolclass=NullPool,  # a broken connection is replaced by a new one
        paramstyle="format",  # rows go to the driver as tuples
        hide_parameters=True,  # keeps the texts of tasks out of errors
        use_native_hstore=False,  # saves a query at each connection
        connect_args=_parameters_beside(url),
    )

    translate_driver_errors(engine)

    @event.listens_for(engine, "connect")
    def _configure_session(driver: Any, _record: Any) -> None:
        register_text_codec(driver)
        with driver.cursor() as cursor:
            settings = ", ".join(
                f"set_config('{name}', '{value}', false)" for name, value in SESSION_SETTINGS.items()
            )
            cursor.execute(f"SELECT {settings}")
        driver.commit()

    return engine
