"""Keeps the episodes inside one transaction: new trouble joins one, a success ends it, whoever was told is noted.

The decisions are those of ``stages.episodes``; the words are those of the router.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from aintandem_notify.config.rule_config import RECOVERED
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.runs import OPENING_TYPES, Run
from aintandem_notify.foundation.clock import EPOCH
from aintandem_notify.ingest.plan import EventRouter, Signal
from aintandem_notify.rules.effective_rules import Stages
from aintandem_notify.rules.episode_words import EpisodeWord, Occasion, mark_fixed
from aintandem_notify.stages import episodes
from aintandem_notify.stages.episodes import EndedBy, Episode, Trouble
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.stages.trouble import (
    ENDING_TYPES,
    FAILURE_TYPES,
    SUCCESS_TYPES,
    TROUBLE_TYPES,
    Ending,
    endings,
    failure_number,
    run_number,
)
from aintandem_notify.store import Store
from aintandem_notify.store.stages.held import HeldNotification, Selection

NOT_A_CHANGE: Final = "no change: only first failures and recoveries are told"
"""The reason for which a rule with ``on`` does not take an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A notification with the destinations for which the stages are asked about it.

    ``trouble`` is its number, ``episode`` the one that it belongs to. ``is_word``: it is a word about an episode;
    ``is_end``: about its end.
    ``refused``: the rule does not take it, for this reason; the rules behind were asked.
    """

    notification: Notification
    names: Sequence[str]
    trouble: int | None = None
    episode: str | None = None
    is_word: bool = False
    is_end: bool = False
    refused: str | None = None


class Taken(NamedTuple):
    """The decision about trouble: the episode that it belongs to, if any, and whether the rule takes the event."""

    episode: str | None
    takes: bool


class EpisodeKeeper:
    """The episodes in one transaction of ``store``. Call ``flush`` at its end."""

    def __init__(self, store: Store, policy: StagePolicy, router: EventRouter, now: datetime) -> None:
        self._store = store
        self._episodes = store.episodes
        self._policy = policy
        self._router = router
        self._now = now
        self._by_key: dict[tuple[str, int], Episode] = {}
        """The current episodes that were read, by rule and number."""
        self._keys_of: dict[int, dict[tuple[str, int], None]] = {}
        """The keys of these episodes by their numbers, those of the trouble and those of the run."""
        self._new: dict[str, Episode] = {}
        self._changed: dict[str, Episode] = {}
        self.next_due: datetime | None = None
        """The first of the times that were set in this transaction."""
        self._ended_causes: list[str] = []
        self._with_episodes: set[str] = set()
        """The projects of the signals that had a current episode before this transaction."""
        self._told: dict[tuple[str, str], str] = {}
        """The notification by episode and destination."""
        self._taken: dict[str, Taken] = {}
        """The decisions of this transaction, by notification."""
        self._undecided: set[str] = set()
        """The episodes with trouble about which the stages have not decided yet."""
        self._successes: dict[int, datetime] = {}
        """The newest successes of this transaction, by subject: they are not stored yet."""

    def follow(
        self, notifications: Sequence[tuple[Notification, Sequence[str]]], signals: Sequence[Signal] = ()
    ) -> Iterator[Admission | None]:
        """The notifications, with those about the ends of episodes, in the order of their events.

        None: decide about all before it, and note who is told, before you ask for the next one. That may be about
        the end of trouble of theirs.
        """
        index = 0
        for signal in self._prepare(notifications, signals):
            own_end = signal.position + signal.routed
            yield from self._take_all(notifications[index : signal.position])
            if self._ends_undecided(signal):
                yield None
                self._undecided.clear()
            yield from self._follow_signal(signal, notifications[signal.position : own_end])
            index = own_end
        yield from self._take_all(notifications[index:])

    def _ends_undecided(self, signal: Signal) -> bool:
        """True if the event may end trouble of this transaction, of which nobody knows yet whether it is told."""
        if not self._undecided or signal.event.type not in ENDING_TYPES:
            return False
        numbers = (*endings(signal.event, signal.run), run_number(signal.run))
        templated = self._policy.templated_numbers(*_about(signal)).values()
        return any(episode.id in self._undecided for episode in self._concerned((*numbers, *templated)))

    def likely_recipients(
        self, notifications: Sequence[tuple[Notification, Sequence[str]]], signals: Sequence[Signal]
    ) -> set[str]:
        """The destinations that may be told of ends by a rule with windows, as far as known."""
        if not signals:
            return set()
        self._prepare(notifications, signals)
        found = [episode for episode in self._by_key.values() if self._policy.has_windows(episode.rule)]
        self.forget()  # they are read again under the locks
        told = self._episodes.recipients([episode.id for episode in found])
        names = {recipient.destination for recipients in told.values() for recipient in recipients}
        return names.union(*(self._policy.destinations(episode.rule) for episode in found))

    def _prepare(
        self, notifications: Sequence[tuple[Notification, Sequence[str]]], signals: Sequence[Signal]
    ) -> list[Signal]:
        """Read the episodes that the notifications and signals may be about; returns the signals that matter."""
        numbers: set[int] = set()
        run_numbers: set[int] = set()
        projects: set[str] = set()
        for notification, _ in notifications:
            if notification.event.type not in TROUBLE_TYPES:
                continue  # nearly always
            if (number := self._policy.subject_number(notification)) is not None:
                numbers.add(number)
                projects.add(notification.event.project_id or "")
        self._with_episodes = self._episodes.projects_with_current({signal.run.project_id for signal in signals})
        projects |= self._with_episodes
        starts_matter = self._policy.settles_templated
        relevant: list[Signal] = []
        for signal in signals:
            if signal.event.type in ENDING_TYPES and signal.run.project_id in projects:
                relevant.append(signal)
                if signal.run.project_id in self._with_episodes:
                    numbers |= endings(signal.event, signal.run).keys()
                    run_numbers.add(run_number(signal.run))
            elif starts_matter and signal.event.type in OPENING_TYPES:
                relevant.append(signal)
        if numbers or run_numbers:
            self._read(numbers, run_numbers)
        return relevant

    def _read(self, numbers: Iterable[int], run_numbers: Iterable[int] = ()) -> None:
        for episode in self._episodes.current(set(numbers), set(run_numbers)):
            if (episode.rule, episode.number) not in self._by_key:
                self._keep(episode)

    def _keep(self, episode: Episode) -> None:
        key = (episode.rule, episode.number)
        self._by_key[key] = episode
        self._keys_of.setdefault(episode.number, {})[key] = None
        self._keys_of.setdefault(episode.run_number, {})[key] = None

    def _concerned(self, numbers: Iterable[int]) -> list[Episode]:
        """The current episodes with one of these numbers, of the trouble or its run."""
        keys = {key: None for number in numbers for key in self._keys_of.get(number, ())}
        return [self._by_key[key] for key in keys if key in self._by_key]

    def follow_behind(self, notifications: Sequence[tuple[Notification, Sequence[str]]]) -> Iterator[Admission]:
        """As ``follow``, for notifications of rules that are asked later than other destinations were."""
        self._prepare(notifications, ())
        yield from self._take_all(notifications, is_late=True)

    def _take_all(
        self, notifications: Iterable[tuple[Notification, Sequence[str]]], *, is_late: bool = False
    ) -> Iterator[Admission]:
        for notification, names in notifications:
            stages = self._policy.stages(notification.rule)
            is_trouble = notification.event.type in TROUBLE_TYPES
            number = self._policy.subject_number(notification) if is_trouble else None
            is_settling = stages.settle is not None and notification.event.type in FAILURE_TYPES
            taken = Taken(None, stages.on is None or is_settling)
            if number is not None and not is_settling:
                trouble = trouble_of(notification, number)
                decided = self._decided(trouble) if is_late else None
                taken = self.take(trouble) if decided is None else decided
            if taken.takes:
                yield Admission(notification=notification, names=names, trouble=number, episode=taken.episode)
                continue
            yield Admission(notification=notification, names=names, refused=NOT_A_CHANGE)
            yield from self._take_all(self.behind(notification, names), is_late=True)

    def behind(self, notification: Notification, names: Iterable[str]) -> list[tuple[Notification, list[str]]]:
        """The notifications of the rules behind the one that does not take the event, for these destinations."""
        about = (notification.event, notification.run, notification.project)
        found: dict[str, tuple[Notification, list[str]]] = {}
        for name in names:
            for routed in self._router.route_behind(notification.rule, name, *about, self._now):
                found.setdefault(routed.notification.id, (routed.notification, []))[1].extend(routed.destinations)
        return list(found.values())

    def take(self, trouble: Trouble) -> Taken:
        """Let the trouble join its episode, or begin one.

        Trouble that is older than the subject's newest success is over: it begins none, and is no change.
        """
        if (decided := self._taken.get(trouble.notification_id)) is not None:
            return decided  # for another destination
        if not EPOCH <= trouble.occurred_at <= self._now:
            # A clock that is wrong must neither end trouble at once nor keep it open for ever.
            trouble = replace(trouble, occurred_at=self._now)
        self._taken[trouble.notification_id] = taken = self._take(trouble)
        return taken

    def _take(self, trouble: Trouble) -> Taken:
        stages = self._policy.stages(trouble.rule)
        if trouble.type in FAILURE_TYPES and self._has_succeeded_since(trouble):
            return Taken(None, takes=stages.on is None)
        key = (trouble.rule, trouble.number)
        before = self._by_key.get(key)
        after, takes = episodes.take(before, trouble, confirming(stages, trouble.type))
        self._put(after, is_new=before is None)
        self._undecided.add(after.id)
        return Taken(after.id, takes)

    def _has_succeeded_since(self, trouble: Trouble) -> bool:
        success = self._successes.get(trouble.number)
        if success is not None and success > trouble.occurred_at:
            return True
        return self._episodes.has_success_after(trouble.number, trouble.occurred_at)

    def _decided(self, trouble: Trouble) -> Taken | None:
        """The decision that was made for another destination; None if there is none."""
        decided = self._store.held.taken(trouble.rule, trouble.event_key, trouble.occurred_at)
        if decided is not None:
            return Taken(*decided)
        if trouble.notification_id in self._taken or not self._episodes.is_queued(trouble.notification_id):
            return None
        episode = self._by_key.get((trouble.rule, trouble.number))
        is_its_own = episode is not None and episode.begun_at <= trouble.occurred_at
        return Taken(episode.id if episode is not None and is_its_own else None, takes=True)

    def take_held(self, row: HeldNotification, run_number_of: int) -> Taken:
        """As ``take``, for a failure that has settled. All destinations of a notification get the same answer."""
        decided = self._store.held.taken(row.facts.rule, row.event_key, row.occurred_at)
        if decided is not None:
            return Taken(*decided)
        if row.trouble is None:
            return Taken(None, takes=True)
        if (row.facts.rule, row.trouble) not in self._by_key:
            self._read([row.trouble])
        facts = row.facts
        return self.take(
            Trouble(
                rule=facts.rule,
                number=row.trouble,
                type=facts.event_type,
                event_key=row.event_key,
                occurred_at=row.occurred_at,
                thread=row.thread,
                notification_id=row.notification_id,
                project_id=facts.project_id,
                project_name=facts.project_name,
                kind=facts.family,
                run_id=facts.run_id,
                run_name=facts.run_name,
                workflow_id=facts.workflow_id,
                run_number=run_number_of,
            )
        )

    def _follow_signal(
        self, signal: Signal, own: Sequence[tuple[Notification, Sequence[str]]]
    ) -> Iterator[Admission]:
        """Note a start, end the episodes that the event ends, and tell of their ends together with ``own``."""
        event, run = signal.event, signal.run
        if event.type in OPENING_TYPES and self._policy.settles_templated:
            numbers = self._policy.templated_numbers(*_about(signal))
            self._episodes.add_starts((number, event.timestamp) for number in numbers.values())
        ended = self._end(signal)
        ends = self._recipients(ended, event.timestamp) if ended else {}
        yield from self._take_all(_without(own, ends))
        for notification, names in own:
            yield from _merged(notification, names, ends)
        merged = {name for _, names in own for name in names}
        by_word: dict[EpisodeWord, list[str]] = {}
        for name, word in ends.items():
            if name not in merged:
                by_word.setdefault(word, []).append(name)
        for word, names in by_word.items():
            notification = self._router.about_episode(word, event, run, signal.project, self._now)
            yield Admission(notification=notification, names=names, is_word=True, is_end=True)

    def _end(self, signal: Signal) -> list[Episode]:
        """The episodes that the event ends well."""
        event, run = signal.event, signal.run
        if event.type in SUCCESS_TYPES:
            self._note_success(signal)
        templated: Mapping[str, int] = {}
        if event.type in SUCCESS_TYPES and (self._by_key or run.project_id in self._with_episodes):
            templated = self._policy.templated_numbers(*_about(signal))
            self._read(templated.values())
        if not self._by_key or event.type not in ENDING_TYPES:
            return []
        found = endings(event, run)
        ended: list[Episode] = []
        for episode in self._concerned((*found, run_number(run), *templated.values())):
            ending = found.get(episode.number)
            is_failure = episode.type in FAILURE_TYPES
            if ending is None and event.type in SUCCESS_TYPES and is_failure:
                # It is a later attempt of the same run, or of the same subject as a template names it.
                ending = Ending.GOOD
            if ending is None:
                continue
            if ending is Ending.SUPERSEDED:
                after = episodes.end(episode, event.timestamp, EndedBy.OTHER_TROUBLE)
            else:
                stages = confirming(self._policy.stages(episode.rule), episode.type)
                after = episodes.succeed(episode, event.timestamp, stages)
            if after == episode:
                continue
            self._put(after)
            if after.ended_at is not None and self._policy.has_causes:
                self._ended_causes.append(after.id)
            if not after.is_current and ending is Ending.GOOD and after.opened_at is not None:
                ended.append(after)
        return ended

    def _note_success(self, signal: Signal) -> None:
        at = signal.event.timestamp
        for number in (failure_number(signal.run), *self._policy.templated_numbers(*_about(signal)).values()):
            self._successes[number] = max(at, self._successes.get(number, at))

    def _recipients(self, ended: Sequence[Episode], at: datetime) -> dict[str, EpisodeWord]:
        """The word about the end for each destination that is told; of several, that about the oldest episode."""
        self.flush()  # whoever was told in this transaction is told of the end, too
        known = set(self._router.destinations)
        told = self._episodes.recipients([episode.id for episode in ended if episode.ended_by != EndedBy.EXPIRY])
        words: dict[str, EpisodeWord] = {}
        for episode in sorted(ended, key=lambda one: (one.begun_at, one.rule, one.id)):
            stages = self._policy.stages(episode.rule)
            names = [recipient.destination for recipient in told.get(episode.id, ())] if stages.tell_end else []
            if stages.on is not None and RECOVERED in stages.on:
                names += self._policy.destinations(episode.rule)
            for name in names:
                if name in known:
                    words.setdefault(name, end_word(episode, at))
        return words

    def note_told(self, episode: str | None, destination: str, notification_id: str) -> None:
        """Note that the destination is told of the episode."""
        if episode is not None:
            self._told[episode, destination] = notification_id

    def note_released(self, selection: Selection, *, by: str | None = None) -> None:
        """Note that held notifications are told, each by itself or all ``by`` one. Call it before they are."""
        self.flush()
        self._set_times(self._episodes.note_held_told(selection, self._now, by=by))

    def forget(self) -> None:
        """Note that the stored episodes have changed otherwise: they are read again."""
        self._by_key.clear()
        self._keys_of.clear()

    def flush(self) -> None:
        """Store all that has changed."""
        if self._new or self._changed:
            due = {episode.id: self._due(episode) for episode in (*self._new.values(), *self._changed.values())}
            self._episodes.write(list(self._new.values()), list(self._changed.values()), due)
            self._note_times(due.values())
            self._new.clear()
            self._changed.clear()
        if self._ended_causes:
            self._store.held.end_cause(self._ended_causes, self._now)
            self._note_times([self._now])
            self._ended_causes.clear()
        if self._told:
            told = [(episode, destination, by) for (episode, destination), by in self._told.items()]
            self._told.clear()
            self._set_times(self._episodes.note_told(told, self._now))

    def _set_times(self, ids: Iterable[str]) -> None:
        """Set the times that count from the first message about these episodes."""
        changed: dict[str, datetime | None] = {}
        timed = self._policy.rules_with_timers
        for episode in self._episodes.by_ids(ids) if timed else ():
            if episode.rule in timed:
                changed[episode.id] = self._due(episode)
        self._episodes.set_due(changed)
        self._note_times(changed.values())
        for key, episode in self._by_key.items():
            if episode.id in changed or episode.told_at is None:
                self._by_key[key] = episode if episode.id not in ids else replace(episode, told_at=self._now)

    def _note_times(self, times: Iterable[datetime | None]) -> None:
        first = min((moment for moment in times if moment is not None), default=None)
        if first is not None and (self.next_due is None or first < self.next_due):
            self.next_due = first

    def _due(self, episode: Episode) -> datetime | None:
        action = episodes.next_due(episode, self._policy.stages(episode.rule), self._policy.expire_s)
        return None if action is None else action[0]

    def _put(self, episode: Episode, *, is_new: bool = False) -> None:
        key = (episode.rule, episode.number)
        if is_new or episode.id in self._new:
            self._new[episode.id] = episode
        else:
            self._changed[episode.id] = episode
        if episode.is_current:
            self._keep(episode)
        else:
            self._by_key.pop(key, None)


def _about(signal: Signal) -> tuple[Event, Run, Project | None]:
    return signal.event, signal.run, signal.project


def end_word(episode: Episode, at: datetime, occasion: Occasion | None = None) -> EpisodeWord:
    """The word about the end of an episode at ``at``."""
    by_success = Occasion.FIXED if episode.type in FAILURE_TYPES else Occasion.OVER
    return word(episode, occasion or by_success, at)


def word(episode: Episode, occasion: Occasion, at: datetime, number: int = 0) -> EpisodeWord:
    """A word about the episode at ``at``."""
    return EpisodeWord(
        occasion=occasion,
        episode=episode.id,
        rule=episode.rule,
        thread=episode.thread,
        seconds=max(0.0, (at - episode.begun_at).total_seconds()),
        troubles=episode.troubles,
        number=number,
    )


def confirming(stages: Stages, event_type: str) -> Stages:
    """The stages for this type of trouble: only failures have to be confirmed."""
    return stages if event_type in FAILURE_TYPES or stages.confirm == 1 else replace(stages, confirm=1)


def trouble_of(notification: Notification, number: int) -> Trouble:
    """The trouble with this number that the notification is about."""
    event, run, facts = notification.event, notification.run, Facts.of(notification, "")
    return Trouble(
        rule=notification.rule,
        number=number,
        type=event.type,
        event_key=event.key,
        occurred_at=event.timestamp,
        thread=notification.thread,
        notification_id=notification.id,
        project_id=facts.project_id,
        project_name=facts.project_name,
        kind=facts.family,
        run_id=facts.run_id,
        run_name=facts.run_name,
        workflow_id=facts.workflow_id,
        run_number=0 if run is None else run_number(run),
    )


def _without(
    own: Iterable[tuple[Notification, Sequence[str]]], ends: Mapping[str, EpisodeWord]
) -> Iterator[tuple[Notification, list[str]]]:
    """The notifications for the destinations that are not told of an end."""
    for notification, names in own:
        if others := [name for name in names if name not in ends]:
            yield notification, others


def _merged(
    notification: Notification, names: Sequence[str], ends: Mapping[str, EpisodeWord]
) -> Iterator[Admission]:
    """A rule's own notification for the destinations to which it tells of an end, too: one for each thread."""
    by_word: dict[EpisodeWord, list[str]] = {}
    for name in names:
        if name in ends:
            by_word.setdefault(ends[name], []).append(name)
    for its_word, its_names in by_word.items():
        marked = mark_fixed(its_word, notification, is_whole=len(its_names) == len(names))
        yield Admission(notification=marked, names=its_names, is_word=True, is_end=True)
