"""The tables of the durable state, in portable types. A database's own things are in ``sqlite``, ``postgres``."""

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
    false,
    text,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Since 1970; raises TypeError for a time without a zone."""
    return (moment - _EPOCH) // _MICROSECOND


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware time, kept as whole microseconds since 1970: exact, sortable, and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Refuses a time without a zone."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware, UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


# SQLite counts rows up by itself only in a column that is exactly INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")

metadata: Final = MetaData()


def _partial_index(condition: str) -> dict[str, Any]:
    """What makes an index hold only the rows that meet the condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


SALT_KEY: Final = "salt"
"""The key in ``meta`` of what makes hashes of settings this store's own, where several agents share it."""

meta: Final = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

PREDECESSOR_KEY: Final = "set_aside"
"""The key in ``meta`` of the damaged file in whose place this store began, until that has been told."""

projects: Final = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    # Up to here nothing of this project is missing; where catching up begins.
    Column("seen_until", UtcTimestamp, nullable=False),
    # When it was watched for the first time: what ended before is nobody's news.
    Column("watched_since", UtcTimestamp),
    # The agent that watches it, where several share the work; None: whoever comes first.
    Column("owner", String(32)),
    Index("projects_owner", "owner", "id"),
)

# The agents that share this store and are alive; a store with one owner has none. The row is an agent's fence:
# whoever finds it expired removes it, and from then on nothing that this agent still has in hand is stored.
agents: Final = Table(
    "agents",
    metadata,
    # Made anew at every start.
    Column("id", String(32), primary_key=True),
    # What the agent is called over its restarts; each name once among the living.
    Column("node", Text, nullable=False, unique=True),
    # A hash of the projects that it is configured to watch: equal ones share them evenly.
    Column("entries", String(32), nullable=False),
    Column("version", Text, nullable=False),
    # How many projects it had when it was heard of last.
    Column("projects", Integer, nullable=False),
    # Both by the database's clock.
    Column("started_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False),
    # How many projects it can watch; NULL: as many as there are, or it is of a version that does not tell.
    Column("places", Integer),
)

# What the living agents have configured; deliveries go to whoever has the same settings.
agent_destinations: Final = Table(
    "agent_destinations",
    metadata,
    Column("agent_id", String(32), primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("variant", String(32), nullable=False),
)

# How a destination stands, kept so that a restart neither forgets a pause nor who asked for it, and so that
# agents that share a destination keep its rate together.
gates: Final = Table(
    "gates",
    metadata,
    Column("destination", Text, primary_key=True),
    # The hash of the destination's settings; empty in a store with one owner.
    Column("variant", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("failures", Integer, nullable=False),
    # Nothing is sent before these two: trouble, and rate.
    Column("retry_at", UtcTimestamp),
    # Whether the destination itself asked for the pause until then.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("slot_at", UtcTimestamp),
    # Held back by hand; only a hand lets it go again.
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("last_error", Text),
    Column("updated_at", UtcTimestamp, nullable=False),
    # In a store with one owner: a hash of where the destination is; NULL where that is not known.
    Column("settings", String(32)),
)

events: Final = Table(
    "events",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("key", String(32), nullable=False, unique=True),
    Column("project_id", Text),
    Column("type", Text, nullable=False),
    Column("family", String(16), nullable=False),
    Column("run_id", Text),
    Column("occurred_at", UtcTimestamp, nullable=False),
    Column("received_at", UtcTimestamp, nullable=False),
    Column("caught_up", Boolean, nullable=False),
    Column("wire", Text, nullable=False),
    # For pruning the one kind that comes in millions.
    Index("events_output", "id", **_partial_index("type = 'output'")),
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
    Column("created_at", UtcTimestamp),
    Column("started_at", UtcTimestamp),
    Column("ended_at", UtcTimestamp),
    Column("updated_at", UtcTimestamp),
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
    Column("created_at", UtcTimestamp, nullable=False),
    # The rendered notification as JSON, without its event (that is in the journal) and without `previous`.
    Column("content", Text, nullable=False),
    # For finding out whether anything still needs an event.
    Index("notifications_event", "event_key"),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    # Rises in the order of the events, and so is the order of delivery.
    Column("id", _RowId, primary_key=True),
    Column("notification_id", String(64), nullable=False),
    Column("destination", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_at", UtcTimestamp, nullable=False),
    # Tries that failed for a reason of the message's own; trouble of the destination is not counted.
    Column("attempts", Integer, nullable=False),
    # The plugin exception that the last tries ended with, and how many in a row.
    Column("fault", Text),
    Column("fault_count", Integer, nullable=False),
    Column("reason", Text),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("settled_at", UtcTimestamp),
    # How much it matters: what may be folded into a summary. Empty for what never is.
    Column("severity", String(16)),
    # Once more as plain text: the last try of a message that was refused.
    Column("plain", Boolean, nullable=False, server_default=false()),
    # The destination in whose place this one took over.
    Column("instead_of", Text),
    # Where several agents share the store: the hash of the destination's settings, the one agent that can
    # reach a destination that lives on its machine, and the agent that has the delivery in hand.
    Column("variant", String(32)),
    Column("node", Text),
    Column("claimed_by", String(32)),
    UniqueConstraint("notification_id", "destination"),
    # One for taking the next, one for finding what must go before it.
    Index("deliveries_next", "destination", "state", "id"),
    Index("deliveries_thread", "destination", "thread", "state", "id"),
    # For giving back what a dead agent had in hand, and for pruning what ended long ago.
    # Neither holds what has just been queued: one index less to write for each event.
    Index("deliveries_claimed", "claimed_by", **_partial_index("claimed_by IS NOT NULL")),
    Index("deliveries_settled", "settled_at", **_partial_index("settled_at IS NOT NULL")),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("thread", Text, primary_key=True),
    Column("receipt", Text, nullable=False),
    Column("updated_at", UtcTimestamp, nullable=False),
)
