"""What people are told of the store's trouble, as a function of values: once a spell, and never in a loop."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.store import WELL, StoreState, StoreStatus

QUIET_PERIOD: Final = timedelta(minutes=10)
"""After something was told: a disk that fills again and again is one piece of news."""

MIN_DURATION: Final = timedelta(seconds=5)
"""What was over sooner, and could not be told while it lasted, is worth a line in the log only."""


@dataclass(frozen=True, slots=True)
class TroubleEpisode:
    """The store as it was seen last, and what was told: of this spell, and when of any."""

    status: StoreStatus = WELL
    is_announced: bool = False
    quiet_until: datetime | None = None


def next_notice(episode: TroubleEpisode, status: StoreStatus, now: datetime) -> tuple[TroubleEpisode, str | None]:
    """The spell after the store was found in ``status``, and what to tell now, None for nothing.

    Without room it is told at once, out of the reserve. What cannot be recorded at all is told when it is over.
    """
    may_announce = not episode.is_announced and (episode.quiet_until is None or now >= episode.quiet_until)
    notice: str | None = None
    if status.state is StoreState.ON_RESERVE and may_announce:
        notice = f"{status.reason}; nothing new is read or sent until there is room again"
    elif (
        status.is_well
        and may_announce
        and episode.status.since is not None
        and now - episode.status.since >= MIN_DURATION
    ):
        period = f"from {_format_time(episode.status.since)} to {_format_time(now)}"
        notice = f"{episode.status.reason}; this lasted {period} and is over"
    is_announced = not status.is_well and (episode.is_announced or notice is not None)
    next_episode = replace(episode, status=status, is_announced=is_announced)
    if notice is not None or (episode.is_announced and status.is_well):
        next_episode = replace(next_episode, quiet_until=now + QUIET_PERIOD)
    return next_episode, notice


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
