"""Looks whether the database can be used, without changing anything in it."""

from sqlalchemy import Connection, inspect

from aintandem_notify.errors import StoreError
from aintandem_notify.store.engine.migrations import describe_version, version_of
from aintandem_notify.store.engine.postgres.database import engine_for, require_usable
from aintandem_notify.store.engine.postgres.errors import SQLSTATE_MESSAGES, translate_errors
from aintandem_notify.store.engine.postgres.url import display_name_of, parse_postgres_url
from aintandem_notify.store.engine.schema import meta


def probe_postgres(url: str) -> str:
    """The state of the database in a few words. Raises StoreError, without the name of the store."""
    parsed = parse_postgres_url(url)
    engine = engine_for(parsed)
    try:
        with translate_errors(display_name_of(url)), engine.connect() as connection:
            require_usable(connection, parsed)
            with connection.begin():
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                return _describe(connection)
    finally:
        engine.dispose()


def _describe(connection: Connection) -> str:
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        raise StoreError(SQLSTATE_MESSAGES["25006"])
    if inspect(connection).has_table(meta.name):
        state = describe_version(version_of(connection))
        may_write = f"has_table_privilege('{meta.name}', 'UPDATE')"
    else:
        state = "no tables yet; the agent creates them"
        may_write = "has_schema_privilege(current_schema(), 'CREATE')"
    if not connection.exec_driver_sql(f"SELECT {may_write}").scalar_one():
        raise StoreError(SQLSTATE_MESSAGES["42501"])
    return state
