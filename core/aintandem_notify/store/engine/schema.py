"""The tables of the durable state, in portable types; ``migrations`` creates and upgrades them."""

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
    """Microseconds since 1970. Raises TypeError for a time without a zone."""
    return (moment - _EPOCH) // _MICROSECOND


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware time, stored as whole microseconds since 1970: exact, sortable, and the same in every database."""

    impl: type[BigInteger] = BigInteger
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Microseconds since 1970. Raises TypeError for a time without a zone."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """An aware time in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


# SQLite generates row ids only in a column whose type is exactly INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")

metadata: Final = MetaData()


def _partial_index(condition: str) -> dict[str, Any]:
    """Index options that restrict an index to the rows that meet ``condition``; see ``prepare_for``."""
    return {"sqlite_where": text(condition)}


def prepare_for(dialect: Dialect) -> None:
    """Gives the partial indexes their conditions in another dialect than SQLite's, before they are created there.

    At the index itself, such a condition would have SQLAlchemy import that dialect in every process.
    """
    if dialect.name == "sqlite":
        return
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[dialect.name]["where"] = index.dialect_options["sqlite"]["where"]


SALT_KEY: Final = "salt"
"""The key in ``meta`` of the salt for hashes of settings, common to all agents on the store."""

meta: Final = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

BARE_KEYS_KEY: Final = "bare_keys_until"
"""The key in ``meta`` of the latest time of an event whose key has no time; see ``tables.event_keys``."""

PREDECESSOR_KEY: Final = "set_aside"
"""The key in ``meta`` of the damaged file that this store replaces, until that was announced."""

projects: Final = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    # Catching up begins here: no event of the project before this time is missing.
    Column("seen_until", UtcTimestamp, nullable=False),
    # When it was first watched; runs that ended earlier are never reported.
    Column("watched_since", UtcTimestamp),
    # In a shared store, the agent that watches it; NULL while none does.
    Column("owner", String(32)),
    Index("projects_owner", "owner", "id"),
)

# The living agents of a shared store; a store with one owner has no rows here. The row is the agent's fence: any
# agent that finds it expired deletes it, and from then on no transaction of that agent succeeds.
agents: Final = Table(
    "agents",
    metadata,
    # New at every start.
    Column("id", String(32), primary_key=True),
    # The agent's name, the same after a restart; unique among the living agents.
    Column("node", Text, nullable=False, unique=True),
    # A hash of the projects that it is configured to watch; agents with equal hashes share them evenly.
    Column("entries", String(32), nullable=False),
    Column("version", Text, nullable=False),
    # How many projects it owned at its last renewal.
    Column("projects", Integer, nullable=False),
    # Both times are the database's.
    Column("started_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False),
    # How many projects it can watch; NULL if it has no limit, or is of a version that does not store it.
    Column("places", Integer),
)

# The destinations that the living agents have configured; a delivery is sent by an agent with equal settings.
agent_destinations: Final = Table(
    "agent_destinations",
    metadata,
    Column("agent_id", String(32), primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("variant", String(32), nullable=False),
)

# The state of each destination. Stored so that a restart does not forget a pause, and so that the agents that
# share a destination keep its rate together.
gates: Final = Table(
    "gates",
    metadata,
    Column("destination", Text, primary_key=True),
    # The hash of the destination's settings; empty in a store with one owner.
    Column("variant", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("failures", Integer, nullable=False),
    # Nothing is sent before retry_at (a failure) and slot_at (the rate).
    Column("retry_at", UtcTimestamp),
    # Whether the destination itself asked for the pause until retry_at.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("slot_at", UtcTimestamp),
    # Paused by an operator, until an operator resumes it.
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("last_error", Text),
    Column("updated_at", UtcTimestamp, nullable=False),
    # In a store with one owner, a hash of the destination's address; NULL if unknown.
    Column("settings", String(32)),
    # When its trouble, or a pause by hand, began; NULL if it is well.
    Column("since", UtcTimestamp),
    # In trouble, the id of the delivery after which the next probe is looked for; NULL: the first one probes.
    Column("probe_after", BigInteger),
    # Whether only that delivery has failed so far, so that the trouble may be its own.
    Column("doubted", Boolean, nullable=False, server_default=false()),
)

events: Final = Table(
    "events",
    metadata,
    Column("id", _RowId, primary_key=True),
    # In SQLite with the time before it; SQLite does not limit the length. See ``tables.event_keys``.
    Column("key", String(32), nullable=False, unique=True),
    Column("project_id", Text),
    Column("type", Text, nullable=False),
    Column("family", String(16), nullable=False),
    Column("run_id", Text),
    Column("occurred_at", UtcTimestamp, nullable=False),
    Column("received_at", UtcTimestamp, nullable=False),
    Column("caught_up", Boolean, nullable=False),
    Column("wire", Text, nullable=False),
    # For pruning output events, of which there may be millions.
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
    # When step or progress changed last.
    Column("progressed_at", UtcTimestamp),
    # See ``domain.subjects``; NULL for a run that was last changed before this column was there.
    Column("subject", BigInteger),
    Index("runs_subject", "subject", "ended_at"),
    # For the tasks of a workflow; usually none is known.
    Index(
        "runs_of_workflow",
        "project_id",
        "workflow_id",
        **_partial_index("kind = 'task' AND workflow_id IS NOT NULL"),
    ),
)

notifications: Final = Table(
    "notifications",
    metadata,
    Column("id", String(64), primary_key=True),
    # As in ``events``.
    Column("event_key", String(32), nullable=False),
    Column("rule", Text, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    # The rendered notification as JSON, without its event (which is in the journal) and `previous`. Beside it, a
    # name of the secrets that were known then: with the same, nothing in it has to be redacted again.
    Column("content", Text, nullable=False),
    # For finding the notifications of an event before it is pruned.
    Index("notifications_event", "event_key"),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    # Ascends in the order of the events; deliveries are sent in this order.
    Column("id", _RowId, primary_key=True),
    Column("notification_id", String(64), nullable=False),
    Column("destination", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_at", UtcTimestamp, nullable=False),
    # Tries that failed because of the message itself; failures of the destination are not counted.
    Column("attempts", Integer, nullable=False),
    # The kind of the plugin exception that ended the last tries, and how many in a row.
    Column("fault", Text),
    Column("fault_count", Integer, nullable=False),
    Column("reason", Text),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("settled_at", UtcTimestamp),
    # Decides whether it may be folded into a summary; NULL if it never may.
    Column("severity", String(16)),
    # Whether it is sent as plain text: the last try for a message that was refused.
    Column("plain", Boolean, nullable=False, server_default=false()),
    # The destination that this one is the fallback for.
    Column("instead_of", Text),
    # In a shared store: the hash of the destination's settings, the only agent that can reach a destination on
    # its own machine, and the agent that has claimed the delivery.
    Column("variant", String(32)),
    Column("node", Text),
    Column("claimed_by", String(32)),
    # The fallback that took over this delivery when it died.
    Column("taken_over_by", Text),
    # Failures of the destination that only this delivery may have met; see delivery/judge.
    Column("blame", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("notification_id", "destination"),
    # The first finds the next delivery, the second an earlier one of its thread.
    Index("deliveries_next", "destination", "state", "id"),
    Index("deliveries_thread", "destination", "thread", "state", "id"),
    # For releasing the claims of a dead agent, and for pruning old deliveries.
    # New deliveries are in neither, which saves index writes for each event.
    Index("deliveries_claimed", "claimed_by", **_partial_index("claimed_by IS NOT NULL")),
    Index("deliveries_settled", "settled_at", **_partial_index("settled_at IS NOT NULL")),
    # For counting those that were given up lately. The state makes SQLite prefer it to the index above. It is not
    # in the condition, since SQLite would then compile every statement with a state anew at each execution.
    Index(
        "deliveries_given_up",
        *("state", "settled_at", "destination"),
        **_partial_index("settled_at IS NOT NULL AND reason IS NOT NULL AND taken_over_by IS NULL"),
    ),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("thread", Text, primary_key=True),
    Column("receipt", Text, nullable=False),
    Column("updated_at", UtcTimestamp, nullable=False),
)

# Notifications that a stage of their rule holds, a row for each destination, and those that were held or dropped.
held: Final = Table(
    "held",
    metadata,
    Column("id", _RowId, primary_key=True),
    # As in ``events``.
    Column("event_key", String(32), nullable=False),
    # NULL for one that was dropped at once: nobody needs its text.
    Column("notification_id", String(64)),
    Column("rule", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("type", Text, nullable=False),
    Column("family", String(16), nullable=False),
    Column("project_id", Text, nullable=False),
    Column("project_name", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("run_name", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("occurred_at", UtcTimestamp, nullable=False),
    # The rendered values of once_per and group.
    Column("once_value", Text),
    Column("group_value", Text),
    # The stage that holds it or has decided last, its key there, and the reason for people.
    Column("stage", Integer, nullable=False),
    Column("hold_key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # The hash of the rules that held or dropped it.
    Column("config", String(16), nullable=False),
    # The stages that held it before, each with a comma behind it.
    Column("path", Text, nullable=False, server_default=text("''")),
    # When the stage lets go; NULL once it is told or dropped.
    Column("due_at", UtcTimestamp),
    # The same, also later. For one that was dropped: when the stage lets the next one pass, if that is known.
    Column("until", UtcTimestamp),
    # The number of its trouble and its episode; NULL if it is no trouble. ``is_end``: tells of an end.
    Column("trouble", BigInteger),
    Column("episode", String(24)),
    Column("is_end", Boolean, nullable=False, server_default=false()),
    # For those that are told as one: the id of the first of them.
    Column("bundle", BigInteger),
    Column("held_at", UtcTimestamp, nullable=False),
    Column("settled_at", UtcTimestamp),
    # The notification that told it; NULL if it is held, or was dropped.
    Column("told_by", String(64)),
    Index("held_due", "due_at", "stage", "destination", "hold_key", **_partial_index("due_at IS NOT NULL")),
    Index("held_key", "destination", "stage", "hold_key", "id", **_partial_index("due_at IS NOT NULL")),
    Index("held_event", "event_key"),
    Index("held_notification", "notification_id", **_partial_index("notification_id IS NOT NULL")),
    Index("held_settled", "settled_at", **_partial_index("settled_at IS NOT NULL")),
)

# The windows of groups, throttles and cooldowns.
stage_windows: Final = Table(
    "stage_windows",
    metadata,
    Column("stage", Integer, primary_key=True, autoincrement=False),
    Column("destination", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("ends_at", UtcTimestamp, nullable=False),
    Column("passed", Integer, nullable=False),
    Index("stage_windows_end", "ends_at"),
)

# Trouble that a rule has taken, from its first failure to its end.
episodes: Final = Table(
    "episodes",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("rule", Text, nullable=False),
    # See ``stages.trouble``: the numbers by which an end finds it, that of the trouble and that of the run.
    Column("number", BigInteger, nullable=False),
    Column("run_number", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("project_name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("run_name", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("thread", Text, nullable=False),
    # Those of its last trouble.
    Column("event_key", String(32), nullable=False),
    Column("notification_id", String(64), nullable=False),
    # How often there was trouble, and how many successes in a row there were since.
    Column("troubles", Integer, nullable=False),
    Column("wells", Integer, nullable=False),
    Column("begun_at", UtcTimestamp, nullable=False),
    Column("last_at", UtcTimestamp, nullable=False),
    # NULL until so many failures in a row as the rule asks for.
    Column("opened_at", UtcTimestamp),
    # Whether further trouble of the subject belongs to it.
    Column("is_current", Boolean, nullable=False),
    Column("told_at", UtcTimestamp),
    Column("ended_at", UtcTimestamp),
    Column("ended_by", Text, nullable=False),
    Column("acknowledged_at", UtcTimestamp),
    Column("acknowledged_by", Text, nullable=False),
    Column("reminded_at", UtcTimestamp),
    # The number of steps of ``escalate`` that were told.
    Column("escalated", Integer, nullable=False),
    # When the next reminder, escalation or its expiry is due; NULL if none is.
    Column("due_at", UtcTimestamp),
    Index("episodes_project", "project_id", **_partial_index("is_current")),
    Index("episodes_current", "number", **_partial_index("is_current")),
    Index("episodes_run", "run_number", **_partial_index("is_current")),
    Index("episodes_open", "project_id", "rule", **_partial_index("ended_at IS NULL")),
    Index("episodes_due", "due_at", **_partial_index("due_at IS NOT NULL")),
    Index("episodes_last", "last_at"),
)

# Who was told of an episode. Whether that counts depends on the delivery.
episode_recipients: Final = Table(
    "episode_recipients",
    metadata,
    Column("episode", String(24), primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("notification_id", String(64), nullable=False),
    Column("told_at", UtcTimestamp, nullable=False),
)

# When runs began whose rule names its subject by a template; see ``subject`` and ``settle`` of a rule.
subject_starts: Final = Table(
    "subject_starts",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("begun_at", UtcTimestamp, primary_key=True),
    Index("subject_starts_time", "begun_at"),
)

silences: Final = Table(
    "silences",
    metadata,
    Column("id", String(32), primary_key=True),
    # A JSON object of globs by name.
    Column("matchers", Text, nullable=False),
    Column("begins_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False),
    Column("owner", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # When people were told that it ends soon; NULL if they were not.
    Column("announced_at", UtcTimestamp),
)

# The timers of watches: of runs that have not ended, and of runs that are to come, which have no ``run_id``.
watch_timers: Final = Table(
    "watch_timers",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("watch", Text, primary_key=True),
    # The hash of the watch's keys.
    Column("config", String(16), nullable=False),
    Column("project_name", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # When the clock began, and the run's last movement then; for a stalled run both again for its progress.
    Column("since", UtcTimestamp, nullable=False),
    Column("seen", UtcTimestamp),
    Column("progress_since", UtcTimestamp),
    Column("progress_seen", UtcTimestamp),
    Column("expected_at", UtcTimestamp),
    # Seconds by which the orchestrator's clock is behind.
    Column("lag_s", Float, nullable=False),
    # When it is looked at; NULL: when the run changes.
    Column("due_at", UtcTimestamp),
    # The trouble that was told: when, with which event, by which sign, and how often again.
    Column("fired_at", UtcTimestamp),
    Column("fired_key", String(32), nullable=False),
    Column("sign", String(16), nullable=False),
    Column("reminders", Integer, nullable=False),
    # Not NULL: it was due while nothing could be heard of its project.
    Column("parked", Integer),
    Index("watch_timers_due", "due_at", **_partial_index("due_at IS NOT NULL AND parked IS NULL")),
    Index("watch_timers_fired", "project_id", "kind", "run_id", **_partial_index("fired_at IS NOT NULL")),
    Index("watch_timers_parked", "project_id", **_partial_index("parked IS NOT NULL")),
)

# The times in which nothing could be heard of a project: its link, or the agent, was down.
blind_times: Final = Table(
    "blind_times",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("ended_at", UtcTimestamp, primary_key=True),
    Column("began_at", UtcTimestamp, nullable=False),
)

RULES_KEY: Final = "rules"
"""The key in ``meta`` of the hash of the rules in use, and of the time since which they are."""
