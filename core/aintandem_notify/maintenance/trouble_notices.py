"""What people are told of the store's trouble, as a function of values: once a spell, and never in a loop."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.store import WELL, StoreState, StoreStatus

QUIET: Final = timedelta(minutes=10)
"""After something was told: a disk that fills again and again is one piece of news."""

LEAST: Final = timedelta(seconds=5)
"""What was over sooner, and could not be told while it lasted, is worth a line in the log only."""


@dataclass(frozen=True, slots=True)
class Spell:
    """The store as it was seen last, and what was told: of this spell, and when of any."""

    status: StoreStatus = WELL
    told: bool = False
    quiet_until: datetime | None = None


def follow(spell: Spell, status: StoreStatus, now: datetime) -> tuple[Spell, str | None]:
    """The spell after the store was found in ``status``, and what to tell now, None for nothing.

    Without room it is told at once, out of the reserve. What cannot be recorded at all is told when it is over.
    """
    may_tell = not spell.told and (spell.quiet_until is None or now >= spell.quiet_until)
    news: str | None = None
    if status.state is StoreState.ON_RESERVE and may_tell:
        news = f"{status.reason}; nothing new is read or sent until there is room again"
    elif status.is_well and may_tell and spell.status.since is not None and now - spell.status.since >= LEAST:
        news = f"{spell.status.reason}; this lasted from {_time(spell.status.since)} to {_time(now)} and is over"
    told = not status.is_well and (spell.told or news is not None)
    after = replace(spell, status=status, told=told)
    if news is not None or (spell.told and status.is_well):
        after = replace(after, quiet_until=now + QUIET)
    return after, news


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
