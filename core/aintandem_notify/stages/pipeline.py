"""The stages of a notification in their order, each as a function of values.

``settle → on → silences → held_back_by → once_per → group → throttle → quiet``. The unit that a stage holds goes
on as a whole, and is rendered when it is told.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from aintandem_notify.config.models import Config, EpisodesConfig
from aintandem_notify.config.rule_config import QuietConfig
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Notification, Project, Severity
from aintandem_notify.domain.runs import Run
from aintandem_notify.domain.subjects import templated_subject_of
from aintandem_notify.rules.effective_rules import NO_STAGES, EffectiveRule, Stages, resolve_rules
from aintandem_notify.stages.quiet_hours import quiet_until
from aintandem_notify.stages.trouble import FAILURE_TYPES, trouble_number
from aintandem_notify.stages.values import StageValues


class Stage(IntEnum):
    """The stages in their order."""

    SETTLE = 1
    ON = 2
    SILENCES = 3
    HELD_BACK_BY = 4
    ONCE_PER = 5
    GROUP = 6
    THROTTLE = 7
    QUIET = 8

    @property
    def label(self) -> str:
        """The stage's key in a config."""
        return "silence" if self is Stage.SILENCES else self.name.lower()


class WindowKey(NamedTuple):
    """Identifies a window: of a rule's group, throttle or ``once_per``, at one destination."""

    stage: Stage
    destination: str
    key: str


class Window(NamedTuple):
    """An open window; ``passed`` is the number of messages that it has let pass."""

    ends_at: datetime
    passed: int = 0


class Hold(NamedTuple):
    """Wait in ``stage`` until ``until``; all with the same ``key`` at the destination are released together."""

    stage: Stage
    key: str
    until: datetime


class Drop(NamedTuple):
    """Never told. ``until``: when the stage will let the next one pass; None if it is not known."""

    stage: Stage
    reason: str
    until: datetime | None = None


class Deliver(NamedTuple):
    """Told now."""


Outcome = Hold | Drop | Deliver


@dataclass(frozen=True, slots=True)
class Unit:
    """One or more notifications of one rule at one destination that go through the stages together.

    ``once_value`` and ``group_value`` are the rendered values of a single notification; without one, that stage is
    not asked. ``until_settled``: a new attempt of its run until then would end it; None if it need not settle.
    ``held_since``: when a stage began to hold the first of them; None for a new one. ``is_end``: it tells of the
    end of an episode to those who were told of it, so nothing drops it.
    """

    rule: str
    destination: str
    severities: frozenset[Severity]
    once_value: str | None = None
    group_value: str | None = None
    until_settled: datetime | None = None
    held_since: datetime | None = None
    is_end: bool = False

    def window(self, stage: Stage) -> WindowKey:
        """The key of its window in ``stage``, which is also the key of its hold there."""
        value = {Stage.ONCE_PER: self.once_value, Stage.GROUP: self.group_value}.get(stage)
        return WindowKey(stage, self.destination, f"{self.rule}\n{value or ''}")


_STAGES_OF_ENDS: Final = (Stage.GROUP, Stage.THROTTLE, Stage.QUIET)

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Windows = MutableMapping[WindowKey, Window]
"""The windows by key; a window that has not been opened is not in it."""


class StagePolicy:
    """The stages of a config's rules; ``keep_s`` is how long ``once_per`` remembers. It has no state."""

    def __init__(
        self,
        rules: Sequence[EffectiveRule] = (),
        quiet: Mapping[str, QuietConfig] = _NOTHING,
        quiet_of_destination: Mapping[str, str | None] = _NOTHING,
        keep_s: float = 0.0,
        expire_s: float = EpisodesConfig().expire,
    ) -> None:
        # Sets are in no order, and in another one in each process.
        ordered = [(sorted(rule.types), replace(rule, types=frozenset())) for rule in rules]
        self.config_hash: Final = blake2b(
            repr((ordered, quiet, quiet_of_destination, expire_s)).encode(), digest_size=8
        ).hexdigest()
        """Changes with the rules and their stages; the same in every process."""
        self._stages = {rule.name: rule.stages for rule in rules}
        self._values = {rule.name: StageValues(rule) for rule in rules if rule.stages != NO_STAGES}
        self._quiet = quiet
        self._quiet_of_destination = quiet_of_destination
        self._keep = timedelta(seconds=keep_s)
        self._destinations = {rule.name: rule.destinations for rule in rules}
        self.expire_s: Final = expire_s
        """Seconds after the last trouble of an episode at which it is over."""
        self._templated = {rule.name: rule.stages for rule in rules if rule.stages.subject is not None}
        self.is_empty: bool = not any(self._quiet_of_destination.values()) and all(
            stages == NO_STAGES for stages in self._stages.values()
        )
        """True if no rule and no destination has a stage: then only silences can hold a notification."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """The stages of ``config``."""
        quiet_of_destination = {name: instance.common.quiet for name, instance in config.instances.items()}
        return cls(
            resolve_rules(config), config.quiet, quiet_of_destination, config.store.keep, config.episodes.expire
        )

    def stages(self, rule: str) -> Stages:
        """The stages of the rule; none if the config has no such rule any more."""
        return self._stages.get(rule, NO_STAGES)

    def destinations(self, rule: str) -> tuple[str, ...]:
        """The destinations of the rule; none if the config has no such rule any more."""
        return self._destinations.get(rule, ())

    def subject_number(self, notification: Notification) -> int | None:
        """The number of the trouble that the notification is about, see ``stages.trouble``; None if none."""
        number = trouble_number(notification.event, notification.run)
        if number is None or notification.event.type not in FAILURE_TYPES:
            return number
        templated = self.templated_numbers(
            notification.event, notification.run, notification.project, rules=(notification.rule,)
        )
        return templated.get(notification.rule, number)

    def templated_numbers(
        self, event: Event, run: Run | None, project: Project | None, rules: Iterable[str] | None = None
    ) -> dict[str, int]:
        """By rule that names its subject by a template, the number of the subject of a run; of ``rules`` only."""
        names = self._templated if rules is None else [name for name in rules if name in self._templated]
        found: dict[str, int] = {}
        for name in names:
            value = self._values[name].subject_value(event, run, project)
            if value is not None and event.project_id is not None:
                found[name] = templated_subject_of(event.project_id, name, value)
        return found

    @property
    def has_causes(self) -> bool:
        """True if trouble of one rule holds back the events of another."""
        return any(stages.held_back_by for stages in self._stages.values())

    @property
    def rules_with_timers(self) -> list[str]:
        """The rules that remind of trouble, or escalate it."""
        return [name for name, stages in self._stages.items() if stages.reminds or stages.escalate]

    @property
    def settles_templated(self) -> bool:
        """True if failures settle by a subject that a template names, so that starts must be noted."""
        return any(stages.settle is not None for stages in self._templated.values())

    def has_windows(self, rule: str) -> bool:
        """True if windows decide about notifications of the rule."""
        stages = self.stages(rule)
        return stages.is_once or stages.group is not None or stages.throttle is not None

    def is_obsolete(self, stage: Stage, rule: str) -> bool:
        """True if the config does not let this stage hold notifications of the rule any more.

        Quiet hours may have other times now, so these count, too: they are asked again.
        """
        stages = self.stages(rule)
        match stage:
            case Stage.SETTLE:
                return stages.settle is None
            case Stage.GROUP:
                return stages.group is None
            case Stage.THROTTLE:
                return stages.throttle is None
            case Stage.HELD_BACK_BY:
                return not stages.held_back_by
            case Stage.QUIET:
                return True
            case _:
                return False

    def unit(self, notification: Notification, destination: str) -> Unit:
        """A new notification at one of its destinations."""
        values = self._values.get(notification.rule)
        event, run = notification.event, notification.run
        is_failure = run is not None and event.type in FAILURE_TYPES
        return Unit(
            notification.rule,
            destination,
            frozenset({notification.severity}),
            once_value=None if values is None else values.once_value(notification),
            group_value=None if values is None else values.group_value(notification),
            until_settled=self.settled_at(notification.rule, event.timestamp) if is_failure else None,
        )

    def settled_at(self, rule: str, occurred_at: datetime) -> datetime | None:
        """The time from which a failure at ``occurred_at`` counts; None if the rule does not let it settle."""
        settle = self.stages(rule).settle
        return None if settle is None else occurred_at + timedelta(seconds=settle)

    def settling(self, unit: Unit) -> Hold:
        """The hold of a failure that has to settle first."""
        assert unit.until_settled is not None  # noqa: S101  # the caller has looked
        return Hold(Stage.SETTLE, unit.window(Stage.SETTLE).key, unit.until_settled)

    def window_keys(self, unit: Unit) -> Iterator[WindowKey]:
        """The windows that decide about the unit."""
        stages = self.stages(unit.rule)
        if unit.once_value is not None:
            yield unit.window(Stage.ONCE_PER)
        if unit.group_value is not None:
            yield unit.window(Stage.GROUP)
        if stages.throttle is not None:
            yield unit.window(Stage.THROTTLE)

    def proceed(self, unit: Unit, after: Stage, at: datetime, now: datetime, windows: Windows) -> Outcome:
        """The effect of the stages behind ``after``, as of the time ``at``.

        It may be later ``now``, if the agent was down; quiet hours are those of now. Opens and counts in
        ``windows``, except for a unit that quiet hours drop: nobody is told of it, so it is not the one for its
        value. Silences are asked by ``silences.silence_of``: they look at each notification of a unit.
        """
        before = {key: windows.get(key) for key in self.window_keys(unit)}
        stages = _STAGES_OF_ENDS if unit.is_end else tuple(Stage)
        outcome = self._ask_all((stage for stage in stages if stage > after), unit, at, now, windows)
        if isinstance(outcome, Drop) and outcome.stage is Stage.QUIET:
            for key, window in before.items():
                windows.pop(key, None)
                if window is not None:
                    windows[key] = window
        return outcome

    def ask_values(self, unit: Unit, at: datetime, windows: Windows) -> Outcome:
        """As ``proceed``, but asks only the stages that look at the values of a single notification."""
        return self._ask_all((Stage.ONCE_PER, Stage.GROUP), unit, at, at, windows)

    def _ask_all(
        self, stages: Iterable[Stage], unit: Unit, at: datetime, now: datetime, windows: Windows
    ) -> Outcome:
        for stage in stages:
            outcome = self.ask(stage, unit, at, now, windows)
            if not isinstance(outcome, Deliver):
                return outcome
        return Deliver()

    def ask(self, stage: Stage, unit: Unit, at: datetime, now: datetime, windows: Windows) -> Outcome:
        """The effect of one stage behind the silences, as in ``proceed``."""
        stages = self.stages(unit.rule)
        match stage:
            case Stage.ONCE_PER if unit.once_value is not None and stages.is_once:
                return self._ask_once_per(unit, at, windows)
            case Stage.GROUP if unit.group_value is not None and stages.group is not None:
                key = unit.window(stage)
                window = windows.get(key)
                if window is None or window.ends_at <= at:
                    windows[key] = window = Window(at + timedelta(seconds=stages.group.wait))
                return Hold(stage, key.key, window.ends_at)
            case Stage.THROTTLE if stages.throttle is not None:
                key = unit.window(stage)
                window = windows.get(key)
                if window is None or window.ends_at <= at:
                    window = Window(at + timedelta(seconds=stages.throttle.per))
                if window.passed >= stages.throttle.limit:
                    return Hold(stage, key.key, window.ends_at)
                windows[key] = window._replace(passed=window.passed + 1)
                return Deliver()
            case Stage.QUIET:
                return self.ask_quiet(unit, now)
            case _:
                return Deliver()

    def _ask_once_per(self, unit: Unit, at: datetime, windows: Windows) -> Outcome:
        stages, key = self.stages(unit.rule), unit.window(Stage.ONCE_PER)
        window = windows.get(key)
        if window is not None and at < window.ends_at:
            reason = "cooldown" if stages.once_per is None else "once_per: the same value was told"
            return Drop(Stage.ONCE_PER, reason, window.ends_at)
        pause = self._keep if stages.cooldown is None else timedelta(seconds=stages.cooldown)
        windows[key] = Window(at + pause, 1)
        return Deliver()

    def ask_quiet(self, unit: Unit, now: datetime) -> Outcome:
        """The effect of the quiet hours of the unit's rule and destination.

        Only a unit that came in these hours is dropped: one that was held before them waits for their end.
        """
        names = {self.stages(unit.rule).quiet, self._quiet_of_destination.get(unit.destination)}
        outcome: Outcome = Deliver()
        for name, hours in self._quiet.items():
            if name not in names:
                continue
            end = None if not unit.severities.isdisjoint(hours.exceptions) else quiet_until(hours, now)
            if end is None:
                continue
            if hours.then == "drop" and not unit.is_end and quiet_until(hours, unit.held_since or now) is not None:
                return Drop(Stage.QUIET, f"quiet hours {name}", end)
            if isinstance(outcome, Deliver) or (isinstance(outcome, Hold) and end > outcome.until):
                outcome = Hold(Stage.QUIET, name, end)
        return outcome

    def quiet_names(self, unit: Unit) -> list[str]:
        """The quiet hours of the unit's rule and destination."""
        names = (self.stages(unit.rule).quiet, self._quiet_of_destination.get(unit.destination))
        return [name for name in dict.fromkeys(names) if name is not None]

    def value_errors(self, notification: Notification) -> Mapping[Stage, str]:
        """The errors that the templates of ``once_per`` and ``group`` raise for the notification, by stage."""
        values = self._values.get(notification.rule)
        if values is None:
            return {}
        found = {Stage.ONCE_PER: values.once_error(notification), Stage.GROUP: values.group_error(notification)}
        return {stage: error for stage, error in found.items() if error is not None}

    def is_digest(self, quiet_name: str) -> bool:
        """True if all that waited for the end of these quiet hours is told as one; also if they are gone."""
        hours = self._quiet.get(quiet_name)
        return hours is None or hours.then != "each"

    def reopen(self, stage: Stage, unit: Unit, due: datetime, windows: Windows) -> None:
        """Open the window that follows the release of a group or a throttle at ``due``."""
        stages = self.stages(unit.rule)
        if stage is Stage.GROUP and stages.group is not None:
            windows[unit.window(stage)] = Window(due + timedelta(seconds=stages.group.every))
        elif stage is Stage.THROTTLE and stages.throttle is not None:
            windows[unit.window(stage)] = Window(due + timedelta(seconds=stages.throttle.per), 1)
