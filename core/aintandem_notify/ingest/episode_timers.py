"""The times of episodes: reminders, further people, and the end of those that have no other.

In one transaction of the store. Each action is carried out once, also if it is late because the agent was down.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import about_ref
from aintandem_notify.ingest.admitting import Admitting
from aintandem_notify.ingest.episode_keeping import Admission, word
from aintandem_notify.ingest.plan import EventRouter
from aintandem_notify.rules.effective_rules import Stages
from aintandem_notify.rules.episode_words import Occasion
from aintandem_notify.stages import episodes
from aintandem_notify.stages.episodes import Due, Episode
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import Store

MAX_FIRED: Final = 200
"""Episodes whose times are looked at in one step; other due times may come between."""


class EpisodeTimers:
    """The due times of episodes.

    ``postponed_until`` gives the time until which a project that is not caught up waits; None if it does not.
    """

    def __init__(
        self,
        store: Store,
        policy: StagePolicy,
        router: EventRouter,
        admitting: Admitting,
        postponed_until: Callable[[str, datetime], datetime | None],
        now: datetime,
    ) -> None:
        self._store = store
        self._policy = policy
        self._router = router
        self._admitting = admitting
        self._postponed_until = postponed_until
        self._now = now

    def fire(self, until: datetime) -> set[str]:
        """Carry out the first actions that are due by ``until``; returns the destinations with new deliveries."""
        destinations: set[str] = set()
        for episode in self._store.episodes.due(until, limit=MAX_FIRED):
            stages = self._policy.stages(episode.rule)
            action = episodes.next_due(episode, stages, self._policy.expire_s)
            if action is None or action[0] > until:
                self._set_due(episode)
            elif (later := self._postponed_until(episode.project_id, action[0])) is not None:
                self._store.episodes.set_due({episode.id: later})
            else:
                destinations |= self._carry_out(episode, stages, *action)
        return destinations

    def _carry_out(self, episode: Episode, stages: Stages, at: datetime, action: Due) -> set[str]:
        match action:
            case Due.EXPIRE:
                after = episodes.expire(episode, at, stages)
                self._store.episodes.write([], [after], {})
                self._store.held.end_cause([episode.id], self._now)
                return set()
            case Due.REMIND:
                # Of those that were missed, the last one counts, so that the next is due as if none was missed.
                missed = int((self._now - at).total_seconds() // stages.remind_every)
                reminded_at = at + timedelta(seconds=missed * stages.remind_every)
                self._store.episodes.note_reminder(episode.id, reminded_at)
                after = replace(episode, reminded_at=reminded_at)
                names: Sequence[str] = self._policy.destinations(episode.rule)
                occasion, number = Occasion.STILL_FAILING, int(reminded_at.timestamp())
            case Due.ESCALATE:
                self._store.episodes.note_escalation(episode.id, episode.escalated + 1)
                after = replace(episode, escalated=episode.escalated + 1)
                names = stages.escalate[episode.escalated].notify
                occasion, number = Occasion.NOT_ACKNOWLEDGED, episode.escalated
        self._set_due(after)
        return self._queue(episode, occasion, number, names, at)

    def _set_due(self, episode: Episode) -> None:
        action = episodes.next_due(episode, self._policy.stages(episode.rule), self._policy.expire_s)
        self._store.episodes.set_due({episode.id: None if action is None else action[0]})

    def _queue(
        self, episode: Episode, occasion: Occasion, number: int, names: Sequence[str], at: datetime
    ) -> set[str]:
        """Queue the word about the last trouble of the episode."""
        trouble = last_trouble(self._store, episode)
        if trouble is None:
            return set()
        about = word(episode, occasion, self._now, number)
        notification = self._router.about_episode(about, *trouble, self._now)
        admission = Admission(notification=notification, names=names, episode=episode.id, is_word=True)
        return self._admitting.queue([admission], at)


def last_trouble(store: Store, episode: Episode) -> EventContext | None:
    """The event of the last trouble, with its run and project; None if it is no longer in the journal."""
    event = store.episodes.last_event(episode)
    if event is None:
        return None
    ref = about_ref(event)
    run = None if ref is None else store.journal.latest_runs([ref]).get(ref)
    return event, run, Project(id=episode.project_id, name=episode.project_name or episode.project_id)
