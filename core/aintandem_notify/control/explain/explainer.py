"""Explains how the rules of a config stand to an event, and the effect of their stages. Reads no store."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aintandem_notify.config import Config
from aintandem_notify.control.explain.schemas import (
    Fate,
    FateResponse,
    RuleVerdictResponse,
    StageStepResponse,
)
from aintandem_notify.control.explain.trouble import TroubleState, ask_causes, ask_on, describe_cause
from aintandem_notify.domain.event_redaction import EventContext, redact_event_context
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.rules import RoutedNotification, Router, formats
from aintandem_notify.rules.effective_rules import RuleTrace, Verdict
from aintandem_notify.rules.scope import scope
from aintandem_notify.rules.templates.templating import names_in_condition
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import (
    Deliver,
    Drop,
    Hold,
    Outcome,
    Stage,
    StagePolicy,
    Unit,
    Window,
    WindowKey,
)
from aintandem_notify.stages.silences import Silence, silence_of
from aintandem_notify.stages.values import label

MAX_VALUE_CHARACTERS: Final = 80
"""Characters of one value that a condition reads."""
MAX_LISTED: Final = 4
"""Event types of a rule that a reason names."""


@dataclass(frozen=True, slots=True)
class StageState:
    """The state that stages have beside the config: silences, open windows, how many wait, and episodes."""

    silences: Sequence[Silence] = ()
    windows: Callable[[Sequence[WindowKey]], Mapping[WindowKey, Window]] = lambda _keys: {}
    waiting: Callable[[Stage, str, str], int] = lambda _stage, _destination, _key: 0
    trouble: TroubleState = field(default_factory=TroubleState)


@dataclass(frozen=True, slots=True)
class Explainer:
    """The rules and stages of one config."""

    config: Config
    router: Router = field(init=False)
    policy: StagePolicy = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "router", Router(self.config))
        object.__setattr__(self, "policy", StagePolicy.of(self.config))

    def rules(self, context: EventContext) -> tuple[RuleVerdictResponse, ...]:
        """The decision of each rule about the event, in their order."""
        traces = self.router.trace(*context)
        shown = redact_event_context(context)
        return tuple(_rule_verdict(trace, traces[:position], shown) for position, trace in enumerate(traces))

    def fates_now(self, context: EventContext, now: datetime, state: StageState) -> tuple[FateResponse, ...]:
        """The fate of the event if it were received ``now``, for each rule and destination."""
        return tuple(self._fates(self.router.route(*context, now), context, now, state))

    def _fates(
        self, routed: Sequence[RoutedNotification], context: EventContext, now: datetime, state: StageState
    ) -> Iterator[FateResponse]:
        """The fates of these notifications; where a rule does not take the event, of those behind it, too."""
        for item in routed:
            for destination in item.destinations:
                fate = self._fate_now(item.notification, destination, now, state)
                yield fate
                if fate.fate is Fate.DROPPED and fate.stage == Stage.ON.label:
                    behind = self.router.route_behind(item.notification.rule, destination, *context, now)
                    yield from self._fates(behind, context, now, state)

    def _fate_now(
        self, notification: Notification, destination: str, now: datetime, state: StageState
    ) -> FateResponse:
        steps = tuple(self._steps(notification, destination, now, state))
        stopping = next((step for step in steps if step.result != "pass"), None)
        fate = Fate.NOW if stopping is None else Fate.HELD
        dropping = next((step for step in steps if step.result == "drop"), None)
        last = steps[-1] if steps else None
        return FateResponse(
            rule=notification.rule,
            destination=destination,
            fate=Fate.DROPPED if dropping is not None else fate,
            stage=None if stopping is None else (dropping or stopping).stage,
            reason=None if stopping is None else (dropping or stopping).reason,
            until=None if stopping is None else _last_until(steps) if dropping is None else dropping.until,
            at=None if last is None or dropping is not None else (last.until or last.at),
            steps=steps,
        )

    def _steps(
        self, notification: Notification, destination: str, now: datetime, state: StageState
    ) -> Iterator[StageStepResponse]:
        """The effect of each stage that the rule, the destination or a silence gives, one after the other."""
        unit, facts = self.policy.unit(notification, destination), Facts.of(notification, destination)
        windows = dict(state.windows(list(self.policy.window_keys(unit))))
        errors = self.policy.value_errors(notification)
        at = now
        for stage in Stage:
            if not self._is_asked(stage, unit, state.silences):
                continue
            if stage is Stage.ON:
                outcome, reason = ask_on(self.policy, notification, state.trouble)
            elif stage is Stage.HELD_BACK_BY:
                outcome, reason = ask_causes(self.policy, facts, now, at, state.trouble)
            else:
                outcome, silence = self._ask(stage, unit, facts, at, windows, state.silences)
                reason = self._reason(stage, unit, outcome, silence, windows)
            error = errors.get(stage)
            yield StageStepResponse(
                stage=stage.label,
                result=_RESULTS[type(outcome)],
                reason=_raised(stage, error) if error else reason,
                at=at,
                until=None if isinstance(outcome, Deliver) else outcome.until,
                waiting=_waiting(stage, destination, outcome, state),
            )
            if isinstance(outcome, Drop):
                return
            if isinstance(outcome, Hold):
                at = max(at, outcome.until)

    def _is_asked(self, stage: Stage, unit: Unit, silences: Sequence[Silence]) -> bool:
        stages = self.policy.stages(unit.rule)
        match stage:
            case Stage.SETTLE:
                return stages.settle is not None
            case Stage.ON:
                return stages.on is not None
            case Stage.SILENCES:
                return bool(silences)
            case Stage.HELD_BACK_BY:
                return bool(stages.held_back_by)
            case Stage.ONCE_PER:
                return stages.once_per is not None or stages.cooldown is not None
            case Stage.GROUP:
                return stages.group is not None
            case Stage.THROTTLE:
                return stages.throttle is not None
            case Stage.QUIET:
                return bool(self.policy.quiet_names(unit))
            case _:
                return False

    def _ask(
        self,
        stage: Stage,
        unit: Unit,
        facts: Facts,
        at: datetime,
        windows: dict[WindowKey, Window],
        silences: Sequence[Silence],
    ) -> tuple[Outcome, Silence | None]:
        if stage is Stage.SETTLE:
            is_over = unit.until_settled is None or unit.until_settled <= at
            return (Deliver() if is_over else self.policy.settling(unit)), None
        if stage is Stage.SILENCES:
            silence = silence_of(facts, silences, at)
            return (Deliver() if silence is None else Hold(stage, silence.id, silence.expires_at)), silence
        return self.policy.ask(stage, unit, at, at, windows), None

    def _reason(
        self,
        stage: Stage,
        unit: Unit,
        outcome: Outcome,
        silence: Silence | None,
        windows: Mapping[WindowKey, Window],
    ) -> str:
        if isinstance(outcome, Drop):
            return outcome.reason
        if isinstance(outcome, Hold):
            return hold_reason(stage, outcome.key, unit.group_value, silence)
        match stage:
            case Stage.SETTLE:
                return "only failures settle" if unit.until_settled is None else "it has settled already"
            case Stage.SILENCES:
                return "no silence matches"
            case Stage.ONCE_PER:
                value = label(unit.once_value or "")
                return f"the first with {value}" if value else "none was told lately"
            case Stage.THROTTLE:
                throttle = self.policy.stages(unit.rule).throttle
                passed = windows[unit.window(stage)].passed if unit.window(stage) in windows else 0
                return f"the {passed}. of {throttle.limit}" if throttle is not None else ""
            case Stage.QUIET:
                return f"quiet hours {' and '.join(self.policy.quiet_names(unit))} do not hold it now"
            case _:
                return "it is not asked"


def _waiting(stage: Stage, destination: str, outcome: Outcome, state: StageState) -> int:
    """The number that waits for the same message; failures that settle are told one by one."""
    if not isinstance(outcome, Hold) or stage is Stage.SETTLE:
        return 0
    return state.waiting(stage, destination, outcome.key)


_RESULTS: Final[Mapping[type[Outcome], str]] = {Deliver: "pass", Hold: "hold", Drop: "drop"}


def hold_reason(
    stage: Stage, key: str, group_value: str | None, silence: Silence | None, cause: Episode | None = None
) -> str:
    """Why ``stage`` holds something under ``key``, in words."""
    match stage:
        case Stage.SETTLE:
            return "a new attempt or run may begin"
        case Stage.SILENCES:
            return f"silence {key}" if silence is None else describe_silence(silence)
        case Stage.HELD_BACK_BY:
            return f"trouble {key}" if cause is None else describe_cause(cause)
        case Stage.GROUP:
            value = label(group_value or "")
            return f"it waits for others of {value}" if value else "it waits for others of its group"
        case Stage.THROTTLE:
            return "the rule has told enough for now"
        case Stage.QUIET:
            return f"quiet hours {key}"
        case _:
            return stage.label


def describe_silence(silence: Silence) -> str:
    """The silence with its owner and reason: ``silence 3f9a2b1c of ana (a migration)``."""
    owner = f" of {silence.owner}" if silence.owner else ""
    return f"silence {silence.id}{owner}" + (f" ({silence.reason})" if silence.reason else "")


def _raised(stage: Stage, error: str) -> str:
    return f"its {stage.label} raised {error}, so it is not asked"


def _last_until(steps: Sequence[StageStepResponse]) -> datetime | None:
    return max((step.until for step in steps if step.until is not None), default=None)


def _rule_verdict(trace: RuleTrace, earlier: Sequence[RuleTrace], context: EventContext) -> RuleVerdictResponse:
    rule = trace.rule
    is_evaluated = rule.when is not None and trace.verdict in (Verdict.MATCH, Verdict.WHEN_FALSE)
    values = _values(rule.when, context) if rule.when is not None and is_evaluated else {}
    return RuleVerdictResponse(
        rule=rule.name,
        verdict=trace.verdict.value,
        reason=_verdict_reason(trace, earlier, values),
        destinations=trace.recipients if trace.verdict is Verdict.MATCH else rule.destinations,
        when=rule.when,
        values=values,
    )


def _values(when: str, context: EventContext) -> dict[str, str]:
    names = scope(*context)
    return {
        f"{owner}.{name}": formats.one_line(_text(names[owner][name]), MAX_VALUE_CHARACTERS)
        for owner, name in names_in_condition(when)
    }


def _text(value: object) -> str:
    if value is None:
        return "none"
    return f'"{value}"' if isinstance(value, str) else formats.as_text(value)


def _verdict_reason(trace: RuleTrace, earlier: Sequence[RuleTrace], values: Mapping[str, str]) -> str:
    rule = trace.rule
    match trace.verdict:
        case Verdict.OTHER_TYPE:
            return f"it is for other events: {_types(trace)}"
        case Verdict.OTHER_PROJECT:
            return f"it is for the projects {', '.join(rule.projects or ())} only"
        case Verdict.TOO_MILD:
            return "it is for warnings and errors only"
        case Verdict.WHEN_FALSE:
            read = ", ".join(f"{name} is {value}" for name, value in values.items())
            when = formats.one_line(rule.when or "", MAX_VALUE_CHARACTERS)
            return f"its when is false ({when})" + (f": {read}" if read else "")
        case Verdict.SERVED:
            by = {name: before.rule.name for before in earlier for name in before.recipients if _is_match(before)}
            names = dict.fromkeys(by[name] for name in rule.destinations if name in by)
            if not names:
                return "the event is about its destination, or is for others only"
            return f"{_rules(names)} before it has its destinations"
        case Verdict.TAKEN:
            takers = _rules(before.rule.name for before in earlier if _is_match(before))
            return f"it is a default, and {takers} takes the event"
        case Verdict.NOBODY:
            return f"{_rules(before.rule.name for before in earlier if _is_nobody(before))} tells nobody"
        case Verdict.MATCH:
            because = f"; its when raised {trace.error}, so it counts as true" if trace.error else ""
            return ("it matches" if rule.destinations else "it matches, and tells nobody") + because


def _is_match(trace: RuleTrace) -> bool:
    return trace.verdict is Verdict.MATCH


def _is_nobody(trace: RuleTrace) -> bool:
    return _is_match(trace) and not trace.rule.destinations


def _rules(names: Iterable[str]) -> str:
    return f"the rule {', '.join(names)}"


def _types(trace: RuleTrace) -> str:
    names = [*sorted(trace.rule.types), *trace.rule.unknown_globs]
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "") if names else "no event"


def project_of(config: Config, project_id: str | None) -> Project | None:
    """The project with the name that the config gives it; the id is the name if it gives none."""
    if not project_id:
        return None
    name = next((entry.name for entry in config.projects if entry.id == project_id and entry.name), None)
    return Project(id=project_id, name=name or project_id)
