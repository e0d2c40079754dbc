"""``[[watches]]``: runs that stall, take too long, wait, do not come, or end too fast. Times are float seconds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, pairwise
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StrictFloat, StrictInt

from aintandem_notify.config.findings import Finding
from aintandem_notify.config.rule_config import HoldDuration, NonEmptyText, Table
from aintandem_notify.config.types.clock_times import TimeZone
from aintandem_notify.config.types.values import Duration, PositiveDuration


class WatchKind(StrEnum):
    """The kinds of trouble that a watch looks for."""

    STALLED = "stalled"
    OVERDUE = "overdue"
    QUEUED = "queued"
    PAUSED = "paused"
    MISSING = "missing"
    TOO_FAST = "too_fast"


_KINDS_BY_KEY: Final[Mapping[str, tuple[WatchKind, ...]]] = {
    "silent_for": (WatchKind.STALLED,),
    "no_progress_for": (WatchKind.STALLED,),
    "running_for": (WatchKind.OVERDUE,),
    "slower_than": (WatchKind.OVERDUE,),
    "waiting_for": (WatchKind.QUEUED, WatchKind.PAUSED),
    "remind_every": (WatchKind.QUEUED, WatchKind.PAUSED),
    "every": (WatchKind.MISSING,),
    "cron": (WatchKind.MISSING,),
    "tz": (WatchKind.MISSING,),
    "grace": (WatchKind.MISSING,),
    "faster_than": (WatchKind.TOO_FAST,),
}
_NEEDED_KEYS: Final[Mapping[WatchKind, tuple[str, ...]]] = {
    WatchKind.STALLED: ("silent_for", "no_progress_for"),
    WatchKind.OVERDUE: ("running_for", "slower_than"),
    WatchKind.QUEUED: ("waiting_for",),
    WatchKind.PAUSED: ("waiting_for",),
    WatchKind.MISSING: ("every", "cron"),
    WatchKind.TOO_FAST: ("faster_than",),
}
"""By kind: the keys of which a watch has at least one."""

GRACE_S: Final = 1800.0
"""Seconds for which a run that is expected may be late, without ``grace``."""

RUN_KEYS: Final = ("tasks", "workflows", "sandboxes")
"""The keys with globs over runs."""


def _fraction(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError("should be more than 0 and at most 1: 0.95 is slower than 95 % of the runs before")
    return value


def _factor(value: float) -> float:
    if not 0 < value <= 1000:
        raise ValueError("should be more than 0 and at most 1000")
    return value


Number = StrictFloat | StrictInt


class SlowerThan(Table):
    """``slower_than``: a limit from the last durations of the same task, workflow or sandbox."""

    quantile: Annotated[Number, AfterValidator(_fraction)] = Field(
        0.95, description="the part of the runs before that were faster"
    )
    times: Annotated[Number, AfterValidator(_factor)] = Field(2, description="how many times as long as those")
    at_least: Duration = Field(600.0, description="the shortest limit, for runs that are usually fast")


def _cron(expression: str) -> str:
    if len(expression.split()) != 5:
        raise ValueError(
            'should have five fields, as "0 6 * * mon-fri": minute, hour, day, month, day of the week'
        )
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"is no cron expression: {str(error).lower()}") from None
    except StopIteration:
        raise ValueError("never comes") from None
    return expression


Globs = Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]


class WatchConfig(Table):
    """``[[watches]]``: an event for a run that does not do as it should."""

    name: NonEmptyText = Field(description="the name of the watch; must be unique")
    kind: WatchKind = Field(
        description="stalled: silent or without progress; overdue: takes too long; queued, paused: waits too "
        "long; missing: did not start; too_fast: succeeded too soon"
    )
    tasks: Globs | None = Field(
        None, description="globs over name and id of tasks; without any globs, all runs are watched"
    )
    workflows: Globs | None = Field(None, description="globs over id of workflows and of their executions")
    sandboxes: Globs | None = Field(None, description="globs over id of sandboxes")
    projects: Globs | None = Field(None, description="globs over project id and name; by default every project")
    notify: Globs | None = Field(
        None,
        description="destinations, as slack.team; by default those of the rules, else who hears of a failure",
        examples=[["slack.team"]],
    )
    silent_for: HoldDuration | None = Field(None, description="stalled: no event at all for this long")
    no_progress_for: HoldDuration | None = Field(
        None, description="stalled: neither step nor progress has changed for this long"
    )
    running_for: HoldDuration | None = Field(None, description="overdue: running for this long")
    slower_than: SlowerThan | None = Field(None, description="overdue: slower than usual")
    waiting_for: HoldDuration | None = Field(None, description="queued, paused: for this long")
    remind_every: PositiveDuration | None = Field(
        None, description="queued, paused: the pause between two reminders; by default there are none"
    )
    every: HoldDuration | None = Field(None, description="missing: a run starts at least this often")
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None,
        description="missing: the times at which a run starts, as a cron expression",
        examples=["0 6 * * mon-fri"],
    )
    tz: TimeZone | None = Field(None, description="missing: the time zone of cron; by default UTC")
    grace: Duration | None = Field(None, description='missing: how late a run may be; by default "30m"')
    faster_than: PositiveDuration | None = Field(None, description="too_fast: succeeded sooner than this")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of ``cron``."""
        return self.tz or ZoneInfo("UTC")

    @property
    def grace_s(self) -> float:
        """Seconds for which an expected run may be late."""
        return GRACE_S if self.grace is None else self.grace

    def cron_times(self, after: datetime) -> Iterator[datetime]:
        """The times of ``cron`` after ``after``, aware UTC; none without it."""
        if self.cron is not None:
            for moment in CronSim(self.cron, after.astimezone(self.zone)):
                yield moment.astimezone(UTC)


def watch_findings(watches: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """The mistakes between the keys of each watch, and names that come twice."""
    names: set[str] = set()
    for index, watch in enumerate(watches):
        place = ("watches", index)
        name = watch.get("name")
        if isinstance(name, str) and name in names:
            yield Finding((*place, "name"), f"there is a watch {name} already")
        if isinstance(name, str):
            names.add(name)
        if watch.get("kind") not in tuple(WatchKind):
            continue
        kind = WatchKind(watch["kind"])
        for key, kinds in _KINDS_BY_KEY.items():
            if key in watch and kind not in kinds:
                yield Finding((*place, key), f"is for the kind {' or '.join(kinds)} only, and this one is {kind}")
        needed = _NEEDED_KEYS[kind]
        if not any(key in watch for key in needed):
            yield Finding(place, f"a watch of the kind {kind} needs {' or '.join(needed)}")
        for key in ("tasks", "sandboxes") if kind is WatchKind.PAUSED else ():
            if key in watch:
                yield Finding((*place, key), "has no effect: only workflows are paused")
        if kind is WatchKind.MISSING:
            yield from _missing_findings(index, watch)


def _missing_findings(index: int, watch: Mapping[str, Any]) -> Iterator[Finding]:
    if "every" in watch and "cron" in watch:
        yield Finding(("watches", index, "cron"), "cannot be combined with every; remove one of them")
    if "tz" in watch and "cron" not in watch:
        yield Finding(("watches", index, "tz"), "has no effect without cron")


def shortest_period(watch: WatchConfig) -> float | None:
    """Seconds of the shortest pause between two expected runs, as far as the next hundred show it."""
    if watch.every is not None:
        return watch.every
    times = list(islice(watch.cron_times(datetime(2026, 1, 1, tzinfo=UTC)), 100))
    return min(((after - before).total_seconds() for before, after in pairwise(times)), default=None)
