"""The course of a scenario as values: its steps, and the notifications told, held and dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.domain.notification import Notification
from aintandem_notify.store.stages.untold import Untold


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """A destination was told something at ``at``, after ``steps`` steps of the scenario."""

    at: datetime
    steps: int
    destination: str
    notification: Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A step that was played: its line, a sentence, and its effects that are no notification at once.

    ``untold`` are new notifications that a stage holds or has dropped.
    """

    at: datetime
    line: int | None
    text: str
    untold: Sequence[Untold] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All that happened. ``untold`` are the notifications that are still held at the end, or were dropped."""

    entries: Sequence[Entry]
    notified: Sequence[Notified]
    untold: Sequence[Untold]
