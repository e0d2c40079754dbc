"""The bodies of ``/episodes``. Times are aware UTC."""

from datetime import datetime

from aintandem_notify.control.schemas import HeldResponse, ResponseModel


class ToldResponse(ResponseModel):
    """A destination that was told of an episode, and when first."""

    destination: str
    at: datetime


class EpisodeActionResponse(ResponseModel):
    """The next ``action`` of one kind: ``remind``, ``escalate`` or ``expire``. Expiry tells nobody."""

    action: str
    at: datetime
    destinations: tuple[str, ...] = ()


class EpisodeResponse(ResponseModel):
    """An episode: trouble of one subject that a rule has taken. ``type`` and ``run_id``: of its last trouble.

    ``troubles`` is how often there was some, from ``begun_at`` to ``last_at``. ``confirmed``: false until there
    were as many in a row as the rule asks for. ``acknowledged_at``: None if nobody has.
    ``ended_by``: ``success``, ``other trouble``, ``hand`` or ``expiry``. ``waits``: the next actions, the first
    first. ``held``: notifications about it that stages hold; ``holds_back``: how many others wait for its end.
    """

    id: str
    rule: str
    type: str
    project_id: str
    project: str
    kind: str
    run_id: str
    run: str
    begun_at: datetime
    last_at: datetime
    troubles: int
    confirmed: bool = True
    told: tuple[ToldResponse, ...] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    ended_at: datetime | None = None
    ended_by: str | None = None
    waits: tuple[EpisodeActionResponse, ...] = ()
    held: tuple[HeldResponse, ...] = ()
    holds_back: int = 0


class EpisodeListResponse(ResponseModel):
    """Open episodes, the oldest first, of ``count``; then ended ones, the newest first, if they were asked for.

    ``trouble``: why the next actions are not known.
    """

    episodes: tuple[EpisodeResponse, ...]
    count: int
    trouble: str | None = None


class EndedEpisodeResponse(EpisodeResponse):
    """An episode that was ended by hand. ``recipients`` are told; ``untold``: why nobody is."""

    recipients: tuple[str, ...] = ()
    untold: str | None = None


class EpisodeEndResponse(ResponseModel):
    """The episodes that were ended, in the order of the request."""

    episodes: tuple[EndedEpisodeResponse, ...]


class AcknowledgedEpisodeResponse(EpisodeResponse):
    """An episode that is acknowledged. ``changed`` is false if it was before."""

    changed: bool


class AcknowledgementResponse(ResponseModel):
    """The episodes that are acknowledged, in the order of the request."""

    episodes: tuple[AcknowledgedEpisodeResponse, ...]
