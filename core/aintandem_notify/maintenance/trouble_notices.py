"""Decides when the store's trouble is announced: once in each episode, with a quiet period between two notices."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.store import WELL, StoreState, StoreStatus

QUIET_PERIOD: Final = timedelta(minutes=10)
"""The time without another notice, so that a disk that fills again and again is announced once."""

MIN_DURATION: Final = timedelta(seconds=5)
"""A shorter episode that could not be announced while it lasted is only logged."""


@dataclass(frozen=True, slots=True)
class TroubleEpisode:
    """The last known status, whether this episode was announced, and the end of the quiet period."""

    status: StoreStatus = WELL
    is_announced: bool = False
    quiet_until: datetime | None = None


def next_notice(episode: TroubleEpisode, status: StoreStatus, now: datetime) -> tuple[TroubleEpisode, str | None]:
    """The episode after the store reported ``status``, and the notice to announce now; None for no notice.

    A full disk is announced at once, since the reserve has room for the notice. Other trouble, in which nothing
    can be recorded, is announced when it is over.
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
