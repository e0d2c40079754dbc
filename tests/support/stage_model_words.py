"""The words of the model of the stages, and its own reckoning of quiet hours."""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
STAGES = ("settle", "silence", "once_per", "group", "throttle", "quiet")
RANKS = ("info", "success", "warning", "error", "critical")
SEVERITIES = {"task_completed": "success", "task_failed": "error", "task_cancelled": "warning"}
ENDS = {"task_completed": "completed", "task_failed": "failed", "task_cancelled": "cancelled"}


@dataclass(frozen=True)
class Night:
    """Quiet hours; ``days`` as 0 for Monday."""

    name: str
    start: time
    end: time
    days: tuple[int, ...]
    zone: str
    then: str
    exceptions: tuple[str, ...]


@dataclass(frozen=True)
class RuleSketch:
    """A rule; times in seconds. Without ``notify`` it is for nobody. ``by`` has words of ``group``."""

    name: str
    types: tuple[str, ...]
    notify: tuple[str, ...]
    severity: str | None = None
    settle: int | None = None
    once: str | None = None
    cooldown: int | None = None
    by: tuple[str, ...] = ()
    wait: int = 30
    every: int = 300
    limit: int | None = None
    per: int = 0
    quiet: str | None = None
    on: tuple[str, ...] | None = None
    confirm: int = 1
    tell_end: bool = False


@dataclass(frozen=True)
class Setup:
    """A config: rules in their order, and the quiet hours of destinations by name."""

    rules: tuple[RuleSketch, ...]
    nights: tuple[Night, ...] = ()
    quiet_of: tuple[tuple[str, str], ...] = ()
    keep: int = 30 * 86400

    def rule(self, name: str) -> RuleSketch | None:
        return next((rule for rule in self.rules if rule.name == name), None)


@dataclass(frozen=True)
class Happening:
    """An event of a task at ``at``; ``task`` is its name."""

    type: str
    project: str
    run: str
    at: datetime
    task: str
    error: str = ""


@dataclass(frozen=True)
class Hush:
    """A silence: globs by name."""

    id: str
    matchers: tuple[tuple[str, str], ...]
    begins: datetime
    expires: datetime


@dataclass
class Attempt:
    number: int
    begun: datetime
    state: str = "running"
    ended: datetime | None = None


@dataclass
class Trouble:
    """Failures of one task that a rule has taken: how many, the successes in a row since, and who was told."""

    rule: str
    begun: datetime
    last: datetime
    failures: int = 0
    successes: int = 0
    is_confirmed: bool = False
    is_over: bool = False
    told: list[str] = field(default_factory=list)


@dataclass
class Item:
    """A notification at one destination. It is held while ``stage`` is not empty.

    ``unit``: equal for those that are told as one.
    """

    number: int
    event: Happening
    attempt: int
    rule: str
    destination: str
    severity: str
    arrived: datetime
    once: str | None
    group: tuple[str, ...] | None
    unit: int
    stage: str = ""
    key: object = ""
    due: datetime = NEVER
    trouble: Trouble | None = None
    is_end: bool = False
    is_word: bool = False

    @property
    def label(self) -> str:
        """The title; words about an end have one of their own."""
        begin = "fixed " if self.is_word else ""
        return f"{begin}{self.event.project}/{self.event.run}#{self.attempt} {self.event.type}"


@dataclass(frozen=True, order=True)
class Told:
    """A message: ``kind`` is "single" or the stage that made one of several; ``labels`` name its notifications."""

    at: datetime
    destination: str
    kind: str
    labels: tuple[str, ...]
    severity: str
    failed: int = 0
    still_open: int = 0


@dataclass
class Window:
    ends: datetime
    passed: int = 0


def moments(naive: datetime, zone: ZoneInfo) -> list[datetime]:
    """The moments at which the clock of the zone shows ``naive``; a skipped time counts as an hour later."""
    about = naive.replace(tzinfo=UTC)
    offsets = {(about + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-30, 31, 3)}
    shown = sorted(
        moment
        for offset in offsets
        if offset is not None and (moment := about - offset).astimezone(zone).replace(tzinfo=None) == naive
    )
    return shown or moments(naive + timedelta(hours=1), zone)


def hours_of(night: Night, day: date) -> tuple[datetime, datetime] | None:
    """The quiet hours that begin on ``day``."""
    if day.weekday() not in night.days:
        return None
    zone = ZoneInfo(night.zone)
    last = day if night.end > night.start else day + timedelta(days=1)
    return moments(datetime.combine(day, night.start), zone)[0], moments(datetime.combine(last, night.end), zone)[
        -1
    ]


def quiet_end(night: Night, now: datetime) -> datetime | None:
    """When the quiet hours end in which ``now`` is; those that touch are one."""
    today = now.astimezone(ZoneInfo(night.zone)).date()
    spans = [span for offset in range(-3, 9) if (span := hours_of(night, today + timedelta(days=offset)))]
    end: datetime | None = None
    for begin, until in sorted(spans):
        if begin <= (end or now) < until:
            end = until
    return end


def hits(hush: Hush, item: Item) -> bool:
    names = {
        "project": [item.event.project],
        "task": [item.event.run, item.event.task],
        "rule": [item.rule],
        "destination": [item.destination],
        "type": [item.event.type],
    }
    return all(any(fnmatchcase(name, glob) for name in names[kind]) for kind, glob in hush.matchers)


def note_failure(
    troubles: dict[tuple[str, str, str], Trouble], event: Happening, rule: RuleSketch
) -> tuple[Trouble, bool]:
    """The trouble after the failure, and whether the rule takes it."""
    place = (rule.name, event.project, event.task)
    trouble = troubles.setdefault(place, Trouble(rule.name, event.at, event.at))
    was_confirmed = trouble.is_confirmed
    trouble.failures, trouble.successes = trouble.failures + 1, 0
    trouble.last = max(trouble.last, event.at)
    trouble.is_confirmed = was_confirmed or trouble.failures >= rule.confirm
    if rule.on is None:
        return trouble, True
    return trouble, not was_confirmed and trouble.is_confirmed and "first_failure" in rule.on


def group_of(event: Happening, rule: RuleSketch, severity: str) -> tuple[str, ...]:
    """The values of the group."""
    values = {
        "project": event.project,
        "task": event.task,
        "type": event.type,
        "severity": severity,
        "rule": rule.name,
        "error": re.sub(r"\d+", "#", event.error),
    }
    return tuple(values[word] for word in rule.by)
