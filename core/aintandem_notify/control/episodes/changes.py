"""Ends, acknowledges and snoozes episodes in the store; for the running agent and for commands without one."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from glob import escape
from typing import Final, NamedTuple

from aintandem_notify.control import silences
from aintandem_notify.control.episodes.lists import responses_of
from aintandem_notify.control.episodes.schemas import (
    AcknowledgedEpisodeResponse,
    AcknowledgementResponse,
    EndedEpisodeResponse,
    EpisodeEndResponse,
)
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import SilenceResponse
from aintandem_notify.domain.events import Family
from aintandem_notify.ingest import EventRouter
from aintandem_notify.ingest.episodes_by_hand import end_by_hand
from aintandem_notify.log import redact
from aintandem_notify.stages.episodes import MIN_PREFIX, Episode
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Store

MAX_CANDIDATES: Final = 5
"""Episodes that the error lists when an id is ambiguous or unknown."""

_PREFIX: Final = "ep_"
_DIGITS: Final = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},16}}")


class Snooze(NamedTuple):
    """A silence to add for the subject of the episode that ``reference`` names."""

    reference: str
    expires_at: datetime
    owner: str = ""
    reason: str = ""


class EndResult(NamedTuple):
    """The response to an end by hand, and the destinations with new deliveries."""

    response: EpisodeEndResponse
    queued: frozenset[str]


def end(
    store: Store, references: Sequence[str], policy: StagePolicy, router: EventRouter, now: datetime
) -> EndResult:
    """Ends these episodes now; whoever was told of the trouble is told.

    Raises RequestRefused, and has changed nothing, if one of them is not open.
    """
    with store.transaction(fenced=False):
        now = store.membership.now(now)
        ends = [end_by_hand(store, episode, policy, router, now) for episode in _find_open(store, references)]
        responses = responses_of(store, [ended.episode for ended in ends], policy)
        return EndResult(
            EpisodeEndResponse(
                episodes=tuple(
                    EndedEpisodeResponse(**dict(response), recipients=ended.recipients, untold=ended.untold)
                    for response, ended in zip(responses, ends, strict=True)
                )
            ),
            frozenset[str]().union(*(ended.queued for ended in ends)),
        )


def acknowledge(
    store: Store, references: Sequence[str], by: str, policy: StagePolicy | None, now: datetime
) -> AcknowledgementResponse:
    """Notes that somebody looks after these episodes; those that are acknowledged already stay as they are.

    Raises RequestRefused, and has changed nothing, if one of them is not open.
    """
    silences.check_texts({}, by, "")
    with store.transaction(fenced=False):
        now = store.membership.now(now)
        found = _find_open(store, references)
        changed = {episode.id for episode in found if episode.acknowledged_at is None}
        for episode_id in changed:
            store.episodes.acknowledge(episode_id, by, now)
        # The agent that keeps its times sets the next one at once.
        store.episodes.set_due(dict.fromkeys(changed, now))
        after = {episode.id: episode for episode in store.episodes.by_ids([episode.id for episode in found])}
        responses = responses_of(store, [after[episode.id] for episode in found], policy)
        return AcknowledgementResponse(
            episodes=tuple(
                AcknowledgedEpisodeResponse(**dict(response), changed=response.id in changed)
                for response in responses
            )
        )


def snooze(store: Store, snooze: Snooze, now: datetime) -> SilenceResponse:
    """Silences the subject of an episode. Raises RequestRefused if it is not open, and for wrong values."""
    with store.transaction(fenced=False):
        silence = silences.new_silence(
            matchers_of(_find_one(store, snooze.reference)),
            expires_at=snooze.expires_at,
            owner=snooze.owner,
            reason=snooze.reason,
            now=now,
        )
        store.silences.add(silence)
        return silences.response_of(silence, 0)


def matchers_of(episode: Episode) -> dict[str, str]:
    """Returns the matchers of a silence for the subject of the episode, and for nothing else."""
    matchers = {"project": _exactly(episode.project_id)}
    match episode.kind:
        case Family.TASK | Family.SANDBOX:
            matchers[episode.kind] = _exactly(episode.run_name if episode.run_name.strip() else episode.run_id)
        case Family.WORKFLOW:
            matchers["workflow"] = _exactly(episode.workflow_id or episode.run_id)
        case _:  # a watch that misses something: there is no run
            matchers |= {"rule": _exactly(episode.rule), "type": _exactly(episode.type)}
    return matchers


def _exactly(name: str) -> str:
    """A glob that matches only this name. A character that no silence may have stands for any one."""
    return "".join("?" if unicodedata.category(one) in ("Cc", "Cs") else one for one in escape(name))


def _find_open(store: Store, references: Sequence[str]) -> list[Episode]:
    found = {episode.id: episode for episode in (_find_one(store, reference) for reference in references)}
    return list(found.values())


def _find_one(store: Store, reference: str) -> Episode:
    digits = reference.strip().lower().removeprefix(_PREFIX)
    if not _DIGITS.fullmatch(digits):
        raise RequestRefused(
            f"{redact(reference) or 'nothing'} is no id of an episode: write at least {MIN_PREFIX} characters "
            "of it, as `episodes list` shows it",
            status=404,
        )
    found = store.episodes.by_id(_PREFIX + digits, limit=MAX_CANDIDATES + 1)
    open_ones = [episode for episode in found if episode.is_open]
    if len(open_ones) == 1:
        return open_ones[0]
    if open_ones:
        more = " and more" if len(open_ones) > MAX_CANDIDATES else ""
        names = ", ".join(episode.id for episode in open_ones[:MAX_CANDIDATES])
        raise RequestRefused(f"{_PREFIX}{digits} is ambiguous: it may be {names}{more}", status=409)
    if found:
        raise RequestRefused(f"the episode {found[0].id} has ended already, by {found[0].ended_by}", status=409)
    names = ", ".join(episode.id for episode in store.episodes.open(limit=MAX_CANDIDATES)) or "none"
    raise RequestRefused(f"there is no episode {_PREFIX}{digits}; open are: {names}", status=404)
