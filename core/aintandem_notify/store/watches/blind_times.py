"""The times in which nothing could be heard of a project, because its link or the agent was down.

Every method is called inside a transaction of ``Store``.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Connection, case, func, insert, select, type_coerce

from aintandem_notify.store.engine import schema
from aintandem_notify.store.engine.schema import to_microseconds

blind_c: Final = schema.blind_times.c

_BEGAN_US: Final = type_coerce(blind_c.began_at, BigInteger)
_ENDED_US: Final = type_coerce(blind_c.ended_at, BigInteger)


class BlindTimes:
    """The times in which nothing could be heard."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, project_id: str, began_at: datetime, ended_at: datetime) -> None:
        """Note that nothing was heard of the project between the two times."""
        if (last_end := self.last_end(project_id)) is not None:
            began_at = max(began_at, last_end)  # they must not overlap, or would count twice
        if began_at < ended_at:
            self._connection.execute(
                insert(schema.blind_times),
                {"project_id": project_id, "began_at": began_at, "ended_at": ended_at},
            )

    def seconds(self, project_id: str, since: datetime, until: datetime) -> float:
        """Seconds between the two times in which nothing could be heard of the project."""
        since_us, until_us = to_microseconds(since), to_microseconds(until)
        begin = case((since_us > _BEGAN_US, since_us), else_=_BEGAN_US)
        end = case((until_us < _ENDED_US, until_us), else_=_ENDED_US)
        total = self._connection.execute(
            select(func.sum(end - begin)).where(
                blind_c.project_id == project_id, blind_c.ended_at > since, blind_c.began_at < until
            )
        ).scalar_one()
        return float(total or 0) / 1e6

    def last_end(self, project_id: str) -> datetime | None:
        """The end of the last time in which nothing could be heard of the project; None if there was none."""
        moment: datetime | None = self._connection.execute(
            select(func.max(blind_c.ended_at)).where(blind_c.project_id == project_id)
        ).scalar_one()
        return moment
