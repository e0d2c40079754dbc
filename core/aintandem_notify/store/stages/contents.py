"""Reads the contents of held notifications for the one that stands for them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.runs import RunState
from aintandem_notify.stages.summaries import HeldSummary
from aintandem_notify.store.engine import schema

held_c: Final = schema.held.c
runs_c: Final = schema.runs.c


class RulePart(NamedTuple):
    """The severities of the held notifications of one rule, and since when the first of them is held.

    ``has_end``: one of them tells of the end of an episode.
    """

    severities: frozenset[Severity]
    held_since: datetime
    has_end: bool = False


def read_summary(
    connection: Connection,
    condition: ColumnElement[bool],
    *,
    parts: Mapping[str, RulePart],
    group_value: str,
    max_titles: int,
) -> HeldSummary:
    """The contents of the rows of ``held`` with this condition; ``parts`` are the same rows by rule."""
    counts = connection.execute(select(held_c.type, func.count()).where(condition).group_by(held_c.type))
    first_id, oldest, newest = connection.execute(
        select(func.min(held_c.id), func.min(held_c.occurred_at), func.max(held_c.occurred_at)).where(condition)
    ).one()
    projects = connection.execute(
        select(held_c.project_id, func.max(held_c.project_name))
        .where(condition, held_c.project_id != "")
        .group_by(held_c.project_id)
        .order_by(held_c.project_id)
    )
    titles, places = _titles(connection, condition, max_titles)
    failed_runs, open_runs = _runs(connection, condition)
    return HeldSummary(
        first_id=first_id,
        types={name: count for name, count in counts},  # noqa: C416  # dict() loses the types
        severities=frozenset[Severity]().union(*(part.severities for part in parts.values())),
        rules=list(parts),
        projects={project: name for project, name in projects},  # noqa: C416
        oldest=oldest,
        newest=newest,
        titles=titles,
        title_projects=places,
        failed_runs=failed_runs,
        open_runs=open_runs,
        group_value=group_value,
    )


def _titles(connection: Connection, condition: ColumnElement[bool], limit: int) -> tuple[list[str], list[str]]:
    """The titles of the first notifications, the worst first, and the names of their projects."""
    ranks = {severity.value: -severity.rank for severity in Severity}
    rank = case(ranks, value=held_c.severity, else_=0).label("rank")
    # Few contents are read and few rows are sorted as a whole: there may be 100,000.
    first = (
        select(held_c.id, held_c.notification_id, held_c.project_name, rank)
        .where(condition)
        .order_by(rank, held_c.id)
        .limit(limit)
        .subquery()
    )
    rows = connection.execute(
        select(schema.notifications.c.content, first.c.project_name)
        .join(schema.notifications, schema.notifications.c.id == first.c.notification_id)
        .order_by(first.c.rank, first.c.id)
    ).all()
    return [str(from_json(row.content).get("title", "")) for row in rows], [row.project_name for row in rows]


def _runs(connection: Connection, condition: ColumnElement[bool]) -> tuple[int, int]:
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
    count: int = connection.execute(select(func.count()).select_from(failed)).scalar_one()
    passed: int = connection.execute(good).scalar_one()
    return count, count - passed
