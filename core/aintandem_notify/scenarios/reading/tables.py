"""The tables of a scenario file as pydantic models; ``reading`` resolves their times and events."""

from datetime import datetime, time
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aintandem_notify.config.rule_config import HoldDuration, NonEmptyText, Table
from aintandem_notify.config.types.clock_times import TimeZone
from aintandem_notify.config.types.values import Duration
from aintandem_notify.domain.notification import Severity

MAX_TIMES: Final = 10_000
"""Events that one step may repeat; our limit, so that a wrong number does not run for minutes."""

NOTHING: Final = "nothing"
"""The value of ``expect`` if nobody is told anything at that time."""

Moment = str | time | datetime


def _expected(value: object) -> object:
    if value == NOTHING or isinstance(value, dict | list):
        return value
    raise ValueError(
        'should be a notification, as { to = "slack.team", title = "…" }, a list of them, or "nothing"'
    )


class FileTable(Table):
    """The top of a scenario file. ``config`` is a path or the tables of a config."""

    name: NonEmptyText | None = None
    config: NonEmptyText | dict[str, Any]
    start: str | datetime | None = None
    tz: TimeZone | None = None
    steps: list[dict[str, Any]] = Field(default_factory=list)
    expect: list[dict[str, Any]] = Field(default_factory=list)


class ExpectationTable(Table):
    """A notification that is expected."""

    to: NonEmptyText | None = None
    title: NonEmptyText | None = None
    text: NonEmptyText | None = None
    event: NonEmptyText | None = None
    rule: NonEmptyText | None = None
    severity: Severity | None = None
    mention: NonEmptyText | None = None
    count: Annotated[int, Field(ge=0, le=MAX_TIMES)] = 1


class StepTable(Table):
    """The keys of every step."""

    at: Moment | None = None


class EventStep(BaseModel):
    """An event, in short with its fields as further keys, or as a whole: a table or JSON as on the wire."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow")

    at: Moment | None = None
    event: NonEmptyText | dict[str, Any]
    project: NonEmptyText | None = None
    times: Annotated[int, Field(ge=1, le=MAX_TIMES)] = 1
    every: Duration = 0.0
    wire: dict[str, Any] = Field(default_factory=dict)


class SilenceTable(Table):
    """A silence as somebody adds it: its globs, its end and its name in the scenario."""

    id: NonEmptyText = "silence"
    for_: HoldDuration | None = Field(None, alias="for")
    until: Moment | None = None
    reason: str = ""
    owner: str = ""
    project: NonEmptyText | None = None
    task: NonEmptyText | None = None
    workflow: NonEmptyText | None = None
    sandbox: NonEmptyText | None = None
    rule: NonEmptyText | None = None
    destination: NonEmptyText | None = None
    type: NonEmptyText | None = None


class SilenceStep(StepTable):
    """Somebody adds a silence."""

    silence: SilenceTable


class EndSilenceStep(StepTable):
    """Somebody ends a silence."""

    end_silence: NonEmptyText


class ReloadStep(StepTable):
    """The agent reads another config: a file, or tables that replace those of the config before."""

    reload: NonEmptyText | dict[str, Any]


class RestartStep(StepTable):
    """The agent is restarted, and does not run for so long."""

    restart: Duration


class LinkStep(StepTable):
    """The link to a project breaks, or is there again."""

    link: Literal["down", "up"]
    project: NonEmptyText | None = None


class ExpectStep(StepTable):
    """A time at which notifications are expected, or nothing."""

    expect: Annotated[Any, BeforeValidator(_expected)]


STEPS: Final[dict[str, type[BaseModel]]] = {
    "event": EventStep,
    "silence": SilenceStep,
    "end_silence": EndSilenceStep,
    "reload": ReloadStep,
    "restart": RestartStep,
    "link": LinkStep,
    "expect": ExpectStep,
}
"""The kinds of steps, by the key that makes a step one of them."""
