"""The timers of watches. Every method is called inside a transaction of ``Store``."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.runs import RunRef
from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds
from aintandem_notify.watches.timers import Timer

timers_c: Final = schema.watch_timers.c
_IS_DUE: Final = and_(timers_c.due_at.is_not(None), timers_c.parked.is_(None))
_IS_FIRED: Final = timers_c.fired_at.is_not(None)
_NAMES: Final = tuple("parked" if field.name == "is_parked" else field.name for field in fields(Timer))
_KEY: Final = ("project_id", "kind", "run_id", "watch")
_WRITE: Final = text(
    f"INSERT INTO watch_timers ({', '.join(_NAMES)}) VALUES ({', '.join(f':{name}' for name in _NAMES)}) "  # noqa: S608  # the names of our own fields
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name not in _KEY)
)
_DELETE: Final = delete(schema.watch_timers).where(*(timers_c[name] == bindparam(f"key_{name}") for name in _KEY))
_MAX_BATCH: Final = 500
_PROJECTS: Final = schema.projects.c


class WatchTimers:
    """The timers. ``agent_id`` returns this agent's id in a shared store, else None.

    In a shared store the timers of a project are looked at by the agent that watches it.
    """

    def __init__(self, connection: Connection, agent_id: Callable[[], str | None] = lambda: None) -> None:
        self._connection = connection
        self._agent_id = agent_id

    def write(self, timers: Sequence[Timer]) -> None:
        """Store the timers; each replaces the one of its key."""
        if timers:
            self._connection.execute(_WRITE, [_values(timer) for timer in timers])

    def delete(self, timers: Iterable[Timer]) -> None:
        """Delete these timers."""
        rows = [dict(zip((f"key_{name}" for name in _KEY), timer.key, strict=True)) for timer in timers]
        if rows:
            self._connection.execute(_DELETE, rows)

    def delete_of_runs(self, refs: Iterable[RunRef]) -> None:
        """Delete all timers of these runs."""
        for condition in self._about(refs):
            self._connection.execute(delete(schema.watch_timers).where(condition))

    def of_runs(self, refs: Iterable[RunRef]) -> list[Timer]:
        """The timers of these runs."""
        return [timer for condition in self._about(refs) for timer in self._select(condition)]

    def fired_of_runs(self, refs: Iterable[RunRef]) -> list[Timer]:
        """The timers of these runs whose trouble was told."""
        return [timer for condition in self._about(refs) for timer in self._select(and_(condition, _IS_FIRED))]

    def of_expected_runs(self, project_ids: Iterable[str]) -> list[Timer]:
        """The timers of runs that are to come, of these projects."""
        ids = sorted(set(project_ids))
        batches = (ids[start : start + _MAX_BATCH] for start in range(0, len(ids), _MAX_BATCH))
        is_expected = timers_c.run_id == ""
        return [
            timer for batch in batches for timer in self._select(and_(timers_c.project_id.in_(batch), is_expected))
        ]

    def due(self, now: datetime, *, limit: int) -> list[Timer]:
        """The timers that are due, the first first."""
        return self._select(
            and_(_IS_DUE, timers_c.due_at <= now, self._is_ours()),
            order_by=(timers_c.due_at, timers_c.watch, timers_c.project_id, timers_c.kind, timers_c.run_id),
            limit=limit,
        )

    def next_due(self) -> datetime | None:
        """When the next timer is due; None if none is."""
        due_at: datetime | None = self._connection.execute(
            select(func.min(timers_c.due_at)).where(_IS_DUE, self._is_ours())
        ).scalar_one()
        return due_at

    def fired_refs(self, limit: int) -> set[RunRef] | None:
        """The runs whose trouble was told; None if there are more than ``limit``."""
        rows = self._connection.execute(
            select(timers_c.project_id, timers_c.kind, timers_c.run_id)
            .where(_IS_FIRED, timers_c.run_id != "")
            .limit(limit + 1)
        ).all()
        return {RunRef(row[0], Family(row[1]), row[2]) for row in rows} if len(rows) <= limit else None

    def park(self, project_id: str, now: datetime) -> None:
        """Look at the due timers of the project only after ``unpark``."""
        self._connection.execute(
            update(schema.watch_timers)
            .where(_IS_DUE, timers_c.project_id == project_id, timers_c.due_at <= now)
            .values(parked=1)
        )

    def unpark(self, project_id: str) -> None:
        """Look at the timers of the project again."""
        self._connection.execute(
            update(schema.watch_timers)
            .where(timers_c.parked.is_not(None), timers_c.project_id == project_id)
            .values(parked=None)
        )

    def postpone(self, now: datetime, until: datetime) -> None:
        """Look at the timers that are due now only at ``until``."""
        due = and_(_IS_DUE, timers_c.due_at <= now, self._is_ours())
        self._connection.execute(update(schema.watch_timers).where(due).values(due_at=until))

    def parked_projects(self) -> set[str]:
        """The projects with parked timers, of those that this agent watches."""
        query = select(timers_c.project_id).where(timers_c.parked.is_not(None), self._is_ours()).distinct()
        return set(self._connection.execute(query).scalars())

    def keep_only(self, hashes: Mapping[str, str]) -> None:
        """Delete the timers of other watches than these (hashes by name), and of those with another hash.

        Those whose trouble was told stay with a watch of their name.
        """
        for name, config in hashes.items():
            self._connection.execute(
                update(schema.watch_timers)
                .where(timers_c.watch == name, timers_c.config != config, _IS_FIRED, self._is_ours())
                .values(config=config)
            )
        known = [and_(timers_c.watch == name, timers_c.config == config) for name, config in hashes.items()]
        is_known: ColumnElement[bool] = or_(*known) if known else ~true()
        self._connection.execute(delete(schema.watch_timers).where(~is_known, self._is_ours()))

    def _is_ours(self) -> ColumnElement[bool]:
        agent_id = self._agent_id()
        if agent_id is None:
            return true()
        return timers_c.project_id.in_(select(_PROJECTS.id).where(_PROJECTS.owner == agent_id))

    def _about(self, refs: Iterable[RunRef]) -> Iterable[ColumnElement[bool]]:
        """Conditions that together select the timers of the runs."""
        keys = [(ref.project_id, ref.kind.value, ref.id) for ref in refs]
        for start in range(0, len(keys), _MAX_BATCH):
            batch = keys[start : start + _MAX_BATCH]
            if self._connection.dialect.name != "sqlite" or "\\u0000" in (as_json := json.dumps(batch)):
                yield tuple_(timers_c.project_id, timers_c.kind, timers_c.run_id).in_(batch)
                continue
            # SQLite would read the whole table for a list of tuples. With JSON it looks each row up.
            value = func.json_each(as_json).table_valued("value").c.value
            rows = select(*(func.json_extract(value, f"$[{index}]") for index in range(3)))
            yield tuple_(timers_c.project_id, timers_c.kind, timers_c.run_id).in_(rows)

    def _select(
        self, condition: ColumnElement[bool], *, order_by: Sequence[Any] = (), limit: int | None = None
    ) -> list[Timer]:
        query = select(schema.watch_timers).where(condition).order_by(*order_by).limit(limit)
        return [_timer(row) for row in self._connection.execute(query).mappings()]


def _values(timer: Timer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _NAMES:
        value = (1 if timer.is_parked else None) if name == "parked" else getattr(timer, name)
        values[name] = to_microseconds(value) if isinstance(value, datetime) else value
    return values


def _timer(row: RowMapping) -> Timer:
    values: dict[str, Any] = dict(row)
    is_parked = values.pop("parked") is not None
    return Timer(**values, is_parked=is_parked)
