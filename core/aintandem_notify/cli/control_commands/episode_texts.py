"""The words for an episode. Pure: gives lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aintandem_notify.cli.explanation import ENDED_BY
from aintandem_notify.cli.times import ago, local

if TYPE_CHECKING:
    from aintandem_notify.control.episodes.schemas import EpisodeActionResponse, EpisodeResponse

MIN_CHARACTERS: Final = len("ep_") + 6
"""Characters of an id that a list shows at least; the commands take fewer."""


def shortest_ids(ids: Iterable[str]) -> dict[str, str]:
    """Returns the beginning of each id that is no beginning of another."""
    ids = list(ids)
    short = {}
    for own in ids:
        length = MIN_CHARACTERS
        while any(other != own and other.startswith(own[:length]) for other in ids):
            length += 1
        short[own] = own[:length]
    return short


def subject(episode: EpisodeResponse) -> str:
    """Returns the trouble and its subject: ``task_failed, nightly import, project Sales``."""
    return ", ".join(filter(None, (episode.type, episode.run, f"project {episode.project}")))


def acknowledged(episode: EpisodeResponse, now: datetime) -> str:
    """Returns who has acknowledged the episode, and when."""
    if episode.acknowledged_at is None:
        return "not acknowledged"
    by = f" by {episode.acknowledged_by}" if episode.acknowledged_by else ""
    return f"acknowledged{by} {ago(episode.acknowledged_at, now)}"


def lines(episode: EpisodeResponse, now: datetime) -> Iterator[str]:
    """Returns the trouble; who was told through which rule; the next actions."""
    yield f"{subject(episode)}: {_times(episode, now)}"
    names = ", ".join(told.destination for told in episode.told)
    who = f"told {names}" if names else "nobody was told yet"
    is_silent = episode.ended_at is not None and episode.acknowledged_at is None
    yield f"rule {episode.rule}, {who}" + ("" if is_silent else f", {acknowledged(episode, now)}")
    if episode.ended_at is not None:
        cause = ENDED_BY.get(episode.ended_by or "", episode.ended_by)
        yield f"ended {ago(episode.ended_at, now)}: {cause}"
    if episode.waits:
        yield f"next: {'; '.join(_action(action, now) for action in episode.waits)}"
    for hold in episode.held:
        yield f"{hold.stage} holds {hold.count} for {hold.destination}, until {local(hold.until, now)}"
    if episode.holds_back:
        yield f"{episode.holds_back} notifications of other rules wait for its end"


def _times(episode: EpisodeResponse, now: datetime) -> str:
    since = local(episode.begun_at, now)
    if episode.troubles < 2:
        return f"since {since}"
    return f"{episode.troubles} times since {since}, last {ago(episode.last_at, now)}"


def _action(action: EpisodeActionResponse, now: datetime) -> str:
    when, names = ago(action.at, now), ", ".join(action.destinations)
    match action.action:
        case "remind":
            return f"{names} reminded {when}"
        case "escalate":
            return f"{names} told {when} unless acknowledged"
        case "expire":
            return f"expires {when}"
        case _:
            return f"{action.action} {when}"
