"""One rendered message about one event, as a destination gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from msgspec import json
from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, PlainValidator
from pydantic_core import to_json

from aintandem_notify.domain.events import Event, restore_event
from aintandem_notify.domain.runs import Run

STORE_THREAD: Final = "agent/store"
"""The thread of notifications about the agent's own store. They are sent even while the store fails."""


def agent_thread(about: str | None = None) -> str:
    """The thread of an agent event: about the agent, one of its instances (``slack.team``) or a project."""
    return f"agent/{about}" if about else "agent"


class Severity(StrEnum):
    """The importance of an event, in rising order."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its position in the order; 0 is the lowest."""
        return list(Severity).index(self)


class Field(NamedTuple):
    """A short named fact, as ``("Project", "Sales pipeline")``."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project. ``name`` is the id if neither the config nor the orchestrator gives a name."""

    id: str
    name: str


def _restore(value: object) -> Event:
    match value:
        case Event():
            return value
        case Mapping():
            return restore_event(value)
        case _:
            raise ValueError("an event is stored as an object")


WireEvent = Annotated[Event, PlainValidator(_restore), PlainSerializer(lambda event: event.wire())]
"""An event that is stored in its wire form."""


_OF_DELIVERIES: Final = ("previous", "plain", "instead_of")
"""The fields that differ by destination, or by try."""
SECRETS_FIELD: Final = "secrets"
"""In the stored JSON: the ``log.secrets_generation`` at which the notification was rendered."""
_encode: Final = json.Encoder().encode


class Notification(BaseModel):
    """One rendered message for one event, the same for every destination that the rule names.

    ``id`` stays the same over all retries. ``thread`` names the run's attempt, or the project or the agent for
    events about no run. Order is kept within a thread. ``previous`` is the last receipt of this thread at this
    destination, None if there is none. ``plain`` is true at the last try of a message that was refused or that
    its plugin failed on. Title and body are short and plain then, and all other content is left out.
    ``instead_of`` is the destination (``slack.team``) that this one replaces as its fallback, else None. One of
    ``fields`` names it, too. All texts are plain, not escaped, and have secrets redacted. ``url`` is a page for
    people, None without ``console_url``. ``run`` is the attempt right after the event, or when a watch looked at
    it; None for events about no run. ``project`` is None for agent events except ``feed_gap``. ``fixed_after`` is
    set if it tells of the end of trouble: the seconds that the trouble lasted.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

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
    fixed_after: float | None = None
    previous: dict[str, Any] | None = None
    plain: bool = False
    instead_of: str | None = None

    def content_json(self, *, with_event: bool, secrets: str) -> str:
        """The rendered message as JSON, without the fields that differ by destination.

        ``secrets``: the ``log.secrets_generation`` at which it was rendered.
        """
        content = vars(self).copy()
        content[SECRETS_FIELD] = secrets
        for name in _OF_DELIVERIES:
            del content[name]
        event: Event = content.pop("event")
        if not with_event:
            return _encode(content).decode()
        # The values of an event may be such as msgspec does not write: integers of any size.
        return to_json(content | {"event": event.wire()}, inf_nan_mode="null").decode()

    @property
    def occurred_at(self) -> datetime:
        """The time of the event, aware UTC."""
        return self.event.timestamp
