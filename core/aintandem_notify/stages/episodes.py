"""An episode: trouble of one subject that a rule has taken, from its first failure to its end.

Pure: the next state of an episode is a function of the one before, the rule, the event and the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from aintandem_notify.config.rule_config import FIRST_FAILURE
from aintandem_notify.rules.effective_rules import Stages

MIN_PREFIX: Final = 3
"""Characters by which people name an episode, behind ``ep_``."""


class EndedBy(StrEnum):
    """The cause of an end."""

    SUCCESS = "success"
    OTHER_TROUBLE = "other trouble"
    HAND = "hand"
    EXPIRY = "expiry"


class Due(StrEnum):
    """An action at a set time."""

    REMIND = "remind"
    ESCALATE = "escalate"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One event that a rule takes as trouble. ``number`` is equal for all trouble that one end ends."""

    rule: str
    number: int
    type: str
    event_key: str
    occurred_at: datetime
    thread: str
    notification_id: str
    project_id: str
    project_name: str = ""
    kind: str = ""
    run_id: str = ""
    run_name: str = ""
    workflow_id: str = ""
    run_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode. It is ``pending`` until so many failures in a row as the rule asks for have confirmed it.

    ``run_number``, ``workflow_id``, ``event_key`` and ``notification_id`` are those of its last trouble,
    ``thread`` and ``run_name`` those of its first. ``wells`` is the number of successes in a row since then.
    ``told_at``: the time at which the first message about it left all stages. ``is_current``: further trouble
    belongs to it.
    """

    id: str
    rule: str
    number: int
    run_number: int
    type: str
    project_id: str
    project_name: str
    kind: str
    run_id: str
    run_name: str
    workflow_id: str
    thread: str
    event_key: str
    notification_id: str
    troubles: int
    wells: int
    begun_at: datetime
    last_at: datetime
    opened_at: datetime | None
    is_current: bool = True
    told_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    reminded_at: datetime | None = None
    escalated: int = 0

    @property
    def is_open(self) -> bool:
        """True from its confirmation to its end."""
        return self.opened_at is not None and self.ended_at is None


def begin(trouble: Trouble) -> Episode:
    """The episode that begins with ``trouble``; it is not confirmed, and has no trouble yet."""
    digest = blake2b(f"{trouble.rule}\n{trouble.number}\n{trouble.event_key}".encode(), digest_size=8).hexdigest()
    return Episode(
        id=f"ep_{digest}",
        rule=trouble.rule,
        number=trouble.number,
        run_number=trouble.run_number,
        type=trouble.type,
        project_id=trouble.project_id,
        project_name=trouble.project_name,
        kind=trouble.kind,
        run_id=trouble.run_id,
        run_name=trouble.run_name,
        workflow_id=trouble.workflow_id,
        thread=trouble.thread,
        event_key=trouble.event_key,
        notification_id=trouble.notification_id,
        troubles=0,
        wells=0,
        begun_at=trouble.occurred_at,
        last_at=trouble.occurred_at,
        opened_at=None,
    )


def take(episode: Episode | None, trouble: Trouble, stages: Stages) -> tuple[Episode, bool]:
    """The episode after ``trouble``, and whether the rule takes the event.

    A rule without ``on`` takes each. One with ``on`` takes the trouble that confirms the episode.
    """
    before = episode or begin(trouble)
    is_confirmed = before.opened_at is not None or before.troubles + 1 >= stages.confirm
    after = replace(
        before,
        type=trouble.type,
        run_number=trouble.run_number,
        run_id=trouble.run_id,
        workflow_id=trouble.workflow_id,
        event_key=trouble.event_key,
        notification_id=trouble.notification_id,
        troubles=before.troubles + 1,
        wells=0,
        last_at=max(before.last_at, trouble.occurred_at),
        opened_at=(before.opened_at or trouble.occurred_at) if is_confirmed else None,
        # One that has expired, but whose subject has not succeeded since, goes on.
        ended_at=None,
        ended_by="",
    )
    if stages.on is None:
        return after, True
    return after, before.opened_at is None and is_confirmed and FIRST_FAILURE in stages.on


def succeed(episode: Episode, at: datetime, stages: Stages) -> Episode:
    """The episode after a success at ``at``; it is over after so many in a row as the rule asks for.

    A success that is older than the last trouble changes nothing.
    """
    if at < episode.last_at:
        return episode
    wells = episode.wells + 1
    if episode.opened_at is not None and wells < stages.confirm:
        return replace(episode, wells=wells)
    # Failures that no one confirmed were not in a row.
    return end(replace(episode, wells=wells), at, EndedBy.SUCCESS)


def end(episode: Episode, at: datetime, by: EndedBy) -> Episode:
    """The episode after its end. Of one that had expired, its first end stays."""
    if episode.ended_at is not None:
        return replace(episode, is_current=False)
    return replace(episode, ended_at=at, ended_by=by.value, is_current=False)


def expire(episode: Episode, at: datetime, stages: Stages) -> Episode:
    """The episode after its expiry. The next failure of a rule with ``on`` is no first one: nothing was fixed."""
    return replace(end(episode, at, EndedBy.EXPIRY), is_current=stages.on is not None)


def next_due(episode: Episode, stages: Stages, expire_s: float) -> tuple[datetime, Due] | None:
    """The next action and its time; None if there is none. Of two at one time, people are told first."""
    return min(next_actions(episode, stages, expire_s), key=lambda action: action[0], default=None)


def next_actions(episode: Episode, stages: Stages, expire_s: float) -> list[tuple[datetime, Due]]:
    """The next action of each kind, with its time."""
    if episode.ended_at is not None:
        return []
    expiry = episode.last_at + timedelta(seconds=expire_s)
    actions: list[tuple[datetime, Due]] = []
    if episode.opened_at is not None and episode.acknowledged_at is None:
        if stages.reminds and (episode.told_at is not None or FIRST_FAILURE not in (stages.on or ())):
            since = episode.reminded_at or episode.opened_at
            actions.append((since + timedelta(seconds=stages.remind_every), Due.REMIND))
        if episode.told_at is not None and episode.escalated < len(stages.escalate):
            after = timedelta(seconds=stages.escalate[episode.escalated].after)
            actions.append((episode.told_at + after, Due.ESCALATE))
    return [*actions, (expiry, Due.EXPIRE)]


def holding(episodes: Sequence[Episode], *, project_id: str, workflow_id: str, sandbox_id: str) -> Episode | None:
    """The first of the open episodes that is a cause for an event of these; None if none is.

    Both in a workflow execution: it must be the same. Both in a sandbox: the same. Else the project counts.
    """
    for episode in sorted(episodes, key=lambda one: (one.opened_at or one.begun_at, one.id)):
        if not episode.is_open or episode.project_id != project_id:
            continue
        cause_sandbox = episode.run_id if episode.kind == "sandbox" else ""
        if workflow_id and episode.workflow_id:
            if workflow_id == episode.workflow_id:
                return episode
        elif sandbox_id and cause_sandbox:
            if sandbox_id == cause_sandbox:
                return episode
        else:
            return episode
    return None
