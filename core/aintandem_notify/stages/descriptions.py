"""Describes in words when a rule tells, and warns of stages that have no effect."""

from collections.abc import Iterator, Mapping
from typing import Final

from aintandem_notify.config.models import Config
from aintandem_notify.config.rule_config import QuietConfig
from aintandem_notify.config.types.clock_times import format_weekdays
from aintandem_notify.config.types.values import format_duration
from aintandem_notify.domain.runs import STATE_AFTER, RunState
from aintandem_notify.rules.effective_rules import EffectiveRule, Stages, resolve_rules

_FAILURES: Final = frozenset(event_type for event_type, state in STATE_AFTER.items() if state is RunState.FAILED)
_THEN: Final[Mapping[str, str]] = {"digest": ", then a digest", "each": ", then one by one", "drop": ""}


def when_told(stages: Stages, quiet: Mapping[str, QuietConfig]) -> str | None:
    """When a rule with these stages tells, as a sentence without an end; None if it tells at once."""
    parts: list[str] = []
    if stages.settle is not None:
        parts.append(f"failures after {format_duration(stages.settle)}, unless a new attempt has begun by then")
    if stages.once_per is not None or stages.cooldown is not None:
        pause = "" if stages.cooldown is None else f" in {format_duration(stages.cooldown)}"
        value = "" if stages.once_per is None else f" for each {stages.once_per}"
        parts.append(f"at most one{pause}{value}")
    if stages.group is not None:
        by = " and ".join(stages.group.by)
        wait, every = format_duration(stages.group.wait), format_duration(stages.group.every)
        parts.append(f"one message for each {by} after {wait}, then at most one in {every}")
    if stages.throttle is not None:
        per = format_duration(stages.throttle.per)
        parts.append(f"at most {stages.throttle.limit} in {per} to each destination, and the others as one")
    if stages.quiet is not None and stages.quiet in quiet:
        parts.append(describe_quiet(quiet[stages.quiet]))
    return "; ".join(parts) or None


def describe_quiet(hours: QuietConfig) -> str:
    """The quiet hours in words: ``held from 22:00 to 07:00 Europe/Berlin, then a digest``."""
    days = format_weekdays(hours.days)
    span = f"from {hours.start:%H:%M} to {hours.end:%H:%M} {hours.tz.key}{days and f' ({days})'}"
    exceptions = ", ".join(hours.exceptions)
    unless = f", unless {exceptions}" if exceptions else ""
    verb = "dropped" if hours.then == "drop" else "held"
    return f"{verb} {span}{unless}{_THEN[hours.then]}"


def quiet_destinations(config: Config) -> Iterator[tuple[str, str]]:
    """The destinations with quiet hours of their own, each with these in words."""
    for name, instance in config.instances.items():
        hours = config.quiet.get(instance.common.quiet or "")
        if hours is not None:
            yield name, describe_quiet(hours)


def stage_warnings(config: Config) -> list[str]:
    """One sentence for each stage that cannot work."""
    rules = resolve_rules(config)
    used = {instance.common.quiet for instance in config.instances.values()} | {
        rule.stages.quiet for rule in rules
    }
    return [
        *(
            f"quiet hours {name} are not used; no rule and no destination names them"
            for name in config.quiet
            if name not in used
        ),
        *(warning for rule in rules for warning in _useless_stages(rule)),
    ]


def _useless_stages(rule: EffectiveRule) -> Iterator[str]:
    if rule.stages.settle is not None and rule.types.isdisjoint(_FAILURES):
        yield f"rule {rule.name} has settle, and none of its events is a failure"
