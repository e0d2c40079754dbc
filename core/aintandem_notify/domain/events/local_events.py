"""The events that the agent creates itself: about the projects' links, and about its own state."""

from msgspec import field

from aintandem_notify.domain.events.base import Event, Family
from aintandem_notify.domain.events.field_types import Id, LocalText, Moment


class ConnectionEvent(Event):
    """Base of the agent's 3 events about a project's link."""

    family = Family.CONNECTION
    project_id: Id


class ConnectionConnectedEvent(ConnectionEvent, tag="connection_connected"):
    """The link of a project is up."""


class ConnectionDisconnectedEvent(ConnectionEvent, tag="connection_disconnected"):
    """The link of a project went down; ``code`` is the WebSocket close code (1006: none was sent)."""

    code: int = 1006
    reason: LocalText = ""
    will_reconnect: bool = True


class ConnectionErrorEvent(ConnectionEvent, tag="connection_error"):
    """The link of a project could not be opened, or was refused."""

    error: LocalText = ""
    will_reconnect: bool = True


class AgentEvent(Event):
    """Base of the events about the agent; ``reason`` explains the event in one line."""

    family = Family.AGENT
    reason: LocalText = ""


class AgentStartedEvent(AgentEvent, tag="agent_started"):
    """The agent runs. It watches ``projects`` projects and has ``plugins`` configured instances."""

    version: str = ""
    projects: int = 0
    plugins: int = 0


class AgentStoppedEvent(AgentEvent, tag="agent_stopped"):
    """The agent is about to stop regularly."""


class LoginFailedEvent(AgentEvent, tag="login_failed"):
    """The orchestrator refused our credentials."""


class PluginFailedEvent(AgentEvent, tag="plugin_failed"):
    """A plugin instance (``instance``, as ``slack.team``) cannot be used."""

    instance: LocalText = ""


class DestinationParkedEvent(AgentEvent, tag="destination_parked"):
    """A destination (``instance``) is broken until somebody repairs it; its queue is kept."""

    instance: LocalText = ""


class StoreDegradedEvent(AgentEvent, tag="store_degraded"):
    """The store fails or failed (a full disk, say), or had to be created again; one event for each trouble."""


class DestinationRecoveredEvent(AgentEvent, tag="destination_recovered"):
    """A destination (``instance``) that was parked accepts deliveries again."""

    instance: LocalText = ""


class AgentDegradedEvent(AgentEvent, tag="agent_degraded"):
    """The agent is not well; ``reason`` has the sentences, and ``kind`` is the id of their kind (``link``).

    ``subjects`` are the projects, destinations or plugin instances that it is about. ``failing``: the agent cannot
    do its job until somebody helps. ``excluded`` are the destinations that have trouble themselves, so that they
    do not get it.
    """

    kind: LocalText = ""
    subjects: tuple[LocalText, ...] = ()
    failing: bool = False
    excluded: tuple[LocalText, ...] = ()


class AgentRecoveredEvent(AgentEvent, tag="agent_recovered"):
    """Trouble of the agent is over; it goes to the destinations that got the notice of its begin (``recipients``).

    ``kind``, ``subjects`` and ``reason`` are as in that notice, and ``begun_by`` is the key of its event.
    The trouble lasted ``seconds``.
    """

    kind: LocalText = ""
    subjects: tuple[LocalText, ...] = ()
    seconds: float = 0.0
    begun_by: LocalText = ""
    recipients: tuple[LocalText, ...] = ()


class SilenceEndingEvent(AgentEvent, tag="silence_ending"):
    """A silence that holds ``count`` notifications ends in ``seconds``, at ``expires_at``.

    It goes to the destinations of these notifications (``recipients``). ``silence`` is its id, ``matchers`` are
    its globs by name; ``owner`` has given the ``reason``.
    """

    silence: LocalText = ""
    count: int = 0
    seconds: float = 0.0
    expires_at: Moment | None = None
    matchers: dict[str, str] = field(default_factory=dict)
    owner: LocalText = ""
    recipients: tuple[LocalText, ...] = ()


class BacklogFoldedEvent(AgentEvent, tag="backlog_folded"):
    """Replaces ``count`` notifications that waited for a destination (``instance``) while it was unreachable.

    They were about ``runs`` runs (or projects and other threads), some of which are in ``names``. ``types`` counts
    them by the type of their event. The first event was at ``oldest``, the last at ``newest``.
    """

    instance: LocalText = ""
    count: int = 0
    runs: int = 0
    types: dict[str, int] = field(default_factory=dict)
    names: tuple[LocalText, ...] = ()
    oldest: Moment | None = None
    newest: Moment | None = None


class DigestEvent(AgentEvent, tag="digest"):
    """Stands for ``count`` notifications of the rules ``rules`` that are told as one.

    ``held_by`` names the stage that held them: ``group``, ``throttle``, ``quiet``, ``silence`` or
    ``held_back_by``. ``label`` has
    the values that a group has in common, or the name of the quiet hours. ``types`` counts the notifications by
    the type of their event. ``titles`` are those of the first ones, the worst first, and equal ones are one;
    ``unlisted`` notifications are not among them. ``failed_runs`` runs had an error, and ``open_runs`` of them
    have not succeeded since. The first event was at ``oldest``, the last at ``newest``.
    """

    instance: LocalText = ""
    held_by: LocalText = ""
    label: LocalText = ""
    count: int = 0
    types: dict[str, int] = field(default_factory=dict)
    titles: tuple[LocalText, ...] = ()
    unlisted: int = 0
    rules: tuple[LocalText, ...] = ()
    projects: tuple[LocalText, ...] = ()
    failed_runs: int = 0
    open_runs: int = 0
    oldest: Moment | None = None
    newest: Moment | None = None


class FeedGapEvent(AgentEvent, tag="feed_gap"):
    """A project had no link between two times; created once, after catching up over REST.

    The gap lasted ``seconds``. ``changed`` runs changed during it and were reported, as far as there are events
    for the change. ``too_old`` runs ended too long ago and are only counted. ``gone`` runs are unknown to the
    orchestrator now, so their end is unknown. ``incomplete``: something could not be looked up, and ``reason``
    names it. ``repeated``: the same was reported after the last gap.
    """

    project_id: Id
    project_name: LocalText = ""
    blind_from: Moment | None = None
    blind_until: Moment | None = None
    seconds: float = 0.0
    changed: int = 0
    too_old: int = 0
    gone: int = 0
    incomplete: bool = False
    repeated: bool = False
