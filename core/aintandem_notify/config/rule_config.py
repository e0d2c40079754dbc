"""``[[rules]]`` and the tables of its stages: the events, the destinations, and the time of the message.

All times are float seconds.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)

from aintandem_notify.config.findings import did_you_mean
from aintandem_notify.config.types.clock_times import WEEKDAYS, ClockTime, TimeZone, Weekdays
from aintandem_notify.config.types.values import EventGlob, Expression, PositiveDuration, Template
from aintandem_notify.domain.notification import Severity


class Table(BaseModel):
    """Base of our own tables of the config."""

    # The whole config builds its tables once more, which takes pydantic milliseconds for each.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


NonEmptyText = Annotated[str, Field(min_length=1)]

NOBODY: Final = "nobody"
"""The value of ``notify`` with which a rule keeps its events from all later rules."""

MAX_CONFIRM: Final = 100
"""Failures in a row that a rule may ask for; our limit. Nobody would ever hear of more."""

MAX_HOLD_S: Final = 31 * 86400.0
"""Seconds that one stage may hold a notification; our limit. More is a mistake: nobody would hear of it."""


def _at_most_a_month(seconds: float) -> float:
    if seconds > MAX_HOLD_S:
        raise ValueError("should be at most 31d: nobody would hear of an event for longer")
    return seconds


HoldDuration = Annotated[PositiveDuration, AfterValidator(_at_most_a_month)]
"""A time for which a stage holds notifications."""

GROUP_WORDS: Final = ("project", "task", "workflow", "sandbox", "rule", "type", "severity", "error")
"""The words of ``group.by``; any other entry is a template."""


def _group_entry(entry: str) -> str:
    if entry not in GROUP_WORDS and "{" not in entry:
        hint = did_you_mean(entry, GROUP_WORDS)
        raise ValueError(f"should be {', '.join(GROUP_WORDS)}, or a template with {{{{ }}}}{hint}")
    return entry


class GroupConfig(Table):
    """``group``: one message for many events with the same values of ``by``."""

    by: Annotated[tuple[Annotated[Template, AfterValidator(_group_entry)], ...], Field(min_length=1)] = Field(
        description=f"the values that the events of one message share: {', '.join(GROUP_WORDS)}, or templates",
        examples=[["project", "task"]],
    )
    wait: HoldDuration = Field(30.0, description="how long the first event waits for others")
    every: HoldDuration = Field(300.0, description="the pause between two messages of one group")


class ThrottleConfig(Table):
    """``throttle``: at most ``limit`` messages to each destination in a window of ``per``."""

    limit: Annotated[StrictInt, Field(ge=1)] = Field(description="how many messages a window allows")
    per: HoldDuration = Field(
        description="the length of a window; the messages above the limit become one summary at its end"
    )


class EscalationConfig(Table):
    """``[[rules.escalate]]``: further people while trouble is neither acknowledged nor over."""

    after: HoldDuration = Field(description="how long after the first message they are told")
    notify: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="destinations, as slack.lead", examples=[["slack.lead"]]
    )


Flip = Literal["first_failure", "recovered", "still_failing"]
"""A change of a subject of which a rule with ``on`` tells, or that there is none for a long time."""
FIRST_FAILURE: Final[Flip] = "first_failure"
RECOVERED: Final[Flip] = "recovered"
STILL_FAILING: Final[Flip] = "still_failing"
REMIND_EVERY_S: Final = 86400.0
"""The default of ``remind_every``."""
HOLD_AT_MOST_S: Final = 3600.0
"""The default of ``hold_at_most``."""


class QuietConfig(Table):
    """``[quiet.night]``: hours in which notifications wait.

    Quiet begins at ``start`` on each of ``days``, and ends when the clock next shows ``end``.
    """

    start: ClockTime = Field(alias="from", description="the time at which quiet begins")
    end: ClockTime = Field(alias="to", description="the time at which it ends; the same as from: a day later")
    days: Weekdays = Field(WEEKDAYS, description="the days on which quiet begins; by default every day")
    tz: TimeZone = Field(description="the time zone of both times, by its name")
    then: Literal["digest", "each", "drop"] = Field(
        "digest",
        description="digest: one message about all that waited; each: every notification; drop: nothing waits",
    )
    exceptions: tuple[Severity, ...] = Field(
        (Severity.CRITICAL,), alias="except", description="severities that do not wait"
    )


def _destinations(value: object) -> object:
    if value == NOBODY:
        return ()
    if value in ([], ()):
        raise ValueError(f'should not be empty; a rule that tells nobody has notify = "{NOBODY}"')
    if isinstance(value, str):
        raise ValueError(f'should be a list of destinations, as ["slack.team"], or "{NOBODY}"')
    return value


class RuleConfig(Table):
    """``[[rules]]``: sends events to destinations, under a condition and with texts of its own.

    ``notify`` is empty for a rule that keeps its events from later rules and tells nobody.
    """

    name: NonEmptyText = Field(description="the name of the rule; must be unique")
    events: Annotated[tuple[EventGlob, ...], Field(min_length=1)] = Field(
        description="globs over event types, or over family/type if they contain a slash"
    )
    projects: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="globs over project id and name; by default every project"
    )
    when: Expression | None = Field(
        None, description="a Jinja2 expression over event, run and project; the rule applies if it is true"
    )
    notify: Annotated[
        tuple[str, ...],
        BeforeValidator(_destinations),
        WithJsonSchema(
            {"anyOf": [{"const": NOBODY}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
        ),
    ] = Field(
        description=f'destinations, as slack.team; "{NOBODY}" keeps the events from all later rules',
        examples=[["slack.team"], NOBODY],
    )
    severity: Severity | None = Field(
        None, description="the severity of the notifications; by default that of the event type"
    )
    mention: tuple[Template, ...] = Field(
        (),
        description="people to mention, for destinations that support it; each is a Jinja2 template",
        examples=[["here"], ["{{ event.wire.owner }}"]],
    )
    title: Template | None = Field(None, description="a Jinja2 template; every event type has a good default")
    body: Template | None = Field(None, description="a Jinja2 template; every event type has a good default")
    subject: Template | None = Field(
        None,
        description="the name of the thing that runs again and again, a template; by default that of the task",
        examples=["{{ run.name.split('-')[0] }}"],
    )
    settle: HoldDuration | None = Field(
        None,
        description="a failure counts only if no new attempt of its run, or new run of its subject, begins "
        "within this time",
    )
    on: Annotated[tuple[Flip, ...], Field(min_length=1)] | None = Field(
        None,
        description="the changes of a subject that are told: first_failure, the first failure after a success; "
        "recovered, the success after it; still_failing, a reminder each remind_every",
        examples=[["first_failure", "recovered"]],
    )
    confirm: Annotated[StrictInt, Field(ge=1, le=MAX_CONFIRM)] | None = Field(
        None, description="with on: how many failures, or successes, in a row make a change; by default 1"
    )
    remind_every: PositiveDuration | None = Field(
        None, description="with still_failing in on: the pause between two reminders; by default 24h"
    )
    tell_end: StrictBool = Field(
        True, description="whoever was told of trouble is told of its end; false switches that off"
    )
    held_back_by: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)] | None = Field(
        None,
        description="names of rules: while trouble of one of them is open in the same workflow execution or "
        "sandbox, else in the same project, the events of this rule wait",
    )
    hold_at_most: HoldDuration | None = Field(
        None, description="with held_back_by: how long they wait at most; by default 1h"
    )
    once_per: Template | None = Field(
        None, description="at most one notification for each value of this template, or one each cooldown"
    )
    cooldown: PositiveDuration | None = Field(
        None, description="the pause after a notification of the rule, or of the same value of once_per"
    )
    group: GroupConfig | None = Field(None, description="one message for many events")
    throttle: ThrottleConfig | None = Field(None, description="at most so many messages to a destination")
    quiet: NonEmptyText | None = Field(
        None, description="the name of a table [quiet.NAME]: hours in which notifications of the rule wait"
    )

    escalate: tuple[EscalationConfig, ...] = Field(
        (), description="further people who are told while the trouble is neither acknowledged nor over"
    )

    @property
    def notifies_nobody(self) -> bool:
        """True if the rule only keeps its events from later rules."""
        return not self.notify
