"""The runs that watches look at: those that have not ended, the tasks of a workflow, and the last durations.

Every method is called inside a transaction of ``Store``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, literal_column, select, tuple_

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.runs import TERMINAL_STATES, RunRef, RunState
from aintandem_notify.store.engine import schema

runs_c: Final = schema.runs.c
_IS_OPEN: Final = runs_c.state.not_in([state.value for state in TERMINAL_STATES])


class WatchedRuns:
    """Reads runs for watches."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open_refs(self, project_id: str, *, after: tuple[str, str] | None, limit: int) -> list[RunRef]:
        """Runs of the project that have not ended, ordered by kind and id, behind ``after``."""
        query = select(runs_c.kind, runs_c.id).where(runs_c.project_id == project_id, _IS_OPEN)
        if after is not None:
            query = query.where(tuple_(runs_c.kind, runs_c.id) > after)
        rows = self._connection.execute(query.distinct().order_by(runs_c.kind, runs_c.id).limit(limit))
        return [RunRef(project_id, Family(row.kind), row.id) for row in rows]

    def tasks_moved_at(self, project_id: str, workflow_ids: Sequence[str]) -> datetime | None:
        """The orchestrator's time of the last event of a task of these workflows; None if none is known."""
        # Literals, so that SQLite sees that the partial index on these runs is sufficient.
        is_task = runs_c.kind == literal_column("'task'")
        moment: datetime | None = self._connection.execute(
            select(func.max(runs_c.updated_at)).where(
                is_task,
                runs_c.workflow_id.is_not(None),
                runs_c.project_id == project_id,
                runs_c.workflow_id.in_(workflow_ids),
            )
        ).scalar_one()
        return moment

    def durations(self, subject: int, limit: int) -> list[float]:
        """Seconds that the newest successful attempts of the subject took, as far as their start is known."""
        rows = self._connection.execute(
            select(runs_c.started_at, runs_c.ended_at)
            .where(
                runs_c.subject == subject,
                runs_c.ended_at.is_not(None),
                runs_c.state == RunState.COMPLETED.value,
                runs_c.started_at.is_not(None),
            )
            .order_by(runs_c.ended_at.desc())
            .limit(limit)
        )
        return [(row.ended_at - row.started_at).total_seconds() for row in rows]
