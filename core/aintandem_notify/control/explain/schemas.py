"""The bodies of ``/explain``. Times are aware UTC.

Reasons are words without times, so that clients show local ones.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from aintandem_notify.control.episodes.schemas import EpisodeResponse
from aintandem_notify.control.schemas import ResponseModel


class Fate(StrEnum):
    """The fate of a notification at one destination."""

    DELIVERED = "delivered"
    QUEUED = "queued"
    DEAD = "dead"
    FOLDED = "folded"
    """A summary of the destination's backlog stands for it."""
    HELD = "held"
    """By a stage of its rule, or by a silence."""
    DROPPED = "dropped"
    """By a stage of its rule."""
    TOGETHER = "together"
    """One message tells it together with others; ``summary`` is that message."""
    TOLD = "told"
    """Its stage let it go, and its delivery is no longer stored."""
    NOW = "now"
    """Of an event that has not happened: it would be told at once."""


class StageStepResponse(ResponseModel):
    """The effect of a stage: ``pass``, ``hold`` until ``until``, or ``drop``; ``at`` is when it would be asked.

    ``waiting``: so many notifications wait there already, for the same message.
    """

    stage: str
    result: str
    reason: str
    at: datetime
    until: datetime | None = None
    waiting: int = 0


class SummaryResponse(ResponseModel):
    """The message that tells several: its notification, its title and its fate at the destination."""

    notification: str
    title: str
    fate: Fate
    delivery: int | None = None
    at: datetime | None = None
    reason: str | None = None


class FateResponse(ResponseModel):
    """The fate of a rule's notification at a destination, past or future.

    ``stage``, ``reason``: who decided last and why. ``earlier_stages`` held it before. ``since``: queued or held
    since then; ``until``: held until then, or the next try; ``at``: when it ended. ``taken_over_by``: the fallback
    that has it instead; ``instead_of``: it is the fallback of this one.
    """

    rule: str
    destination: str
    fate: Fate
    notification: str | None = None
    delivery: int | None = None
    stage: str | None = None
    reason: str | None = None
    earlier_stages: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    at: datetime | None = None
    summary: SummaryResponse | None = None
    instead_of: str | None = None
    taken_over_by: str | None = None
    steps: tuple[StageStepResponse, ...] = ()


class RuleVerdictResponse(ResponseModel):
    """The decision of a rule of the config in use about the event: ``verdict`` is a word, ``reason`` a sentence.

    ``destinations``: those that this rule tells, or would tell if it matched. ``when``: its condition, with the
    ``values`` that this reads.
    """

    rule: str
    verdict: str
    reason: str
    destinations: tuple[str, ...]
    when: str | None = None
    values: dict[str, str] = Field(default_factory=dict)


class ToldInSummaryResponse(ResponseModel):
    """An event that a summary tells."""

    key: str
    rule: str
    run: str
    project: str


class EpisodeOfEventResponse(EpisodeResponse):
    """An episode, and the ``role`` of the event in it: ``trouble``, or ``end``."""

    role: str


class EventExplanation(ResponseModel):
    """An event and its fate. ``key`` is its id in the store; None if it has not happened.

    ``rules`` are those of the config in use. ``rules_changed_at``: they have changed since the event; None if not,
    or if that is not known. ``tells`` are the events that it stands for, the first of ``tells_count``.
    ``episodes``: those that it belongs to, or has ended; or would. ``notes`` are further sentences.
    """

    key: str | None
    type: str
    family: str
    title: str
    occurred_at: datetime
    received_at: datetime | None
    project: str | None
    run: str | None
    run_id: str | None
    fates: tuple[FateResponse, ...]
    rules: tuple[RuleVerdictResponse, ...]
    rules_changed_at: datetime | None = None
    tells: tuple[ToldInSummaryResponse, ...] = ()
    tells_count: int = 0
    episodes: tuple[EpisodeOfEventResponse, ...] = ()
    notes: tuple[str, ...] = ()


class ExplanationResponse(ResponseModel):
    """The events that a reference names, the newest first, or one that has not happened (``reference`` None).

    ``more``: the run has further events. ``trouble``: why the rules could not be asked.
    """

    config: str
    reference: str | None
    events: tuple[EventExplanation, ...]
    more: bool = False
    trouble: str | None = None
