"""The end of an episode by hand: whoever was told of the trouble is told. In one transaction of the store."""

from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.ingest.admitting import Admitting
from aintandem_notify.ingest.episode_keeping import Admission, EpisodeKeeper, end_word
from aintandem_notify.ingest.episode_timers import last_trouble
from aintandem_notify.ingest.plan import EventRouter
from aintandem_notify.rules.episode_words import Occasion
from aintandem_notify.stages import episodes
from aintandem_notify.stages.episodes import EndedBy, Episode
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Store


@dataclass(frozen=True, slots=True)
class EndByHand:
    """The effect of an end: the episode after it, and who is told. ``queued``: the destinations told at once.

    ``untold`` is the reason for which nobody is told, as a sentence without its end; None if somebody is.
    """

    episode: Episode
    recipients: tuple[str, ...] = ()
    queued: frozenset[str] = frozenset()
    untold: str | None = None


def end_by_hand(
    store: Store, episode: Episode, policy: StagePolicy, router: EventRouter, now: datetime
) -> EndByHand:
    """End an open episode, and queue the word about it for those who were told of the trouble.

    Quiet hours and groups hold the word as any other end. Notifications that wait for its end may go.
    """
    after = episodes.end(episode, now, EndedBy.HAND)
    store.episodes.write([], [after], {})
    store.held.end_cause([episode.id], now)
    told = [recipient.destination for recipient in store.episodes.recipients([episode.id]).get(episode.id, ())]
    names = tuple(name for name in told if name in router.destinations)
    if not told:
        return EndByHand(after, untold="nobody was told of the trouble")
    if not names:
        return EndByHand(after, untold="the config has none of those who were told of the trouble any more")
    if not policy.stages(episode.rule).tell_end:
        return EndByHand(after, untold="the rule has tell_end = false")
    trouble = last_trouble(store, episode)
    if trouble is None:
        return EndByHand(after, untold="the event of the trouble is no longer stored")
    notification = router.about_episode(end_word(episode, now, Occasion.ENDED_BY_HAND), *trouble, now)
    keeper = EpisodeKeeper(store, policy, router, now)
    admission = Admission(notification=notification, names=names, is_word=True, is_end=True)
    queued = Admitting(store, policy, (), keeper, now).queue([admission], now)
    return EndByHand(after, names, frozenset(queued))
