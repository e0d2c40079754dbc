"""Upgrades an older store to this version's schema, and refuses a newer one.

``create`` makes a new store from ``schema`` at the newest version. A change of the schema raises
``SCHEMA_VERSION`` and adds the step from the version before. Steps are never changed once released.
"""

from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, Connection, Index, Table, func, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn

from aintandem_notify.errors import StoreError
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import meta, metadata

MigrationStep = Callable[[Connection], None]
"""Changes tables and rows from one version to the next, inside a transaction."""

SCHEMA_VERSION: Final = 6


def _add_column(connection: Connection, column: Column[Any]) -> None:
    """Adds the column, unless an earlier step has created its whole table with today's columns."""
    existing = {column_info["name"] for column_info in inspect(connection).get_columns(column.table.name)}
    if column.name not in existing:
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


def _add_indexes(connection: Connection, table: Table, names: Set[str]) -> None:
    index: Index
    for index in table.indexes:
        if index.name in names:
            index.create(connection, checkfirst=True)


def _to_2(connection: Connection) -> None:
    """Adds several agents on one store, gates that outlive a restart, fallbacks and plain-text tries."""
    for name in ("watched_since", "owner"):
        _add_column(connection, schema.projects.c[name])
    for name in ("severity", "plain", "instead_of", "variant", "node", "claimed_by"):
        _add_column(connection, schema.deliveries.c[name])
    connection.execute(update(schema.projects).values(watched_since=schema.projects.c.seen_until))
    _add_indexes(connection, schema.projects, {"projects_owner"})
    _add_indexes(connection, schema.deliveries, {"deliveries_claimed", "deliveries_settled"})
    _add_indexes(connection, schema.events, {"events_output"})
    _add_indexes(connection, schema.notifications, {"notifications_event"})
    for table in (schema.agents, schema.agent_destinations, schema.gates):
        table.create(connection)


def _to_3(connection: Connection) -> None:
    """Adds the number of projects that an agent can watch."""
    _add_column(connection, schema.agents.c.places)


def _to_4(connection: Connection) -> None:
    """Adds the beginning of a destination's trouble, whose trouble it is, and who took over a dead delivery."""
    for name in ("since", "probe_after", "doubted"):
        _add_column(connection, schema.gates.c[name])
    for name in ("taken_over_by", "blame"):
        _add_column(connection, schema.deliveries.c[name])
    _add_indexes(connection, schema.deliveries, {"deliveries_given_up"})


def _to_5(connection: Connection) -> None:
    """Notes the latest time of all events in SQLite: their keys have no times, those of later events have."""
    if connection.dialect.name != "sqlite":
        return
    latest = connection.execute(select(func.max(schema.events.c.occurred_at))).scalar_one()
    if latest is not None:
        microseconds = str(schema.to_microseconds(latest))
        connection.execute(insert(meta), {"key": schema.BARE_KEYS_KEY, "value": microseconds})


def _to_6(connection: Connection) -> None:
    """Adds held notifications, stages, silences, episodes, watches, and the subject and progress of runs."""
    for name in ("progressed_at", "subject"):
        _add_column(connection, schema.runs.c[name])
    _add_indexes(connection, schema.runs, {"runs_subject", "runs_of_workflow"})
    for table in (
        *(schema.held, schema.stage_windows, schema.silences),
        *(schema.episodes, schema.episode_recipients, schema.subject_starts),
        *(schema.watch_timers, schema.blind_times),
    ):
        table.create(connection)


MIGRATION_STEPS: Final[Mapping[int, MigrationStep]] = MappingProxyType(
    {2: _to_2, 3: _to_3, 4: _to_4, 5: _to_5, 6: _to_6}
)
"""The steps by the version that each leads to."""

_VERSION_KEY: Final = "schema_version"


def create(connection: Connection, version: int = SCHEMA_VERSION) -> None:
    """Creates all tables in an empty database."""
    schema.prepare_for(connection.dialect)
    metadata.create_all(connection)
    connection.execute(insert(meta), {"key": _VERSION_KEY, "value": str(version)})


def upgrade(
    connection: Connection, *, version: int = SCHEMA_VERSION, steps: Mapping[int, MigrationStep] = MIGRATION_STEPS
) -> None:
    """Upgrades the store to ``version``, one step at a time, inside the caller's transaction.

    Raises StoreError when the store is newer than that, or contains no version.
    """
    schema.prepare_for(connection.dialect)
    stored_version = version_of(connection, newest=version)
    for target in range(stored_version + 1, version + 1):
        steps[target](connection)
        connection.execute(update(meta).where(meta.c.key == _VERSION_KEY).values(value=str(target)))


def version_of(connection: Connection, *, newest: int = SCHEMA_VERSION) -> int:
    """The version of the store's schema. Raises StoreError if it is above ``newest``, or cannot be read."""
    if not inspect(connection).has_table(meta.name):
        raise StoreError("it holds no tables of ours; move it away, or set another [store] url")
    stored_version = connection.execute(
        select(meta.c.value).where(meta.c.key == _VERSION_KEY)
    ).scalar_one_or_none()
    if stored_version is None or not stored_version.isdecimal():
        raise StoreError("its schema version cannot be read; move it away, or set another [store] url")
    if int(stored_version) > newest:
        raise StoreError(
            f"its schema has version {stored_version} and this aintandem-notify knows version {newest}: "
            "it was used by a newer release; install that one again, or set another [store] url"
        )
    return int(stored_version)


def describe_version(version: int) -> str:
    """The version, and the change that the next start makes."""
    if version == SCHEMA_VERSION:
        return f"version {version}"
    return f"version {version}; the agent upgrades it to {SCHEMA_VERSION}"
