"""Held notifications, a row for each destination of each, and traces of those that were held or dropped.

Every method is called inside a transaction of ``Store``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    type_coerce,
    update,
)

from aintandem_notify.domain.notification import Notification, Severity
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Drop, Hold, Stage, Unit
from aintandem_notify.stages.summaries import HeldSummary
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.stages.contents import RulePart, read_summary
from aintandem_notify.store.stages.locks import StageLocks
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.event_keys import key_of, keys_have_times, timed_key

held_c: Final = schema.held.c
runs_c: Final = schema.runs.c
_ADD: Final = BulkStatement(
    insert(schema.held),
    (
        "event_key",
        "notification_id",
        "rule",
        "destination",
        "thread",
        "severity",
        "type",
        "family",
        "project_id",
        "project_name",
        "run_id",
        "run_name",
        "workflow_id",
        "attempt",
        "occurred_at",
        "once_value",
        "group_value",
        "stage",
        "hold_key",
        "reason",
        "config",
        "due_at",
        "until",
        "trouble",
        "episode",
        "is_end",
        "held_at",
        "settled_at",
    ),
)
_IS_HELD: Final = held_c.due_at.is_not(None)
_NO_VALUES: Final = {"once_value": None, "group_value": None}


class NewHold(NamedTuple):
    """A new notification at the destination of ``unit``, and the outcome: a hold, or that it is never told.

    ``trouble`` is its number, ``episode`` the one that it belongs to; None for a notification of no trouble.
    """

    notification: Notification
    unit: Unit
    outcome: Hold | Drop
    trouble: int | None = None
    episode: str | None = None


class HoldKey(NamedTuple):
    """Identifies all that a stage holds for a destination under one key."""

    stage: Stage
    destination: str
    key: str


class DueHold(NamedTuple):
    """A hold that is due, and when it was."""

    id: HoldKey
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldNotification:
    """One held notification. ``bundle``: equal for those that are told as one; None for one by itself."""

    id: int
    facts: Facts
    notification_id: str
    thread: str
    occurred_at: datetime
    due_at: datetime
    held_at: datetime
    once_value: str | None
    group_value: str | None
    bundle: int | None
    attempt: int
    event_key: str
    trouble: int | None
    episode: str | None
    is_end: bool


class Selection:
    """Some of the held notifications, as a condition: those of a hold, or of them one bundle, some rows or rules.

    ``with_values``: those that ``once_per`` or a group look at.
    """

    def __init__(
        self,
        hold: DueHold,
        *,
        bundle: int | None = None,
        ids: Sequence[int] | None = None,
        rules: Sequence[str] | None = None,
        with_values: bool = False,
    ) -> None:
        conditions: list[ColumnElement[bool]] = [
            held_c.destination == hold.id.destination,
            held_c.stage == hold.id.stage.value,
            held_c.hold_key == hold.id.key,
            _IS_HELD,
            held_c.due_at <= hold.due_at,
        ]
        if bundle is not None:
            conditions.append(held_c.bundle == bundle)
        if rules is not None:
            conditions.append(held_c.rule.in_(rules))
        if with_values:
            conditions.append(or_(held_c.once_value.is_not(None), held_c.group_value.is_not(None)))
        if ids is not None:
            conditions.append(held_c.id.in_(ids))
        self.condition: Final = and_(*conditions)
        self.stage: Final = hold.id.stage


def parts_of(rows: Iterable[HeldNotification]) -> dict[str, RulePart]:
    """These notifications by rule."""
    return _rule_parts((row.facts.rule, row.facts.severity, row.held_at, row.is_end) for row in rows)


def _rule_parts(facts: Iterable[tuple[str, Severity, datetime, bool]]) -> dict[str, RulePart]:
    parts: dict[str, RulePart] = {}
    for rule, severity, since, is_end in facts:
        part = parts.get(rule, RulePart(frozenset(), since))
        parts[rule] = RulePart(
            part.severities | {severity}, min(part.held_since, since), has_end=part.has_end or is_end
        )
    return parts


class HeldNotifications:
    """The held notifications of a store. ``agent_id`` returns this agent's id in a shared store, else None."""

    def __init__(
        self, connection: Connection, locks: StageLocks, agent_id: Callable[[], str | None] = lambda: None
    ) -> None:
        self._connection = connection
        self._locks = locks
        self._agent_id = agent_id
        self._keys_have_times = keys_have_times(connection)
        self._is_shared = connection.dialect.name == "postgresql"

    def add(self, holds: Sequence[NewHold], now: datetime, *, config_hash: str) -> None:
        """Store the outcomes at ``now``. The journal stores the texts of held notifications."""
        at_us = to_microseconds(now)
        _ADD.run(self._connection, [self._row(hold, at_us, config_hash) for hold in holds])

    def _row(self, hold: NewHold, at_us: int, config_hash: str) -> tuple[Any, ...]:
        notification, unit, outcome = hold.notification, hold.unit, hold.outcome
        event = notification.event
        facts = Facts.of(notification, unit.destination)
        is_held = isinstance(outcome, Hold)
        return (
            timed_key(event) if self._keys_have_times else event.key,
            notification.id if is_held else None,
            *(facts.rule, facts.destination, notification.thread, facts.severity.value),
            *(facts.event_type, facts.family, facts.project_id, facts.project_name),
            *(facts.run_id, facts.run_name, facts.workflow_id),
            1 if notification.run is None else notification.run.attempt,
            to_microseconds(event.timestamp),
            unit.once_value,
            unit.group_value,
            outcome.stage.value,
            outcome.key if isinstance(outcome, Hold) else "",
            outcome.reason if isinstance(outcome, Drop) else "",
            config_hash,
            to_microseconds(outcome.until) if isinstance(outcome, Hold) else None,
            None if outcome.until is None else to_microseconds(outcome.until),
            hold.trouble,
            hold.episode,
            unit.is_end,
            at_us,
            None if is_held else at_us,
        )

    def next_due(self) -> datetime | None:
        """When the next hold is due; None if nothing is held."""
        due_at: datetime | None = self._connection.execute(
            select(func.min(held_c.due_at)).where(_IS_HELD, self._is_ours())
        ).scalar_one()
        return due_at

    def due(self, now: datetime, *, limit: int = 20) -> list[DueHold]:
        """Some of the holds that are due, the first first."""
        rows = self._connection.execute(
            select(held_c.stage, held_c.destination, held_c.hold_key, held_c.due_at)
            .where(_IS_HELD, held_c.due_at <= now, self._is_ours())
            .order_by(held_c.due_at, held_c.stage, held_c.id)
            .limit(limit)
        )
        holds: dict[HoldKey, datetime] = {}
        for row in rows:
            holds.setdefault(HoldKey(Stage(row.stage), row.destination, row.hold_key), row.due_at)
        return [DueHold(key, due_at) for key, due_at in holds.items()]

    def next_due_besides(self, hold: DueHold) -> datetime | None:
        """When the next hold of another key at the same destination is due; None if there is none."""
        other = or_(held_c.stage != hold.id.stage.value, held_c.hold_key != hold.id.key)
        due_at: datetime | None = self._connection.execute(
            select(func.min(held_c.due_at)).where(
                _IS_HELD, self._is_ours(), held_c.destination == hold.id.destination, other
            )
        ).scalar_one()
        return due_at

    def _is_ours(self) -> ColumnElement[bool]:
        """The condition of holds that this agent may release: failures settle where their project is watched."""
        agent_id = self._agent_id()
        if agent_id is None:
            return true()
        watched = select(schema.projects.c.id).where(schema.projects.c.owner == agent_id)
        return or_(held_c.stage != Stage.SETTLE.value, held_c.project_id.in_(watched))

    def rows(self, selection: Selection, *, after_id: int = 0, limit: int) -> list[HeldNotification]:
        """The first ``limit`` notifications behind the id ``after_id``."""
        query = (
            select(schema.held)
            .where(selection.condition, self._is_ours(), held_c.id > after_id)
            .order_by(held_c.id)
            .limit(limit)
        )
        return [_held_notification(row) for row in self._connection.execute(query)]

    def first_due_rows(self, hold: DueHold, until: datetime, *, limit: int) -> list[HeldNotification]:
        """The first ``limit`` notifications of the hold that are due by ``until``, the first due first."""
        query = (
            select(schema.held)
            .where(Selection(hold._replace(due_at=until)).condition, self._is_ours())
            .order_by(held_c.due_at, held_c.id)
            .limit(limit)
        )
        return [_held_notification(row) for row in self._connection.execute(query)]

    def parts(self, selection: Selection) -> dict[str, RulePart]:
        """The selected notifications by rule; empty if nothing is selected."""
        query = (
            select(held_c.rule, held_c.severity, func.min(held_c.held_at), held_c.is_end)
            .where(selection.condition)
            .group_by(held_c.rule, held_c.severity, held_c.is_end)
            .order_by(held_c.rule)
        )
        return _rule_parts(
            (rule, Severity(name), since, is_end) for rule, name, since, is_end in self._connection.execute(query)
        )

    def group_value(self, selection: Selection) -> str | None:
        """The value of the group of the first selected notification."""
        query = select(held_c.group_value).where(selection.condition).order_by(held_c.id).limit(1)
        value: str | None = self._connection.execute(query).scalar_one()
        return value

    def move(
        self, selection: Selection, hold: Hold, *, as_one: bool = False, has_passed_values: bool = False
    ) -> None:
        """Let another stage hold these notifications; ``as_one``: they are told together from now on.

        ``has_passed_values``: ``once_per`` and the group are not asked again.
        """
        values: dict[str, Any] = {
            "stage": hold.stage.value,
            "hold_key": hold.key,
            "due_at": hold.until,
            "until": hold.until,
        }
        if selection.stage is not hold.stage:
            values["path"] = held_c.path + f"{selection.stage.label},"
        if as_one:
            values["bundle"] = self._first_of(selection)
        if has_passed_values:
            values |= _NO_VALUES
        self._connection.execute(update(schema.held).where(selection.condition).values(values))

    def _first_of(self, selection: Selection) -> int:
        query = select(func.min(func.coalesce(held_c.bundle, held_c.id))).where(selection.condition)
        first: int = self._connection.execute(query).scalar_one()
        return first

    def pass_values(self, selection: Selection) -> None:
        """Note that ``once_per`` and the group need not be asked again."""
        self._connection.execute(update(schema.held).where(selection.condition).values(_NO_VALUES))

    def bind(self, hold: DueHold, *, rules: Sequence[str] | None, bundle: int | None) -> Selection:
        """A part of the hold, without any that another agent adds from now on."""
        selection = Selection(hold, rules=rules, bundle=bundle)
        if not self._is_shared or bundle is not None:
            return selection
        first = self._first_of(selection)
        self._connection.execute(update(schema.held).where(selection.condition).values(bundle=first))
        return Selection(hold, rules=rules, bundle=first)

    def once_values(self, selection: Selection) -> list[tuple[str, str]]:
        """The different values of ``once_per``, each with its rule."""
        query = select(held_c.rule, held_c.once_value).where(selection.condition, held_c.once_value.is_not(None))
        return [(rule, value) for rule, value in self._connection.execute(query.distinct())]

    def mark_told(self, selection: Selection, now: datetime, *, by: str | None = None) -> None:
        """Note that these are told, each by itself or all ``by`` one notification."""
        told_by = schema.held.c.notification_id if by is None else by
        self._connection.execute(
            update(schema.held).where(selection.condition).values(due_at=None, settled_at=now, told_by=told_by)
        )

    def drop(self, selection: Selection, drop: Drop, now: datetime) -> None:
        """Note that these are never told."""
        values: dict[str, Any] = {
            "due_at": None,
            "until": drop.until,
            "settled_at": now,
            "stage": drop.stage.value,
            "reason": drop.reason,
        }
        if selection.stage is not drop.stage:
            values["path"] = held_c.path + f"{selection.stage.label},"
        self._connection.execute(update(schema.held).where(selection.condition).values(values))

    def overview(self) -> list[tuple[str, Stage, int, datetime]]:
        """By destination and stage, the number of held notifications and the time at which the first is due."""
        groups = (held_c.destination, held_c.stage)
        query = select(*groups, func.count(), func.min(held_c.due_at)).where(_IS_HELD).group_by(*groups)
        rows = self._connection.execute(query.order_by(*groups))
        return [(destination, Stage(stage), count, until) for destination, stage, count, until in rows]

    def silenced(self) -> dict[str, int]:
        """The number of notifications that each silence holds, by its id."""
        query = (
            select(held_c.hold_key, func.count())
            .where(_IS_HELD, held_c.stage == Stage.SILENCES.value)
            .group_by(held_c.hold_key)
        )
        return {silence_id: count for silence_id, count in self._connection.execute(query)}  # noqa: C416

    def silenced_at(self, silence_id: str) -> dict[str, int]:
        """The number of notifications that the silence holds for each destination."""
        query = (
            select(held_c.destination, func.count())
            .where(_IS_HELD, held_c.stage == Stage.SILENCES.value, held_c.hold_key == silence_id)
            .group_by(held_c.destination)
            .order_by(held_c.destination)
        )
        return {destination: count for destination, count in self._connection.execute(query)}  # noqa: C416

    def end_silences(self, silence_ids: Sequence[str], now: datetime) -> None:
        """Ask the stages again at ``now`` about the notifications that these silences hold. End them first."""
        silenced = and_(_IS_HELD, held_c.stage == Stage.SILENCES.value, held_c.hold_key.in_(silence_ids))
        self._lock_all(silenced)
        self._connection.execute(update(schema.held).where(silenced).values(due_at=now))

    def ids_over(self, selection: Selection) -> list[int]:
        """The ids of the selected ones whose episode has ended."""
        query = select(held_c.id).where(
            selection.condition,
            exists().where(schema.episodes.c.id == held_c.episode, schema.episodes.c.ended_at.is_not(None)),
        )
        return list(self._connection.execute(query).scalars())

    def end_cause(self, episode_ids: Sequence[str], now: datetime) -> None:
        """Ask the stages again at ``now`` about the notifications that wait for the end of these episodes."""
        waiting = and_(_IS_HELD, held_c.stage == Stage.HELD_BACK_BY.value, held_c.hold_key.in_(episode_ids))
        self._connection.execute(update(schema.held).where(waiting, held_c.due_at > now).values(due_at=now))

    def make_due_if(self, is_obsolete: Callable[[Stage, str], bool], now: datetime) -> None:
        """Ask the stages again at ``now`` about the holds that are obsolete.

        ``is_obsolete`` gets the stage and the rule of a hold.
        """
        self._lock_all(_IS_HELD)
        held = select(held_c.stage, held_c.rule).where(_IS_HELD).distinct()
        for stage, rule in self._connection.execute(held).all():
            if is_obsolete(Stage(stage), rule):
                same = and_(_IS_HELD, held_c.stage == stage, held_c.rule == rule, held_c.due_at > now)
                self._connection.execute(update(schema.held).where(same).values(due_at=now))

    def _lock_all(self, condition: ColumnElement[bool]) -> None:
        """Lock the destinations of these notifications."""
        if self._is_shared:
            found = self._connection.execute(select(held_c.destination).where(condition).distinct())
            self._locks.wait_for(found.scalars())

    def summarize(self, selection: Selection, *, max_titles: int) -> HeldSummary:
        """The contents of the selected notifications; there is at least one."""
        return read_summary(
            self._connection,
            selection.condition,
            parts=self.parts(selection),
            group_value=self.group_value(selection) or "",
            max_titles=max_titles,
        )

    def taken(self, rule: str, event_key: str, occurred_at: datetime) -> tuple[str | None, bool] | None:
        """The episode of an event, and whether the rule takes it, as decided for another destination.

        None if that was not decided yet, or if it was told there at once.
        """
        # As ``event_keys`` has it in each database.
        keys = (event_key, f"{to_microseconds(occurred_at) // 1000:012x}{event_key}")
        query = select(held_c.episode, held_c.stage).where(
            held_c.event_key.in_(keys),
            held_c.rule == rule,
            or_(held_c.stage > Stage.SETTLE.value, held_c.told_by.is_not(None)),
        )
        row = self._connection.execute(query.limit(1)).first()
        return None if row is None else (row.episode, row.stage != Stage.ON.value)

    def set_episode(self, ids: Sequence[int], episode: str) -> None:
        """Note the episode to which these belong."""
        self._connection.execute(update(schema.held).where(held_c.id.in_(ids)).values(episode=episode))

    def later_attempts(self, ids: Sequence[int], settle_s: float) -> dict[int, int]:
        """By id of those that have one, the first later attempt that began while the failure had to settle."""
        begun = type_coerce(func.coalesce(runs_c.created_at, runs_c.started_at, runs_c.updated_at), BigInteger)
        settled_at = type_coerce(held_c.occurred_at, BigInteger) + round(settle_s * 1_000_000)
        query = (
            select(held_c.id, func.min(runs_c.attempt))
            .join(
                schema.runs,
                and_(
                    runs_c.project_id == held_c.project_id,
                    runs_c.kind == held_c.family,
                    runs_c.id == held_c.run_id,
                ),
            )
            .where(
                held_c.id.in_(ids),
                runs_c.attempt > held_c.attempt,
                begun <= settled_at,
                begun <= type_coerce(held_c.due_at, BigInteger),
            )
            .group_by(held_c.id)
        )
        return {held_id: attempt for held_id, attempt in self._connection.execute(query)}  # noqa: C416


def _held_notification(row: Any) -> HeldNotification:
    return HeldNotification(
        id=row.id,
        facts=Facts(
            row.rule,
            row.destination,
            row.type,
            row.family,
            Severity(row.severity),
            *(row.project_id, row.project_name, row.run_id, row.run_name, row.workflow_id),
        ),
        notification_id=row.notification_id,
        thread=row.thread,
        occurred_at=row.occurred_at,
        due_at=row.due_at,
        held_at=row.held_at,
        once_value=row.once_value,
        group_value=row.group_value,
        bundle=row.bundle,
        attempt=row.attempt,
        event_key=key_of(row.event_key),
        trouble=row.trouble,
        episode=row.episode,
        is_end=row.is_end,
    )
