"""Decides when a condition becomes a reason, and when people are notified of its begin and its end.

No I/O: ``monitor`` gives the conditions and the time, and carries out the result. An episode is a condition that
has become a reason. It is open until the condition is gone, also over a restart.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
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
    _paces: dict[ReasonId, _Pace] = field(default_factory=dict)
    _links_since_s: float = float("-inf")
    """End of the last trouble that cut off all links: these need time to come back."""

    def reasons(self, conditions: Iterable[Condition], now: datetime, now_s: float) -> list[Reason]:
        """Returns the reasons in force, without recording anything."""
        conditions = list(conditions)
        keys = {condition.key for condition in conditions}
        were_cut_off = any(key in self.open and key not in keys for key in _CUT_OFF)
        return [
            Episode(self._continued(condition)).reason
            for condition in conditions
            if condition.key in self.open
            or (
                not condition.covered
                and not (were_cut_off and condition.id is ReasonId.LINK)
                and self._has_matured(condition, now, now_s)
            )
        ]

    def carried(self, conditions: Iterable[Condition]) -> list[Reason]:
        """Returns the reasons of an earlier process that this one can neither confirm nor rule out yet."""
        keys = {condition.key for condition in conditions}
        return [
            episode.reason
            for key, episode in self.open.items()
            if key not in keys and episode.condition.id in _ENDED_BY_EVIDENCE
        ]

    def update(
        self, conditions: Iterable[Condition], now: datetime, now_s: float, *, is_starting: bool = False
    ) -> Changes:
        """Records the conditions of this moment."""
        present = {condition.key: condition for condition in conditions}
        self._seen_s = {
            key: self._seen_s.get(key, now_s - _age_s(condition, now)) for key, condition in present.items()
        }
        ended = [self._end(key, now) for key in self._absent(present, is_starting=is_starting)]
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

    def _absent(self, present: Mapping[Key, Condition], *, is_starting: bool) -> list[Key]:
        return [
            key
            for key, episode in self.open.items()
            if key not in present and not (is_starting and episode.condition.id in _ENDED_BY_EVIDENCE)
        ]

    def _end(self, key: Key, now: datetime) -> Episode:
        episode = replace(self.open.pop(key), ended_at=now)
        self._announced.pop((episode.condition.announced_as or "", episode.condition.subject), None)
        if episode.notice is not None:
            self.ended[key] = episode
        return episode

    def _continued(self, condition: Condition) -> Condition:
        """Returns the condition with the begin of its episode."""
        episode = self.open.get(condition.key)
        return (
            condition
            if episode is None
            else replace(condition, since=min(condition.since, episode.condition.since))
        )

    def _has_matured(self, condition: Condition, now: datetime, now_s: float) -> bool:
        began_s = self._seen_s.get(condition.key, now_s - _age_s(condition, now))
        if condition.id is ReasonId.LINK:
            began_s = max(began_s, self._links_since_s)
        return now_s - began_s >= condition.wait_s

    def note_announced(self, event: AgentEvent) -> None:
        """Records an event that the agent has announced for another reason, such as ``destination_parked``."""
        self._announced[event.type, getattr(event, "instance", "") or None] = event.key

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
            is_silent = condition.covered or condition.announced_as is not None or condition.id in _UNNOTIFIED
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

    def record_notice(self, event: AgentDegradedEvent, now_s: float, after_s: float) -> None:
        """Records that the notice was stored, for at least one destination."""
        kind = ReasonId(event.kind)
        for subject in event.subjects or (None,):
            if (kind, subject) in self.open:
                self.open[kind, subject] = replace(self.open[kind, subject], notice=event.key)
        pace = self._paces.get(kind)
        repeats = pace is not None and now_s - pace.next_s < MAX_PAUSE_S
        pause_s = min(pace.pause_s * 2, MAX_PAUSE_S) if pace is not None and repeats else after_s
        self._paces[kind] = _Pace(now_s + pause_s, pause_s)

    def due_ends(self, now: datetime, after_s: float) -> dict[str, list[Episode]]:
        """Returns the ended episodes to notify of now, by the key of the notice of their begin.

        The subjects of one notice end with one notice, unless some take longer than ``after_s``. Call
        ``record_end`` when a notice was stored.
        """
        still_open = {episode.notice for episode in self.open.values()}
        groups: dict[str, list[Episode]] = {}
        for episode in self.ended.values():
            groups.setdefault(episode.notice or "", []).append(episode)
        waits = timedelta(seconds=after_s)
        return {
            notice: episodes
            for notice, episodes in groups.items()
            if notice not in still_open
            or any(episode.ended_at is None or now - episode.ended_at >= waits for episode in episodes)
        }

    def record_end(self, episodes: Iterable[Episode]) -> None:
        """Records that nobody needs to be notified any more of these ends."""
        for episode in episodes:
            self.ended.pop(episode.condition.key, None)

    def milestones(self) -> frozenset[tuple[Key, str | None, datetime | None]]:
        """Returns a value that changes when an episode begins, is notified or ends, but not with its text."""
        episodes = (*self.open.values(), *self.ended.values())
        return frozenset((episode.condition.key, episode.notice, episode.ended_at) for episode in episodes)

    def to_json(self) -> str | None:
        """Returns the episodes as text, for the next process; None if there are none."""
        entries = [_to_entry(episode) for episode in (*self.open.values(), *self.ended.values())]
        return json.dumps(entries) if entries else None

    def restore(self, text: str | None) -> None:
        """Adopts the episodes of an earlier process. Ignores text that it does not understand."""
        try:
            episodes = [_from_entry(entry) for entry in json.loads(text or "[]")]
        except (ValueError, TypeError, KeyError):
            return  # another version wrote it; its trouble begins anew
        for episode in episodes:
            target = self.open if episode.ended_at is None else self.ended
            target[episode.condition.key] = episode


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
    ended_at = entry["ended_at"]
    condition = Condition(
        ReasonId(entry["id"]),
        str(entry["text"]),
        datetime.fromisoformat(entry["since"]),
        entry["subject"],
        announced_as=entry["announced_as"],
    )
    return Episode(condition, entry["notice"], None if ended_at is None else datetime.fromisoformat(ended_at))
