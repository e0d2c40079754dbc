"""What a destination gets: one rendered message about one event."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, PlainValidator

from aintandem_notify.domain.events import Event, restore_event
from aintandem_notify.domain.runs import Run

STORE_THREAD: Final = "agent/store"
"""The thread of what is told about the agent's own store, which goes out also while that is in trouble."""


def agent_thread(about: str | None = None) -> str:
    """The thread of what the agent tells of itself, of one of its instances (``slack.team``) or of a project."""
    return f"agent/{about}" if about else "agent"


class Severity(StrEnum):
    """How much an event matters, in rising order."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 the lowest."""
        return list(Severity).index(self)


class Field(NamedTuple):
    """A short named fact, as ``("Project", "Sales pipeline")``."""

    name: str
    value: str


class Project(BaseModel):
    """A project as people know it; ``name`` is the id where the config and the orchestrator give none."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str


def _restore(value: object) -> Event:
    match value:
        case Event():
            return value
        case Mapping():
            return restore_event(value)
        case _:
            raise ValueError("an event is kept as an object")


WireEvent = Annotated[Event, PlainValidator(_restore), PlainSerializer(lambda event: event.wire())]
"""An event that is kept in its wire form."""


class Notification(BaseModel):
    """One rendered message for one event, the same for every destination that the rule names.

    ``id`` stays the same over every retry. ``thread`` names the run's attempt, or the project or agent for
    events about no run; order is kept within it. ``previous`` is the last receipt of this thread at this
    destination, None if there is none. ``plain`` is true at the last try of a message that was refused or that
    its plugin failed on: title and body are short and plain then, and there is nothing else to show.
    ``instead_of`` is the destination (``slack.team``) that this one stands in for, None if it does not; a field
    says so, too. All texts are plain, not escaped for anything, and have secrets
    redacted; ``url`` is where a person can look, None without ``console_url``. ``run`` is the attempt as it
    was right after the event, None for events about no run; ``project`` is None for agent events but ``feed_gap``.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    thread: str
    severity: Severity
    title: str
    body: str = ""
    fields: tuple[Field, ...] = ()
    url: str | None = None
    mentions: tuple[str, ...] = ()
    event: WireEvent
    run: Run | None = None
    project: Project | None = None
    rule: str
    created_at: AwareDatetime
    previous: dict[str, Any] | None = None
    plain: bool = False
    instead_of: str | None = None

    @property
    def occurred_at(self) -> datetime:
        """When the event happened, aware UTC."""
        return self.event.timestamp
