"""The events that the agent creates itself: about the projects' links, and about its own state."""

from typing import Literal

from pydantic import AwareDatetime, Field

from aintandem_notify.domain.events.base import Event, Family, Id, LocalText


class ConnectionEvent(Event):
    """Base of the agent's 3 events about a project's link."""

    family = Family.CONNECTION
    project_id: Id


class ConnectionConnectedEvent(ConnectionEvent):
    """The link of a project is up."""

    type: Literal["connection_connected"] = "connection_connected"


class ConnectionDisconnectedEvent(ConnectionEvent):
    """The link of a project went down; ``code`` is the WebSocket close code (1006: none was sent)."""

    type: Literal["connection_disconnected"] = "connection_disconnected"
    code: int = 1006
    reason: LocalText = ""
    will_reconnect: bool = True


class ConnectionErrorEvent(ConnectionEvent):
    """The link of a project could not be opened, or was refused."""

    type: Literal["connection_error"] = "connection_error"
    error: LocalText = ""
    will_reconnect: bool = True


class AgentEvent(Event):
    """Base of the events about the agent; ``reason`` explains the event in one line."""

    family = Family.AGENT
    reason: LocalText = ""


class AgentStartedEvent(AgentEvent):
    """The agent runs. It watches ``projects`` projects and has ``plugins`` configured instances."""

    type: Literal["agent_started"] = "agent_started"
    version: str = ""
    projects: int = 0
    plugins: int = 0


class AgentStoppedEvent(AgentEvent):
    """The agent is about to stop regularly."""

    type: Literal["agent_stopped"] = "agent_stopped"


class LoginFailedEvent(AgentEvent):
    """The orchestrator refused our credentials."""

    type: Literal["login_failed"] = "login_failed"


class PluginFailedEvent(AgentEvent):
    """A plugin instance (``instance``, as ``slack.team``) cannot be used."""

    type: Literal["plugin_failed"] = "plugin_failed"
    instance: LocalText = ""


class DestinationParkedEvent(AgentEvent):
    """A destination (``instance``) is broken until somebody repairs it; its queue is kept."""

    type: Literal["destination_parked"] = "destination_parked"
    instance: LocalText = ""


class StoreDegradedEvent(AgentEvent):
    """The store fails or failed (a full disk, say), or had to be created again; one event for each trouble."""

    type: Literal["store_degraded"] = "store_degraded"


class DestinationRecoveredEvent(AgentEvent):
    """A destination (``instance``) that was parked accepts deliveries again."""

    type: Literal["destination_recovered"] = "destination_recovered"
    instance: LocalText = ""


class AgentDegradedEvent(AgentEvent):
    """The agent is not well; ``reason`` has the sentences, and ``kind`` is the id of their kind (``link``).

    ``subjects`` are the projects, destinations or plugin instances that it is about. ``failing``: the agent cannot
    do its job until somebody helps. ``excluded`` are the destinations that have trouble themselves, so that they
    do not get it.
    """

    type: Literal["agent_degraded"] = "agent_degraded"
    kind: LocalText = ""
    subjects: tuple[LocalText, ...] = ()
    failing: bool = False
    excluded: tuple[LocalText, ...] = ()


class AgentRecoveredEvent(AgentEvent):
    """Trouble of the agent is over; it goes to the destinations that got the notice of its begin (``recipients``).

    ``kind``, ``subjects`` and ``reason`` are as in that notice, and ``begun_by`` is the key of its event.
    The trouble lasted ``seconds``.
    """

    type: Literal["agent_recovered"] = "agent_recovered"
    kind: LocalText = ""
    subjects: tuple[LocalText, ...] = ()
    seconds: float = 0.0
    begun_by: LocalText = ""
    recipients: tuple[LocalText, ...] = ()


class BacklogFoldedEvent(AgentEvent):
    """Replaces ``count`` notifications that waited for a destination (``instance``) while it was unreachable.

    They were about ``runs`` runs (or projects and other threads), some of which are in ``names``. ``types`` counts
    them by the type of their event. The first event was at ``oldest``, the last at ``newest``.
    """

    type: Literal["backlog_folded"] = "backlog_folded"
    instance: LocalText = ""
    count: int = 0
    runs: int = 0
    types: dict[str, int] = Field(default_factory=dict)
    names: tuple[LocalText, ...] = ()
    oldest: AwareDatetime | None = None
    newest: AwareDatetime | None = None


class FeedGapEvent(AgentEvent):
    """A project had no link between two times; created once, after catching up over REST.

    The gap lasted ``seconds``. ``changed`` runs changed during it and were reported, as far as there are events
    for the change. ``too_old`` runs ended too long ago and are only counted. ``gone`` runs are unknown to the
    orchestrator now, so their end is unknown. ``incomplete``: something could not be looked up, and ``reason``
    names it. ``repeated``: the same was reported after the last gap.
    """

    type: Literal["feed_gap"] = "feed_gap"
    project_id: Id
    project_name: LocalText = ""
    blind_from: AwareDatetime | None = None
    blind_until: AwareDatetime | None = None
    seconds: float = 0.0
    changed: int = 0
    too_old: int = 0
    gone: int = 0
    incomplete: bool = False
    repeated: bool = False
