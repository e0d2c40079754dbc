"""The episodes of a store, with those who were told and with all that waits."""

from collections.abc import Iterator, Sequence
from typing import Final

from aintandem_notify.control.episodes.schemas import (
    EpisodeActionResponse,
    EpisodeListResponse,
    EpisodeResponse,
    ToldResponse,
)
from aintandem_notify.control.schemas import HeldResponse
from aintandem_notify.log import redact
from aintandem_notify.stages.episodes import Due, Episode, next_actions
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Store, TransactionPurpose

MAX_OPEN: Final = 200
"""Open episodes that a list shows, the oldest first; the others are only counted."""
MAX_ENDED: Final = 50
"""Ended episodes that a list shows, the newest first."""


def list_episodes(
    store: Store, policy: StagePolicy | None, *, with_ended: bool, max_open: int = MAX_OPEN
) -> EpisodeListResponse:
    """Returns the open episodes, the oldest first; then the last ended ones, if wanted, the newest first.

    Without a ``policy`` the next actions are not known.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        shown = store.episodes.open(limit=max_open)
        shown += store.episodes.ended(limit=MAX_ENDED) if with_ended else []
        return EpisodeListResponse(
            episodes=tuple(responses_of(store, shown, policy)), count=store.episodes.count_open()
        )


def responses_of(
    store: Store, episodes: Sequence[Episode], policy: StagePolicy | None
) -> Iterator[EpisodeResponse]:
    """Returns the episodes with all that is known of each. Call it inside a transaction."""
    ids = [episode.id for episode in episodes]
    told = store.episodes.recipients(ids)
    held, waiting = store.traces.held_of_episodes(ids), store.traces.held_back_by_episodes(ids)
    for episode in episodes:
        yield EpisodeResponse(
            id=episode.id,
            rule=episode.rule,
            type=episode.type,
            project_id=episode.project_id,
            project=redact(episode.project_name or episode.project_id),
            kind=episode.kind,
            run_id=episode.run_id,
            run=redact(episode.run_name or episode.run_id),
            begun_at=episode.begun_at,
            last_at=episode.last_at,
            troubles=episode.troubles,
            confirmed=episode.opened_at is not None,
            told=tuple(
                ToldResponse(destination=recipient.destination, at=recipient.told_at)
                for recipient in told.get(episode.id, ())
            ),
            acknowledged_at=episode.acknowledged_at,
            acknowledged_by=episode.acknowledged_by,
            ended_at=episode.ended_at,
            ended_by=episode.ended_by or None,
            waits=tuple(_actions(episode, policy)),
            held=tuple(
                HeldResponse(
                    destination=hold.destination, stage=hold.stage.label, count=hold.held, until=hold.until
                )
                for hold in held.get(episode.id, ())
            ),
            holds_back=waiting.get(episode.id, 0),
        )


def _actions(episode: Episode, policy: StagePolicy | None) -> Iterator[EpisodeActionResponse]:
    """The next actions about the episode, the first first."""
    if policy is None:
        return
    stages = policy.stages(episode.rule)
    destinations = {Due.REMIND: policy.destinations(episode.rule)}
    if episode.escalated < len(stages.escalate):
        destinations[Due.ESCALATE] = stages.escalate[episode.escalated].notify
    for at, due in sorted(next_actions(episode, stages, policy.expire_s), key=lambda action: action[0]):
        yield EpisodeActionResponse(action=due.value, at=at, destinations=destinations.get(due, ()))
