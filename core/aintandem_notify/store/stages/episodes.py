"""The episodes of a store, and who was told of them. Every method is called inside a transaction of ``Store``."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    true,
    type_coerce,
    update,
)

from aintandem_notify.domain.events import Event, restore_event_json
from aintandem_notify.domain.runs import RunState
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.stages.held import Selection
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.event_keys import key_of

episodes_c: Final = schema.episodes.c
recipients_c: Final = schema.episode_recipients.c
held_c: Final = schema.held.c
deliveries_c: Final = schema.deliveries.c
runs_c: Final = schema.runs.c

_MAX_BATCH: Final = 300
_NAMES: Final = tuple(field.name for field in fields(Episode))
_IS_OPEN: Final = and_(episodes_c.ended_at.is_(None), episodes_c.opened_at.is_not(None))
# The columns that ingest decides: another agent may tell of the episode, or acknowledge it, at the same time.
_OF_INGEST: Final = (
    *("number", "run_number", "type", "run_id", "workflow_id", "event_key", "notification_id"),
    *("troubles", "wells", "last_at", "opened_at", "is_current", "ended_at", "ended_by", "due_at"),
)


class Recipient(NamedTuple):
    """A destination that was told of an episode, and when."""

    destination: str
    told_at: datetime


class Episodes:
    """The episodes of a store. ``agent_id`` returns this agent's id in a shared store, else None."""

    def __init__(self, connection: Connection, agent_id: Callable[[], str | None] = lambda: None) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._is_shared = connection.dialect.name == "postgresql"
        self._current = _CURRENT_IN_POSTGRES if self._is_shared else _CURRENT

    def current(self, numbers: Collection[int], run_numbers: Collection[int] = ()) -> list[Episode]:
        """The current episodes with one of these numbers, of the trouble or its run, the oldest first."""
        found: dict[str, Episode] = {}
        for query, wanted in zip(self._current, (numbers, run_numbers), strict=True):
            if wanted:
                parameter = list(wanted) if self._is_shared else json.dumps(list(wanted))
                rows = self._connection.execute(query, {"numbers": parameter})
                found |= {row.id: _episode(row) for row in rows}
        return sorted(found.values(), key=lambda episode: (episode.begun_at, episode.id))

    def projects_with_current(self, project_ids: Iterable[str]) -> set[str]:
        """Those of the projects that have a current episode."""
        return {
            project_id
            for project_id in project_ids
            if self._connection.execute(_HAS_CURRENT, {"project": project_id}).first() is not None
        }

    def by_ids(self, ids: Iterable[str]) -> list[Episode]:
        """The episodes with these ids."""
        found: list[Episode] = []
        for batch in _batches(set(ids)):
            rows = self._connection.execute(select(schema.episodes).where(episodes_c.id.in_(batch)))
            found += [_episode(row) for row in rows]
        return found

    def by_id(self, prefix: str, *, limit: int) -> list[Episode]:
        """Up to ``limit`` confirmed episodes whose id begins with ``prefix``: first the open, then the newest.

        In a shared store, they stay as they are until the end of the transaction.
        """
        query = (
            select(schema.episodes)
            .where(episodes_c.id.between(prefix, prefix + "g"), episodes_c.opened_at.is_not(None))
            .order_by(episodes_c.ended_at.is_not(None), episodes_c.last_at.desc(), episodes_c.id)
            .limit(limit)
            .with_for_update()
        )
        return [_episode(row) for row in self._connection.execute(query)]

    def open(
        self, *, rules: Collection[str] | None = None, project_id: str | None = None, limit: int | None = None
    ) -> list[Episode]:
        """The confirmed episodes that have not ended, the oldest first; of some rules or a project only."""
        conditions: list[ColumnElement[bool]] = [episodes_c.ended_at.is_(None), episodes_c.opened_at.is_not(None)]
        if rules is not None:
            conditions.append(episodes_c.rule.in_(rules))
        if project_id is not None:
            conditions.append(episodes_c.project_id == project_id)
        query = select(schema.episodes).where(*conditions).order_by(episodes_c.opened_at, episodes_c.id)
        query = query.limit(limit)
        return [_episode(row) for row in self._connection.execute(query)]

    def count_open(self) -> int:
        """The number of confirmed episodes that have not ended."""
        query = select(func.count()).select_from(schema.episodes).where(_IS_OPEN)
        return self._connection.execute(query).scalar_one()

    def ended(self, *, limit: int) -> list[Episode]:
        """The last ``limit`` episodes that somebody was told of and that have ended, the newest first."""
        query = (
            select(schema.episodes)
            .where(episodes_c.ended_at.is_not(None), episodes_c.told_at.is_not(None))
            .order_by(episodes_c.last_at.desc(), episodes_c.id)
            .limit(limit)
        )
        return [_episode(row) for row in self._connection.execute(query)]

    def write(
        self, new: Sequence[Episode], changed: Sequence[Episode], due: Mapping[str, datetime | None]
    ) -> None:
        """Store new and changed episodes; ``due`` has the time of the next action by id."""
        if new:
            rows = [_row(episode) | {"due_at": due.get(episode.id)} for episode in new]
            self._connection.execute(insert(schema.episodes), rows)
        if changed:
            rows = [
                {f"new_{name}": value for name, value in _row(episode).items() if name in _OF_INGEST}
                | {"new_due_at": due.get(episode.id), "episode_id": episode.id}
                for episode in changed
            ]
            self._connection.execute(_UPDATE, rows)

    def next_due(self) -> datetime | None:
        """The time at which the next reminder, escalation or expiry is due; None if none is."""
        query = _NEXT_DUE if self._agent_id() is None else _NEXT_DUE.where(self._is_ours())
        due_at: datetime | None = self._connection.execute(query).scalar_one()
        return due_at

    def due(self, until: datetime, *, limit: int) -> list[Episode]:
        """The first ``limit`` episodes with an action that is due, the first first."""
        query = (
            select(schema.episodes)
            .where(episodes_c.due_at.is_not(None), episodes_c.due_at <= until, self._is_ours())
            .order_by(episodes_c.due_at, episodes_c.id)
            .limit(limit)
        )
        return [_episode(row) for row in self._connection.execute(query)]

    def _is_ours(self) -> ColumnElement[bool]:
        """The condition of episodes whose times this agent keeps: those of the projects that it watches."""
        agent_id = self._agent_id()
        if agent_id is None:
            return true()
        watched = select(schema.projects.c.id).where(schema.projects.c.owner == agent_id)
        return episodes_c.project_id.in_(watched)

    def set_due(self, due: Mapping[str, datetime | None]) -> None:
        """Set the times of the next actions, by id."""
        if due:
            rows = [{"episode_id": episode_id, "new_due_at": due_at} for episode_id, due_at in due.items()]
            self._connection.execute(_SET_DUE, rows)

    def reset_times(self, timed_rules: Sequence[str], expire_s: float, now: datetime) -> None:
        """Set the times of all open episodes anew after a change of the rules.

        Those of rules with times of their own are looked at now, a few at a time: there may be 100,000.
        """
        is_timed = episodes_c.rule.in_(timed_rules)
        is_open = episodes_c.ended_at.is_(None)
        expiry = type_coerce(episodes_c.last_at, BigInteger) + round(expire_s * 1_000_000)
        self._connection.execute(
            update(schema.episodes)
            .where(is_open, ~is_timed)
            .values(due_at=type_coerce(expiry, schema.UtcTimestamp))
        )
        self._connection.execute(update(schema.episodes).where(is_open, is_timed).values(due_at=now))

    def note_reminder(self, episode_id: str, at: datetime) -> None:
        """Note that people were reminded."""
        self._set(episode_id, reminded_at=at)

    def note_escalation(self, episode_id: str, steps: int) -> None:
        """Note the number of steps of the escalation that were told."""
        self._set(episode_id, escalated=steps)

    def acknowledge(self, episode_id: str, by: str, at: datetime) -> None:
        """Note who looks after it."""
        self._set(episode_id, acknowledged_at=at, acknowledged_by=by)

    def _set(self, episode_id: str, **values: Any) -> None:
        self._connection.execute(update(schema.episodes).where(episodes_c.id == episode_id).values(**values))

    def note_told(self, told: Sequence[tuple[str, str, str]], at: datetime) -> set[str]:
        """Note that people were told: each with the episode, the destination and the notification.

        Returns the ids of the episodes that are open, and have now been told.
        """
        at_us = to_microseconds(at)
        rows = [
            {"episode": episode, "destination": destination, "notification": notification, "at": at_us}
            for episode, destination, notification in told
        ]
        open_ids = self._mark_told({episode for episode, _, _ in told}, at)
        if rows := [row for row in rows if row["episode"] in open_ids]:
            self._connection.execute(_ADD_RECIPIENT, rows)
        return open_ids

    def _mark_told(self, ids: Collection[str], at: datetime) -> set[str]:
        open_ids: set[str] = set()
        for batch in _batches(ids):
            is_open = and_(episodes_c.id.in_(batch), _IS_OPEN)
            # This locks the rows: whoever ends one at the same time waits, and then finds its recipients.
            told_at = func.coalesce(episodes_c.told_at, to_microseconds(at))
            self._connection.execute(update(schema.episodes).where(is_open).values(told_at=told_at))
            open_ids.update(self._connection.execute(select(episodes_c.id).where(is_open)).scalars())
        return open_ids

    def note_held_told(self, selection: Selection, at: datetime, *, by: str | None = None) -> set[str]:
        """As ``note_told``, for held notifications, each told by itself or all ``by`` one; call it before."""
        query = select(held_c.episode, held_c.destination, held_c.notification_id).where(
            selection.condition, held_c.episode.is_not(None), held_c.is_end.is_(False)
        )
        return self.note_told(
            [(row.episode, row.destination, by or row.notification_id) for row in self._connection.execute(query)],
            at,
        )

    def recipients(self, episode_ids: Collection[str]) -> dict[str, list[Recipient]]:
        """The recipients of each episode: a delivery that was given up does not count, its fallback does."""
        found: dict[str, dict[str, datetime]] = {}
        for batch in _batches(episode_ids):
            for row in self._connection.execute(_RECIPIENTS, {"episodes": batch}):
                if row.state == DeliveryState.DEAD.value and row.taken_over_by is None:
                    continue
                name = row.taken_over_by if row.state == DeliveryState.DEAD.value else row.destination
                found.setdefault(row.episode, {}).setdefault(name, row.told_at)
        return {
            episode: [Recipient(name, told_at) for name, told_at in sorted(names.items())]
            for episode, names in found.items()
        }

    def is_queued(self, notification_id: str) -> bool:
        """True if there is a delivery of the notification."""
        return self._connection.execute(_IS_QUEUED, {"notification": notification_id}).first() is not None

    def has_success_after(self, number: int, at: datetime) -> bool:
        """True if a run of the subject has succeeded since ``at``."""
        parameters = {"number": number, "at": to_microseconds(at), "completed": RunState.COMPLETED.value}
        return self._connection.execute(_HAS_SUCCESS, parameters).first() is not None

    def last_event(self, episode: Episode) -> Event | None:
        """The event of the last trouble; None if it is no longer in the journal."""
        # As ``event_keys`` has it in each database.
        keys = (episode.event_key, f"{to_microseconds(episode.last_at) // 1000:012x}{episode.event_key}")
        query = select(schema.events.c.key, schema.events.c.wire).where(schema.events.c.key.in_(keys))
        row = self._connection.execute(query.limit(1)).first()
        return None if row is None else restore_event_json(row.wire, key_of(row.key))

    def add_starts(self, starts: Iterable[tuple[int, datetime]]) -> None:
        """Note that runs of these subjects began; for subjects that a template of a rule names."""
        rows = [{"number": number, "at": to_microseconds(at)} for number, at in starts]
        if rows:
            self._connection.execute(_ADD_START, rows)

    def begins_again(self, number: int, after: datetime, until: datetime) -> bool:
        """True if a run of the subject began after one time, and not after the other."""
        begun = func.coalesce(runs_c.created_at, runs_c.started_at, type_=schema.UtcTimestamp)
        of_runs = select(runs_c.id).where(
            runs_c.subject == number,
            or_(runs_c.ended_at.is_(None), runs_c.ended_at > after),
            begun > after,
            begun <= until,
        )
        starts_c = schema.subject_starts.c
        of_template = select(starts_c.number).where(
            starts_c.number == number, starts_c.begun_at > after, starts_c.begun_at <= until
        )
        return any(
            self._connection.execute(query.limit(1)).first() is not None for query in (of_runs, of_template)
        )


# One parameter for all numbers: as many parameters as numbers cost many times as much.
_NUMBERS: Final = func.json_each(bindparam("numbers")).table_valued("value")
_IS_CURRENT: Final = select(schema.episodes).where(text("is_current"))
_CURRENT: Final = tuple(
    _IS_CURRENT.where(column.in_(select(_NUMBERS.c.value)))
    for column in (episodes_c.number, episodes_c.run_number)
)
_CURRENT_IN_POSTGRES: Final = tuple(
    _IS_CURRENT.where(column == func.any(bindparam("numbers", type_=ARRAY(BigInteger))))
    for column in (episodes_c.number, episodes_c.run_number)
)
_NEXT_DUE: Final = select(func.min(episodes_c.due_at)).where(episodes_c.due_at.is_not(None))
_IS_QUEUED: Final = text("SELECT 1 FROM deliveries WHERE notification_id = :notification LIMIT 1")
_HAS_SUCCESS: Final = text(
    "SELECT 1 FROM runs WHERE subject = :number AND ended_at > :at AND state = :completed LIMIT 1"
)
_HAS_CURRENT: Final = text("SELECT 1 FROM episodes WHERE is_current AND project_id = :project LIMIT 1")
_UPDATE: Final = (
    update(schema.episodes)
    .where(episodes_c.id == bindparam("episode_id"))
    .values({name: bindparam(f"new_{name}") for name in _OF_INGEST})
)
_SET_DUE: Final = (
    update(schema.episodes).where(episodes_c.id == bindparam("episode_id")).values(due_at=bindparam("new_due_at"))
)
_ADD_RECIPIENT: Final = text(
    "INSERT INTO episode_recipients (episode, destination, notification_id, told_at) "
    "VALUES (:episode, :destination, :notification, :at) "
    "ON CONFLICT (episode, destination) DO UPDATE SET notification_id = excluded.notification_id"
)
_ADD_START: Final = text(
    "INSERT INTO subject_starts (number, begun_at) VALUES (:number, :at) ON CONFLICT (number, begun_at) DO NOTHING"
)
_RECIPIENTS: Final = (
    select(
        recipients_c.episode,
        recipients_c.destination,
        recipients_c.told_at,
        deliveries_c.state,
        deliveries_c.taken_over_by,
    )
    .outerjoin(
        schema.deliveries,
        and_(
            deliveries_c.notification_id == recipients_c.notification_id,
            deliveries_c.destination == recipients_c.destination,
        ),
    )
    .where(recipients_c.episode.in_(bindparam("episodes", expanding=True)))
    .order_by(recipients_c.episode, recipients_c.told_at, recipients_c.destination)
)


def _batches(items: Collection[Any]) -> Iterable[list[Any]]:
    ordered = sorted(items)
    for start in range(0, len(ordered), _MAX_BATCH):
        yield ordered[start : start + _MAX_BATCH]


def _row(episode: Episode) -> dict[str, Any]:
    return asdict(episode)


def _episode(row: Any) -> Episode:
    return Episode(**{name: getattr(row, name) for name in _NAMES})
