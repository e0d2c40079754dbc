"""Decides when a condition becomes a reason, and when people are notified of its begin and its end.

No I/O: ``monitor`` gives the conditions and the time, and carries out the result. An episode is a condition that
has become a reason. It is open until the condition is gone, also over a restart.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.domain.events import AgentDegradedEvent, AgentEvent, AgentRecoveredEvent
from aintandem_notify.domain.health import Health, HealthState, Reason, ReasonId
from aintandem_notify.health.conditions import Condition, Key, listed_names

MAX_PAUSE_S: Final = 3600.0
"""Maximum seconds between two notices of one kind of trouble that comes and goes. The pause begins with
``[health] after`` and doubles; after so long without a notice it begins anew.
"""

MAX_SENTENCES: Final = 10
"""Number of reasons that one notice spells out; it counts the others."""

_UNNOTIFIED: Final = frozenset({ReasonId.STARTING, ReasonId.NO_DESTINATION})
"""Kinds of reasons that nobody is notified of: nobody could be, or it is routine."""

_ENDED_BY_EVIDENCE: Final = frozenset(
    {ReasonId.LOGIN, ReasonId.ORCHESTRATOR, ReasonId.NOTHING_WATCHED, ReasonId.DISCOVERY}
)
"""Kinds of reasons that a new agent learns of only once it has tried. Until then they stay as they were."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The progress of the agent's start: it tells which trouble is really over if its condition is absent.

    ``projects`` are the ids of those that it knows. Those that match globs are known once the list of projects
    ``has_listed`` them.
    """

    is_starting: bool = False
    has_listed: bool = True
    projects: Collection[str] = ()

    def rules_out(self, key: Key) -> bool:
        """True if trouble without a condition is over."""
        kind, subject = key
        if kind is ReasonId.LINK:
            return subject in self.projects or (self.has_listed and not self.is_starting)
        return not (self.is_starting and kind in _ENDED_BY_EVIDENCE)


@dataclass(frozen=True, slots=True)
class Episode:
    """A reason that is in force, or has just ended.

    ``notice``: key of the event that has announced it; None if none has.
    """

    condition: Condition
    notice: str | None = None
    ended_at: datetime | None = None

    @property
    def reason(self) -> Reason:
        """The reason to show."""
        condition = self.condition
        return Reason(condition.id, condition.text, condition.since, condition.subject)


@dataclass(frozen=True, slots=True)
class Changes:
    """The reasons that have begun, and the episodes that have ended, since the last update."""

    began: Sequence[Reason] = ()
    ended: Sequence[Episode] = ()


@dataclass(slots=True)
class _Pace:
    """Limits the notices of one kind: the next one may be sent at ``next_s`` of trio's clock."""

    next_s: float
    pause_s: float


@dataclass(slots=True)
class EpisodeBook:
    """All open episodes, and the ended ones whose end nobody was notified of yet. Times ``…_s`` are trio's."""

    open: dict[Key, Episode] = field(default_factory=dict)
    ended: dict[Key, Episode] = field(default_factory=dict)
    _seen_s: dict[Key, float] = field(default_factory=dict)
    """By condition: the time of its begin, on trio's clock, so that setting the wall clock changes nothing."""
    _announced: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """Keys of the events that the agent has announced for other reasons, by type and instance."""
    _unheard: set[tuple[str, str | None]] = field(default_factory=set)
    """Those of them that no destination got, by type and instance."""
    _paces: dict[ReasonId, _Pace] = field(default_factory=dict)
    _end_pauses_s: dict[str, float] = field(default_factory=dict)
    """Pause before the next notice that only a part of the trouble is over, by the key of the begin's notice."""
    _links_since_s: float = float("-inf")
    """End of the last trouble that cut off all links: these need time to come back."""

    def reasons(self, conditions: Iterable[Condition], now: datetime, now_s: float) -> list[Reason]:
        """Returns the reasons in force, without recording anything."""
        conditions = list(conditions)
        keys = {condition.key for condition in conditions}
        were_cut_off = any(key in self.open and key not in keys for key in _CUT_OFF)
        return [
            Reason(condition.id, condition.text, self._begin_of(condition), condition.subject)
            for condition in conditions
            if condition.key in self.open
            or (
                not condition.covered
                and not (were_cut_off and condition.id is ReasonId.LINK)
                and self._has_matured(condition, now, now_s)
            )
        ]

    def carried(self, conditions: Iterable[Condition], evidence: Evidence) -> list[Reason]:
        """Returns the reasons of an earlier process that this one can neither confirm nor rule out yet."""
        keys = {condition.key for condition in conditions}
        return [
            episode.reason for key, episode in self.open.items() if key not in keys and not evidence.rules_out(key)
        ]

    def update(
        self, conditions: Iterable[Condition], now: datetime, now_s: float, evidence: Evidence = Evidence()
    ) -> Changes:
        """Records the conditions of this moment."""
        present = {condition.key: condition for condition in conditions}
        self._seen_s = {
            key: self._seen_s.get(key, now_s - _age_s(condition, now)) for key, condition in present.items()
        }
        absent = [key for key in self.open if key not in present and evidence.rules_out(key)]
        ended = [self._end(key, now) for key in absent]
        if any(episode.condition.key in _CUT_OFF for episode in ended):
            self._links_since_s = now_s
        began = []
        for key, condition in present.items():
            if key in self.open:
                self.open[key] = replace(self.open[key], condition=self._continued(condition))
            elif not condition.covered and self._has_matured(condition, now, now_s):
                self.open[key] = self._begin(condition)
                began.append(self.open[key].reason)
            if key in self.open:
                self._adopt_announcement(key)
        return Changes(tuple(began), tuple(ended))

    def _begin(self, condition: Condition) -> Episode:
        """Opens an episode. It goes on if it ended a moment ago, so that its end is not notified."""
        ended = self.ended.pop(condition.key, None)
        return Episode(condition, None if ended is None else ended.notice)

    def _end(self, key: Key, now: datetime) -> Episode:
        episode = replace(self.open.pop(key), ended_at=now)
        announcement = (episode.condition.announced_as or "", episode.condition.subject)
        self._announced.pop(announcement, None)
        self._unheard.discard(announcement)
        if episode.notice is not None:
            self.ended[key] = episode
        return episode

    def _continued(self, condition: Condition) -> Condition:
        """Returns the condition with the begin of its episode."""
        since = self._begin_of(condition)
        return condition if since == condition.since else replace(condition, since=since)

    def _begin_of(self, condition: Condition) -> datetime:
        episode = self.open.get(condition.key)
        return condition.since if episode is None else min(condition.since, episode.condition.since)

    def _has_matured(self, condition: Condition, now: datetime, now_s: float) -> bool:
        began_s = self._seen_s.get(condition.key, now_s - _age_s(condition, now))
        if condition.id is ReasonId.LINK:
            began_s = max(began_s, self._links_since_s)
        return now_s - began_s >= condition.wait_s

    def note_announced(self, event: AgentEvent, *, reaches_somebody: bool = True) -> None:
        """Records an event that the agent has announced for another reason, such as ``destination_parked``.

        Trouble whose own event reaches nobody is notified like any other.
        """
        announcement = (event.type, getattr(event, "instance", "") or None)
        if reaches_somebody:
            self._announced[announcement] = event.key
            self._unheard.discard(announcement)
        else:
            self._unheard.add(announcement)

    def _adopt_announcement(self, key: Key) -> None:
        episode = self.open[key]
        condition = episode.condition
        if condition.announced_as is not None and episode.notice is None:
            self.open[key] = replace(
                episode, notice=self._announced.get((condition.announced_as, condition.subject))
            )

    def due_notices(
        self, now_s: float, *, excluded: Sequence[str], unready: Sequence[ReasonId]
    ) -> list[AgentDegradedEvent]:
        """Returns the notices to send now, one for each kind. Call ``record_notice`` for each that was stored."""
        groups: dict[ReasonId, list[Episode]] = {}
        for episode in self.open.values():
            condition = episode.condition
            is_announced = (
                condition.announced_as is not None
                and (condition.announced_as, condition.subject) not in self._unheard
            )
            is_silent = condition.covered or is_announced or condition.id in _UNNOTIFIED
            if episode.notice is None and not is_silent:
                groups.setdefault(condition.id, []).append(episode)
        return [
            AgentDegradedEvent(
                # The same after a restart, so that the notice is not repeated.
                timestamp=max(episode.condition.since for episode in episodes),
                kind=kind.value,
                subjects=tuple(episode.condition.subject for episode in episodes if episode.condition.subject),
                reason=_sentences(episodes),
                failing=kind in unready,
                excluded=tuple(excluded),
            )
            for kind, episodes in groups.items()
            if self._may_notify(kind, now_s)
        ]

    def _may_notify(self, kind: ReasonId, now_s: float) -> bool:
        return kind not in self._paces or now_s >= self._paces[kind].next_s

    def assign_notice(self, event: AgentDegradedEvent) -> None:
        """Records that the notice is about to be stored. So trouble that ends meanwhile has its end told.

        Call ``record_notice`` or ``withdraw_notice`` then.
        """
        kind = ReasonId(event.kind)
        for subject in event.subjects or (None,):
            if (kind, subject) in self.open:
                self.open[kind, subject] = replace(self.open[kind, subject], notice=event.key)

    def withdraw_notice(self, event: AgentDegradedEvent) -> None:
        """Records that the notice could not be stored."""
        for key, episode in self.open.items():
            if episode.notice == event.key:
                self.open[key] = replace(episode, notice=None)
        self.ended = {key: episode for key, episode in self.ended.items() if episode.notice != event.key}

    def record_notice(self, event: AgentDegradedEvent, now_s: float, after_s: float) -> None:
        """Records that the notice was stored, for at least one destination."""
        self.assign_notice(event)
        kind = ReasonId(event.kind)
        pace = self._paces.get(kind)
        repeats = pace is not None and now_s - pace.next_s < MAX_PAUSE_S
        pause_s = min(pace.pause_s * 2, MAX_PAUSE_S) if pace is not None and repeats else after_s
        self._paces[kind] = _Pace(now_s + pause_s, pause_s)

    def due_ends(self, now: datetime, after_s: float) -> dict[str, list[Episode]]:
        """Returns the ended episodes to notify of now, by the key of the notice of their begin.

        The subjects of one notice end with one notice, unless some take longer than ``after_s``. Each further
        notice about a part of them waits twice as long as the one before. Call ``record_end`` when a notice was
        stored.
        """
        still_open = {episode.notice for episode in self.open.values()}
        groups: dict[str, list[Episode]] = {}
        for episode in self.ended.values():
            groups.setdefault(episode.notice or "", []).append(episode)
        return {
            notice: episodes
            for notice, episodes in groups.items()
            if notice not in still_open
            or any(
                episode.ended_at is None
                or now - episode.ended_at >= timedelta(seconds=self._end_pauses_s.get(notice, after_s))
                for episode in episodes
            )
        }

    def record_end(self, episodes: Sequence[Episode], after_s: float) -> None:
        """Records that nobody needs to be notified any more of these ends.

        Trouble that is back meanwhile begins anew for those who were told of its end.
        """
        for episode in episodes:
            key = episode.condition.key
            self.ended.pop(key, None)
            if key in self.open and self.open[key].notice == episode.notice:
                self.open[key] = replace(self.open[key], notice=None)
        still_open = {episode.notice for episode in self.open.values()}
        for notice in {episode.notice or "" for episode in episodes}:
            pause_s = self._end_pauses_s.pop(notice, after_s)
            if notice in still_open:
                self._end_pauses_s[notice] = min(pause_s * 2, max(MAX_PAUSE_S, after_s))

    def milestones(self) -> frozenset[tuple[Key, str | None, datetime | None]]:
        """Returns a value that changes when an episode begins, is notified or ends, but not with its text."""
        episodes = (*self.open.values(), *self.ended.values())
        return frozenset((episode.condition.key, episode.notice, episode.ended_at) for episode in episodes)

    def to_json(self) -> str | None:
        """Returns the episodes as text, for the next process; None if there are none."""
        entries = [_to_entry(episode) for episode in (*self.open.values(), *self.ended.values())]
        return json.dumps(entries) if entries else None

    def restore(self, text: str | None) -> None:
        """Adopts the episodes of an earlier process. Ignores text that it does not understand.

        Trouble that this process has found meanwhile goes on from its begin there.
        """
        try:
            episodes = [_from_entry(entry) for entry in json.loads(text or "[]")]
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # another version wrote it; its trouble begins anew
        for episode in episodes:
            key = episode.condition.key
            if episode.ended_at is None or key in self.open:
                self.open[key] = replace(episode, ended_at=None)
            else:
                self.ended[key] = episode


_CUT_OFF: Final[Sequence[Key]] = ((ReasonId.ORCHESTRATOR, None), (ReasonId.LOGIN, None))
"""Trouble that takes all links down."""


def recovery(episodes: Sequence[Episode], recipients: Sequence[str]) -> AgentRecoveredEvent:
    """Returns the event about the end of these episodes, which began with the same notice."""
    first = episodes[0]
    begin = min(episode.condition.since for episode in episodes)
    end = max(episode.ended_at or episode.condition.since for episode in episodes)
    return AgentRecoveredEvent(
        timestamp=end,
        kind=first.condition.id.value,
        subjects=tuple(episode.condition.subject for episode in episodes if episode.condition.subject),
        reason=_sentences(episodes),
        seconds=max(0.0, (end - begin).total_seconds()),
        begun_by=first.notice or "",
        recipients=tuple(recipients),
    )


def health_of(reasons: Sequence[Reason], unready: Sequence[ReasonId]) -> Health:
    """Returns the health with these reasons; those that make the agent fail come first."""
    if not reasons:
        return Health()
    is_failing = any(reason.id in unready for reason in reasons)
    ordered = sorted(reasons, key=lambda reason: reason.id not in unready)
    return Health(HealthState.FAILING if is_failing else HealthState.DEGRADED, tuple(ordered))


def _age_s(condition: Condition, now: datetime) -> float:
    return max(0.0, (now - condition.since).total_seconds())


def _sentences(episodes: Sequence[Episode]) -> str:
    lines = [f"{episode.condition.text} (since {_format_time(episode.condition.since)})" for episode in episodes]
    if (more := len(lines) - MAX_SENTENCES) > 0:
        subjects = [episode.condition.subject or "" for episode in episodes[MAX_SENTENCES:]]
        lines = [*lines[:MAX_SENTENCES], f"and {more} more: {listed_names(subjects)}"]
    return "\n".join(lines)


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _to_entry(episode: Episode) -> dict[str, Any]:
    condition = episode.condition
    return {
        "id": condition.id.value,
        "text": condition.text,
        "since": condition.since.isoformat(),
        "subject": condition.subject,
        "announced_as": condition.announced_as,
        "notice": episode.notice,
        "ended_at": None if episode.ended_at is None else episode.ended_at.isoformat(),
    }


def _from_entry(entry: Mapping[str, Any]) -> Episode:
    """Raises ValueError, TypeError or KeyError for anything that ``_to_entry`` would not return."""
    condition = Condition(
        ReasonId(entry["id"]),
        str(entry["text"]),
        _aware_time(entry["since"]),
        _optional_text(entry["subject"]),
        announced_as=_optional_text(entry["announced_as"]),
    )
    ended_at = entry["ended_at"]
    return Episode(condition, _optional_text(entry["notice"]), None if ended_at is None else _aware_time(ended_at))


def _aware_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def _optional_text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value
