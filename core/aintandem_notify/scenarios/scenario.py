"""A scenario as values: the config, the steps and the expected notifications, with all times resolved."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from aintandem_notify.config import Config
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.stages.silences import Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happens at ``at``; ``line`` is its line in the file, None if unknown."""

    at: datetime
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening(Step):
    """Events of one project at the same time; of the agent itself if ``project`` is None."""

    project: Project | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceBegins(Step):
    """Somebody adds a silence."""

    silence: Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceEnds(Step):
    """Somebody ends the silence with this id."""

    silence_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload(Step):
    """The agent reads another config."""

    config: Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Step):
    """The agent ends, and begins again at ``until``."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange(Step):
    """The link to ``project`` breaks, or is there again."""

    project: Project
    is_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A notification that a destination should be told, ``count`` times; with 0, never.

    Everything that is None may be anything. ``title`` and ``text`` are parts of the title and the body.
    With ``at``, it is told after more than ``after_steps`` and at most ``until_steps`` steps.
    """

    line: int | None
    at: datetime | None = None
    after_steps: int = -1
    until_steps: int = 0
    to: str | None = None
    title: str | None = None
    text: str | None = None
    event: str | None = None
    rule: str | None = None
    severity: str | None = None
    mention: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario: from ``start`` on the agent runs with ``config``. ``steps`` are in the order of their times."""

    name: str
    source: Path
    zone: ZoneInfo
    start: datetime
    config: Config
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]
