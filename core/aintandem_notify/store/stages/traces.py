"""Finds the traces of an event: its notifications, and those that a stage held or dropped; for ``explain``.

Every method is called inside a transaction of ``Store``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, text

from aintandem_notify.domain.events import Event, restore_event_json
from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables.event_keys import key_of

SCANNED_ROWS: Final = 5000
"""Events that one search by run reads; our limit, so that the agent's own work waits only milliseconds."""
MAX_HELD_ROWS: Final = 1000
"""Notifications of one event, or of one summary, that are read."""

_ID_LENGTH: Final = 36
"""Length of a notification's id: ntf_ and 32 hexadecimal digits."""

events_c: Final = schema.events.c
held_c: Final = schema.held.c
notifications_c: Final = schema.notifications.c
deliveries_c: Final = schema.deliveries.c


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the journal, as it came. ``stored_key`` is its key in the tables."""

    id: int
    stored_key: str
    received_at: datetime
    event: Event


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """A notification of an event, without its text."""

    id: str
    rule: str
    created_at: datetime


class EpisodeHold(NamedTuple):
    """Notifications of an episode that a stage holds for a destination, the first of them until ``until``."""

    destination: str
    stage: Stage
    held: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTrace:
    """A notification at one destination that a stage held or dropped.

    ``held_at``: when the first stage did. ``stage`` holds it until ``until``, or was the last that did;
    ``earlier_stages`` held it before. ``settled_at`` is None while it is held. After that ``told_by`` is the
    notification that told it, None if it was dropped. ``config_hash`` is that of the rules that held it first.
    """

    rule: str
    destination: str
    notification_id: str | None
    stage: Stage
    hold_key: str
    reason: str
    group_value: str | None
    earlier_stages: tuple[str, ...]
    config_hash: str
    held_at: datetime
    until: datetime | None
    settled_at: datetime | None
    told_by: str | None
    event_key: str
    project_id: str
    project_name: str
    run_name: str


class Traces:
    """The traces of events in a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def event(self, key: str) -> StoredEvent | None:
        """The event with this key, as the tables have it; None if it is not, or no longer, in the journal."""
        return self._first_event(events_c.key == key)

    def keys_of_notification(self, prefix: str, *, limit: int) -> list[tuple[str, str]]:
        """Up to ``limit`` notifications whose id begins with ``prefix``: each id with the stored key of its event.

        Finds also those whose text is no longer stored, as long as a stage's trace of them is.
        """
        stored = select(notifications_c.id, notifications_c.event_key).where(_begins(notifications_c.id, prefix))
        traced = (
            select(held_c.notification_id, held_c.event_key)
            .where(held_c.notification_id.is_not(None), _begins(held_c.notification_id, prefix))
            .distinct()
        )
        found: dict[str, str] = {}
        for query in (stored.order_by(notifications_c.id), traced):
            found |= {id_: key for id_, key in self._connection.execute(query.limit(limit))}  # noqa: C416
        return sorted(found.items())[:limit]

    def notification_of_delivery(self, delivery: int) -> str | None:
        """The id of the delivery's notification; None if there is no such delivery."""
        query = select(deliveries_c.notification_id).where(deliveries_c.id == delivery)
        found: str | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def newest_event_id(self) -> int:
        """The id of the newest event; 0 if there is none."""
        newest: int | None = self._connection.execute(select(func.max(events_c.id))).scalar_one()
        return newest or 0

    def newest_events(
        self, *, up_to: int, limit: int, run_id: str | None = None, key: str | None = None
    ) -> list[StoredEvent]:
        """The newest of the events of this run, or with this key without its time, newest first.

        Looks only at the ``SCANNED_ROWS`` ids up to ``up_to``: there is no index for either.
        """
        conditions: list[ColumnElement[bool]] = [events_c.id <= up_to, events_c.id > up_to - SCANNED_ROWS]
        if run_id is not None:
            conditions.append(events_c.run_id == run_id)
        if key is not None:
            conditions.append(func.substr(events_c.key, func.length(events_c.key) - len(key) + 1) == key)
        query = _EVENTS.where(*conditions).order_by(events_c.id.desc()).limit(limit)
        return [_stored_event(row) for row in self._connection.execute(query)]

    def notifications(self, stored_key: str) -> list[StoredNotification]:
        """The stored notifications of the event, in the order in which they were made."""
        query = (
            select(notifications_c.id, notifications_c.rule, notifications_c.created_at)
            .where(notifications_c.event_key == stored_key)
            .order_by(notifications_c.created_at, notifications_c.id)
            .limit(MAX_HELD_ROWS)
        )
        return [StoredNotification(row.id, row.rule, row.created_at) for row in self._connection.execute(query)]

    def held(self, stored_key: str) -> list[HeldTrace]:
        """The traces of the event's notifications that a stage held or dropped."""
        query = select(schema.held).where(held_c.event_key == stored_key).order_by(held_c.id).limit(MAX_HELD_ROWS)
        return [_held_trace(row) for row in self._connection.execute(query)]

    def of_summary(self, notification_id: str, told_at: datetime, *, limit: int) -> tuple[list[HeldTrace], int]:
        """The first ``limit`` notifications that a summary told, and their number; it was made at ``told_at``."""
        condition = (held_c.settled_at == told_at) & (held_c.told_by == notification_id)
        rows = self._connection.execute(select(schema.held).where(condition).order_by(held_c.id).limit(limit))
        traces = [_held_trace(row) for row in rows]
        counted: Select[Any] = select(func.count()).select_from(schema.held).where(condition)
        return traces, self._connection.execute(counted).scalar_one()

    def delivery_ids(self, notification_ids: Sequence[str]) -> list[int]:
        """The ids of the deliveries of these notifications."""
        query = select(deliveries_c.id).where(deliveries_c.notification_id.in_(notification_ids))
        return list(self._connection.execute(query.order_by(deliveries_c.id)).scalars())

    def waiting(self, stage: Stage, destination: str, key: str, *, up_to: int) -> int:
        """The number of notifications that a stage holds under this key, counted no further than ``up_to``."""
        some = (
            select(held_c.id)
            .where(
                held_c.destination == destination,
                held_c.stage == stage.value,
                held_c.hold_key == key,
                held_c.due_at.is_not(None),
            )
            .limit(up_to)
            .subquery()
        )
        return self._connection.execute(select(func.count()).select_from(some)).scalar_one()

    def held_of_episodes(self, episode_ids: Sequence[str]) -> dict[str, list[EpisodeHold]]:
        """The notifications that stages hold, for each of the episodes: at most a few hundred."""
        groups = (held_c.episode, held_c.destination, held_c.stage)
        query = (
            select(*groups, func.count(), func.min(held_c.due_at))
            .where(held_c.episode.in_(episode_ids), held_c.due_at.is_not(None))
            .group_by(*groups)
            .order_by(*groups)
        )
        found: dict[str, list[EpisodeHold]] = {}
        for episode, destination, stage, count, until in self._connection.execute(query):
            found.setdefault(episode, []).append(EpisodeHold(destination, Stage(stage), count, until))
        return found

    def held_back_by_episodes(self, episode_ids: Sequence[str]) -> dict[str, int]:
        """By episode, the number of notifications that wait for its end."""
        query = (
            select(held_c.hold_key, func.count())
            .where(
                held_c.stage == Stage.HELD_BACK_BY.value,
                held_c.hold_key.in_(episode_ids),
                held_c.due_at.is_not(None),
            )
            .group_by(held_c.hold_key)
        )
        return {key: count for key, count in self._connection.execute(query)}  # noqa: C416

    def episodes_at(
        self, numbers: Collection[int], run_numbers: Collection[int], at: datetime, *, limit: int
    ) -> list[str]:
        """The ids of up to ``limit`` episodes with one of these numbers, of the trouble or its run.

        Only those that had begun by ``at``, and had trouble then or later, or ended just then; the oldest first.
        """
        episodes_c = schema.episodes.c
        query = (
            select(episodes_c.id)
            .where(
                or_(episodes_c.number.in_(numbers), episodes_c.run_number.in_(run_numbers)),
                episodes_c.begun_at <= at,
                or_(episodes_c.last_at >= at, episodes_c.ended_at == at),
            )
            .order_by(episodes_c.begun_at, episodes_c.id)
            .limit(limit)
        )
        return list(self._connection.execute(query).scalars())

    def rules_since(self) -> tuple[str, datetime] | None:
        """The hash of the rules with which an agent ran last, and since when it has; None if none noted it."""
        found: str | None = self._connection.execute(_RULES).scalar_one_or_none()
        if found is None:
            return None
        rules, _, moment = found.partition(" ")
        return rules, datetime.fromisoformat(moment)

    def note_rules(self, rules: str, now: datetime) -> bool:
        """Note that the rules with this hash are in use since ``now``; False if they were before."""
        before = self.rules_since()
        if before is not None and before[0] == rules:
            return False
        self._connection.execute(
            text(
                "INSERT INTO meta (key, value) VALUES (:key, :value) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            ),
            {"key": schema.RULES_KEY, "value": f"{rules} {now.isoformat()}"},
        )
        return True

    def _first_event(self, condition: ColumnElement[bool]) -> StoredEvent | None:
        row = self._connection.execute(_EVENTS.where(condition).limit(1)).one_or_none()
        return None if row is None else _stored_event(row)


_RULES: Final = select(schema.meta.c.value).where(schema.meta.c.key == schema.RULES_KEY)
_EVENTS: Final = select(events_c.id, events_c.key, events_c.received_at, events_c.wire)


def _begins(column: Any, prefix: str) -> ColumnElement[bool]:
    # BETWEEN uses the index in every database and text collation.
    condition: ColumnElement[bool] = or_(column == prefix, column.between(prefix, prefix.ljust(_ID_LENGTH, "f")))
    return condition


def _stored_event(row: Any) -> StoredEvent:
    return StoredEvent(row.id, row.key, row.received_at, restore_event_json(row.wire, key_of(row.key)))


def _held_trace(row: Any) -> HeldTrace:
    return HeldTrace(
        rule=row.rule,
        destination=row.destination,
        notification_id=row.notification_id,
        stage=Stage(row.stage),
        hold_key=row.hold_key,
        reason=row.reason,
        group_value=row.group_value,
        earlier_stages=tuple(filter(None, row.path.split(","))),
        config_hash=row.config,
        held_at=row.held_at,
        until=row.until,
        settled_at=row.settled_at,
        told_by=row.told_by,
        event_key=key_of(row.event_key),
        project_id=row.project_id,
        project_name=row.project_name,
        run_name=row.run_name,
    )
