"""The tables of the durable state. Portable SQL types only; what is SQLite's own stands in ``engine``."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Since 1970; raises TypeError for a time without a zone."""
    return (moment - _EPOCH) // _MICROSECOND


class Moment(TypeDecorator[datetime]):
    """An aware time, kept as whole microseconds since 1970: exact, sortable, and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Refuses a time without a zone."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware, UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


# SQLite counts rows up by itself only in a column that is exactly INTEGER.
_Count = BigInteger().with_variant(Integer, "sqlite")

metadata: Final = MetaData()

meta: Final = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

projects: Final = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    # Up to here nothing of this project is missing; where catching up begins.
    Column("seen_until", Moment, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("id", _Count, primary_key=True),
    Column("key", String(32), nullable=False, unique=True),
    Column("project_id", Text),
    Column("type", Text, nullable=False),
    Column("family", String(16), nullable=False),
    Column("run_id", Text),
    Column("occurred_at", Moment, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("caught_up", Boolean, nullable=False),
    Column("wire", Text, nullable=False),
)

runs: Final = Table(
    "runs",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("workflow_id", Text),
    Column("created_at", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("updated_at", Moment),
    Column("step", Text),
    Column("progress", Float),
    Column("output_tail", Text, nullable=False),
)

notifications: Final = Table(
    "notifications",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event_key", String(32), nullable=False),
    Column("rule", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    # The rendered notification as JSON, without its event (that is in the journal) and without `previous`.
    Column("content", Text, nullable=False),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    # Rises in the order of the events, and so is the order of delivery.
    Column("id", _Count, primary_key=True),
    Column("notification_id", String(64), nullable=False),
    Column("destination", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_at", Moment, nullable=False),
    # Tries that failed for a reason of the message's own; trouble of the destination is not counted.
    Column("attempts", Integer, nullable=False),
    # The plugin exception that the last tries ended with, and how many in a row.
    Column("fault", Text),
    Column("fault_count", Integer, nullable=False),
    Column("reason", Text),
    Column("created_at", Moment, nullable=False),
    Column("settled_at", Moment),
    UniqueConstraint("notification_id", "destination"),
    # One for taking the next, one for finding what must go before it.
    Index("deliveries_next", "destination", "state", "id"),
    Index("deliveries_thread", "destination", "thread", "state", "id"),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("thread", Text, primary_key=True),
    Column("receipt", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
)
