"""Describes in words when a rule tells, and warns of stages that have no effect."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aintandem_notify.config.models import Config
from aintandem_notify.config.rule_config import FIRST_FAILURE, RECOVERED, STILL_FAILING, Flip, QuietConfig
from aintandem_notify.config.types.clock_times import format_weekdays
from aintandem_notify.config.types.values import format_duration
from aintandem_notify.rules.effective_rules import EffectiveRule, Stages, resolve_rules
from aintandem_notify.stages.trouble import FAILURE_TYPES, TROUBLE_TYPES

_THEN: Final[Mapping[str, str]] = {"digest": ", then a digest", "each": ", then one by one", "drop": ""}


def when_told(stages: Stages, quiet: Mapping[str, QuietConfig]) -> str | None:
    """When a rule with these stages tells, as a sentence without an end; None if it tells at once."""
    parts: list[str] = []
    if stages.settle is not None:
        parts.append(
            f"failures after {format_duration(stages.settle)}, unless a new attempt or run has begun by then"
        )
    if stages.on is not None:
        parts.append(_describe_flips(stages, stages.on))
    if stages.subject is not None:
        parts.append(f"the same subject is the same {' '.join(stages.subject.split())}")
    if stages.held_back_by:
        causes, at_most = " or ".join(stages.held_back_by), format_duration(stages.hold_at_most)
        parts.append(f"held while trouble of {causes} is open nearby, for {at_most} at most, then as one")
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
    for step in stages.escalate:
        names, after = " and ".join(step.notify), format_duration(step.after)
        parts.append(f"also to {names} if nobody has acknowledged it for {after}")
    if not stages.tell_end:
        parts.append("all but the ends of trouble")
    return "; ".join(parts) or None


def _describe_flips(stages: Stages, flips: Sequence[Flip]) -> str:
    """The changes that are told: ``the first failure after a success, the recovery``."""
    confirmed = "" if stages.confirm == 1 else f" ({stages.confirm} in a row)"
    words = {
        FIRST_FAILURE: f"the first failure after a success{confirmed}",
        RECOVERED: f"the recovery{confirmed}",
        STILL_FAILING: (
            f"a reminder each {format_duration(stages.remind_every)} until it is over or acknowledged"
        ),
    }
    return "only " + ", ".join(words[flip] for flip in words if flip in flips)


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
    by_name = {rule.name: rule for rule in rules}
    used = {instance.common.quiet for instance in config.instances.values()} | {
        rule.stages.quiet for rule in rules
    }
    return [
        *(
            f"quiet hours {name} are not used; no rule and no destination names them"
            for name in config.quiet
            if name not in used
        ),
        *(warning for rule in rules for warning in _useless_stages(rule, by_name)),
    ]


def _useless_stages(rule: EffectiveRule, by_name: Mapping[str, EffectiveRule]) -> Iterator[str]:
    stages = rule.stages
    if stages.settle is not None and rule.types.isdisjoint(FAILURE_TYPES):
        yield f"rule {rule.name} has settle, and none of its events is a failure"
    for key, is_set in (("on", stages.on is not None), ("escalate", bool(stages.escalate))):
        if is_set and rule.types.isdisjoint(TROUBLE_TYPES):
            yield f"rule {rule.name} has {key}, and none of its events is trouble that can end"
    if stages.escalate and stages.on is not None and stages.on == (RECOVERED,):
        yield f"rule {rule.name} has escalate, and tells only recoveries: there is nothing to acknowledge"
    if not stages.tell_end and RECOVERED in (stages.on or ()):
        yield (
            f"rule {rule.name} has tell_end = false, and recovered in on: only its notify is told of recoveries, "
            "and nobody else who was told of the trouble"
        )
    for name in stages.held_back_by:
        cause = by_name[name]
        if cause.types.isdisjoint(TROUBLE_TYPES):
            yield f"rule {rule.name} never waits for {name}: none of its events is trouble that can end"
        elif not cause.destinations:
            yield f"rule {rule.name} never waits for {name}, which tells nobody"
