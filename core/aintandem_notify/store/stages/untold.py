"""Lists the notifications that are not told: those that a stage holds, and those that one has dropped.

Every method is called inside a transaction of ``Store``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic_core import from_json
from sqlalchemy import Connection, bindparam, select

from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.store.engine import schema

held_c: Final = schema.held.c

_UNTOLD: Final = (
    select(schema.held, schema.notifications.c.content)
    .outerjoin(schema.notifications, schema.notifications.c.id == held_c.notification_id)
    .where(held_c.told_by.is_(None), held_c.id > bindparam("after_id"))
    .order_by(held_c.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A notification at one destination that ``stage`` holds until ``until``, or has dropped for ``reason``.

    ``title`` is empty for one that was dropped at once: it has no text. ``hold_key`` identifies the silence or the
    quiet hours.
    """

    id: int
    rule: str
    destination: str
    event_type: str
    run_name: str
    title: str
    stage: Stage
    hold_key: str
    reason: str
    until: datetime | None

    @property
    def is_dropped(self) -> bool:
        """True if it is never told."""
        return self.until is None


class UntoldNotifications:
    """The notifications of a store that are not told."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, after_id: int = 0) -> list[Untold]:
        """Those behind the id ``after_id``, in the order in which their events came."""
        return [
            Untold(
                id=row.id,
                rule=row.rule,
                destination=row.destination,
                event_type=row.type,
                run_name=row.run_name,
                title="" if row.content is None else str(from_json(row.content).get("title", "")),
                stage=Stage(row.stage),
                hold_key=row.hold_key,
                reason=row.reason,
                until=row.due_at,
            )
            for row in self._connection.execute(_UNTOLD, {"after_id": after_id})
        ]
