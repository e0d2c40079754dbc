"""Held notifications, a row for each destination of each, and traces of those that were held or dropped.

Every method is called inside a transaction of ``Store``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pydantic_core import from_json
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)

from aintandem_notify.domain.notification import Notification, Severity
from aintandem_notify.domain.runs import RunState
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Drop, Hold, Stage, Unit
from aintandem_notify.stages.summaries import HeldSummary
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.store.tables.bulk_statement import BulkStatement
from aintandem_notify.store.tables.event_keys import keys_have_times, timed_key

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
        "held_at",
        "settled_at",
    ),
)
_IS_HELD: Final = held_c.due_at.is_not(None)
_UNIT: Final = func.coalesce(held_c.bundle, held_c.id)


class NewHold(NamedTuple):
    """A new notification at the destination of ``unit``, and the outcome: a hold, or that it is never told."""

    notification: Notification
    unit: Unit
    outcome: Hold | Drop


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
    """One held notification. ``unit``: equal for those that are told as one."""

    id: int
    facts: Facts
    notification_id: str
    thread: str
    attempt: int
    occurred_at: datetime
    once_value: str | None
    group_value: str | None
    unit: int


class Selection:
    """Some of the held notifications, as a condition: those of a hold, or of them one unit or some rows.

    ``with_values``: those that ``once_per`` or a group look at.
    """

    def __init__(
        self,
        hold: DueHold,
        *,
        unit: int | None = None,
        ids: Sequence[int] | None = None,
        with_values: bool = False,
    ) -> None:
        conditions: list[ColumnElement[bool]] = [
            held_c.destination == hold.id.destination,
            held_c.stage == hold.id.stage.value,
            held_c.hold_key == hold.id.key,
            _IS_HELD,
            held_c.due_at <= hold.due_at,
        ]
        if unit is not None:
            conditions.append(or_(held_c.bundle == unit, and_(held_c.bundle.is_(None), held_c.id == unit)))
        if with_values:
            conditions.append(or_(held_c.once_value.is_not(None), held_c.group_value.is_not(None)))
        if ids is not None:
            conditions.append(held_c.id.in_(ids))
        self.condition: Final = and_(*conditions)
        self.stage: Final = hold.id.stage


class HeldNotifications:
    """The held notifications of a store. ``agent_id`` returns this agent's id in a shared store, else None."""

    def __init__(self, connection: Connection, agent_id: Callable[[], str | None] = lambda: None) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._keys_have_times = keys_have_times(connection)
        self._is_shared = connection.dialect.name == "postgresql"

    def add(self, holds: Sequence[NewHold], now: datetime, *, config_hash: str) -> None:
        """Store the outcomes at ``now``. The journal stores the texts of held notifications."""
        at_us = to_microseconds(now)
        _ADD.run(self._connection, [self._row(hold, at_us, config_hash) for hold in holds])

    def _row(self, hold: NewHold, at_us: int, config_hash: str) -> tuple[Any, ...]:
        notification, unit, outcome = hold
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
        holds = {HoldKey(Stage(row.stage), row.destination, row.hold_key): row.due_at for row in rows}
        return [DueHold(key, due_at) for key, due_at in holds.items()]

    def _is_ours(self) -> ColumnElement[bool]:
        """The condition of holds that this agent may release: failures settle where their project is watched."""
        agent_id = self._agent_id()
        if agent_id is None:
            return true()
        watched = select(schema.projects.c.id).where(schema.projects.c.owner == agent_id)
        return or_(held_c.stage != Stage.SETTLE.value, held_c.project_id.in_(watched))

    def lock(self, hold: DueHold) -> bool:
        """True if this agent may release the hold; in a shared store another agent may be about to."""
        if not self._is_shared:
            return True
        name = f"{hold.id.stage}\n{hold.id.destination}\n{hold.id.key}".encode()
        number = int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)
        return bool(
            self._connection.execute(
                text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}
            ).scalar()
        )

    def rows(self, selection: Selection, *, after_id: int = 0, limit: int) -> list[HeldNotification]:
        """The first ``limit`` notifications behind the id ``after_id``."""
        query = (
            select(schema.held)
            .where(selection.condition, self._is_ours(), held_c.id > after_id)
            .order_by(held_c.id)
            .limit(limit)
        )
        return [_held_notification(row) for row in self._connection.execute(query)]

    def units(self, selection: Selection, *, limit: int) -> list[tuple[int, int]]:
        """The first ``limit`` units, each with its number of notifications."""
        query = select(_UNIT, func.count()).where(selection.condition).group_by(_UNIT).order_by(_UNIT).limit(limit)
        return [(unit, count) for unit, count in self._connection.execute(query)]

    def severities(self, selection: Selection) -> frozenset[Severity]:
        """The severities that occur; empty if nothing is selected."""
        query = select(held_c.severity).where(selection.condition).distinct()
        return frozenset(map(Severity, self._connection.execute(query).scalars()))

    def count(self, selection: Selection, *, up_to: int) -> int:
        """The number of selected notifications, counted no further than ``up_to``."""
        some = select(held_c.id).where(selection.condition).limit(up_to).subquery()
        return self._connection.execute(select(func.count()).select_from(some)).scalar_one()

    def rules(self, selection: Selection) -> list[str]:
        """The rules of the selected notifications."""
        query = select(held_c.rule).where(selection.condition).distinct().order_by(held_c.rule)
        return list(self._connection.execute(query).scalars())

    def group_value(self, selection: Selection) -> str | None:
        """The value of the group of the first selected notification."""
        query = select(held_c.group_value).where(selection.condition).order_by(held_c.id).limit(1)
        value: str | None = self._connection.execute(query).scalar_one()
        return value

    def move(self, selection: Selection, hold: Hold, *, as_one: bool = False) -> None:
        """Let another stage hold these notifications; ``as_one``: they are told together from now on."""
        values: dict[str, Any] = {
            "stage": hold.stage.value,
            "hold_key": hold.key,
            "due_at": hold.until,
            "until": hold.until,
        }
        if selection.stage is not hold.stage:
            values["path"] = held_c.path + f"{selection.stage.label},"
        if as_one:
            first_unit = select(func.min(_UNIT)).where(selection.condition)
            values["bundle"] = self._connection.execute(first_unit).scalar_one()
        self._connection.execute(update(schema.held).where(selection.condition).values(values))

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

    def end_silences(self, silence_ids: Sequence[str], now: datetime) -> None:
        """Ask the stages again at ``now`` about the notifications that these silences hold."""
        silenced = and_(_IS_HELD, held_c.stage == Stage.SILENCES.value, held_c.hold_key.in_(silence_ids))
        self._connection.execute(update(schema.held).where(silenced).values(due_at=now))

    def make_due_if(self, is_obsolete: Callable[[Stage, str], bool], now: datetime) -> None:
        """Ask the stages again at ``now`` about the holds that are obsolete.

        ``is_obsolete`` gets the stage and the rule of a hold.
        """
        held = select(held_c.stage, held_c.rule).where(_IS_HELD).distinct()
        for stage, rule in self._connection.execute(held).all():
            if is_obsolete(Stage(stage), rule):
                same = and_(_IS_HELD, held_c.stage == stage, held_c.rule == rule, held_c.due_at > now)
                self._connection.execute(update(schema.held).where(same).values(due_at=now))

    def summarize(self, selection: Selection, *, max_titles: int) -> HeldSummary:
        """The contents of the selected notifications; there is at least one."""
        connection, condition = self._connection, selection.condition
        counts = connection.execute(select(held_c.type, func.count()).where(condition).group_by(held_c.type))
        first_id, oldest, newest = connection.execute(
            select(func.min(held_c.id), func.min(held_c.occurred_at), func.max(held_c.occurred_at)).where(
                condition
            )
        ).one()
        projects = connection.execute(
            select(held_c.project_id, func.max(held_c.project_name))
            .where(condition, held_c.project_id != "")
            .group_by(held_c.project_id)
            .order_by(held_c.project_id)
        )
        contents = connection.execute(
            select(schema.notifications.c.content)
            .join(schema.notifications, schema.notifications.c.id == held_c.notification_id)
            .where(condition)
            .order_by(held_c.id)
            .limit(max_titles)
        )
        failed_runs, open_runs = self._runs(condition)
        return HeldSummary(
            first_id=first_id,
            types={name: count for name, count in counts},  # noqa: C416  # dict() loses the types
            severities=self.severities(selection),
            rules=self.rules(selection),
            projects={project: name for project, name in projects},  # noqa: C416
            oldest=oldest,
            newest=newest,
            titles=[str(from_json(content).get("title", "")) for content in contents.scalars()],
            failed_runs=failed_runs,
            open_runs=open_runs,
            group_value=self.group_value(selection) or "",
        )

    def _runs(self, condition: ColumnElement[bool]) -> tuple[int, int]:
        """The number of runs that failed, and of those whose latest attempt has not ended well."""
        failed = (
            select(held_c.project_id, held_c.family, held_c.run_id)
            .where(condition, held_c.run_id != "", held_c.severity.in_([Severity.ERROR, Severity.CRITICAL]))
            .distinct()
            .subquery()
        )
        later = schema.runs.alias("later")
        same = and_(
            later.c.project_id == failed.c.project_id,
            later.c.kind == failed.c.family,
            later.c.id == failed.c.run_id,
        )
        newest = select(func.max(later.c.attempt)).where(same).scalar_subquery()
        good = (
            select(func.count())
            .select_from(failed)
            .join(
                schema.runs,
                and_(
                    runs_c.project_id == failed.c.project_id,
                    runs_c.kind == failed.c.family,
                    runs_c.id == failed.c.run_id,
                    runs_c.attempt == newest,
                ),
            )
            .where(runs_c.state == RunState.COMPLETED.value)
        )
        count: int = self._connection.execute(select(func.count()).select_from(failed)).scalar_one()
        passed: int = self._connection.execute(good).scalar_one()
        return count, count - passed

    def later_attempt(self, held: HeldNotification, *, begun_until: datetime) -> int | None:
        """The first later attempt of the run that began by ``begun_until``; None if there is none."""
        begun = func.coalesce(runs_c.created_at, runs_c.started_at, runs_c.updated_at, type_=schema.UtcTimestamp)
        query = select(func.min(runs_c.attempt)).where(
            runs_c.project_id == held.facts.project_id,
            runs_c.kind == held.facts.family,
            runs_c.id == held.facts.run_id,
            runs_c.attempt > held.attempt,
            begun <= begun_until,
        )
        attempt: int | None = self._connection.execute(query).scalar_one()
        return attempt


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
        attempt=row.attempt,
        occurred_at=row.occurred_at,
        once_value=row.once_value,
        group_value=row.group_value,
        unit=row.bundle or row.id,
    )
