"""Resolves a config to its effective rules: the ``[[rules]]``, those implied by instances, and the defaults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aintandem_notify.config.models import Config, InstanceConfig
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.rule_config import (
    HOLD_AT_MOST_S,
    REMIND_EVERY_S,
    STILL_FAILING,
    EscalationConfig,
    Flip,
    GroupConfig,
    RuleConfig,
    ThrottleConfig,
)
from aintandem_notify.domain.events import EVENT_TYPES, Family
from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.runs import TERMINAL_TYPES
from aintandem_notify.rules.default_texts import DEFAULT_TEXTS
from aintandem_notify.rules.globs import is_for_unknown, matches_unknown, matching_types

DEFAULT_RULE: Final = "default"
"""The name of the rule that every destination gets if the config has no rule at all."""
AGENT_RULE: Final = "agent"
"""The name of the rule that sends the agent's own warnings and errors to every destination."""

# A stopping sandbox is routine, although it ends a run.
DEFAULT_TYPES: Final = TERMINAL_TYPES - {"sandbox_stopped"}
"""The types that every destination gets if the config has no rule: completed, failed, cancelled, error."""

AGENT_WARNING_TYPES: Final = frozenset(
    name
    for name, model in EVENT_TYPES.items()
    if model.family is Family.AGENT and DEFAULT_TEXTS[name].severity.rank >= Severity.WARNING.rank
)
"""The agent's own events that go to every destination unless a rule takes them."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a rule as in the config, None for those that it has not."""

    subject: str | None = None
    settle: float | None = None
    on: tuple[Flip, ...] | None = None
    confirm: int = 1
    remind_every: float = REMIND_EVERY_S
    tell_end: bool = True
    held_back_by: tuple[str, ...] = ()
    hold_at_most: float = HOLD_AT_MOST_S
    escalate: tuple[EscalationConfig, ...] = ()
    once_per: str | None = None
    cooldown: float | None = None
    group: GroupConfig | None = None
    throttle: ThrottleConfig | None = None
    quiet: str | None = None

    @property
    def is_once(self) -> bool:
        """True with ``once_per`` or ``cooldown``."""
        return self.once_per is not None or self.cooldown is not None

    @property
    def reminds(self) -> bool:
        """True if the rule reminds of trouble that goes on."""
        return self.on is not None and STILL_FAILING in self.on


NO_STAGES: Final = Stages()
"""The stages of a rule that has none: it tells at once."""


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """A rule with its globs resolved.

    ``types`` are the known types; ``unknown_globs`` match types that this version does not know. A rule without
    ``destinations`` keeps its events from all later rules. One that ``is_default`` is only asked about an event
    that no rule before it took. ``stages`` decide when its notifications are told.
    """

    name: str
    types: frozenset[str]
    destinations: tuple[str, ...]
    unknown_globs: tuple[str, ...] = ()
    projects: tuple[str, ...] | None = None
    when: str | None = None
    severity: Severity | None = None
    mention: tuple[str, ...] = ()
    title: str | None = None
    body: str | None = None
    min_severity: Severity | None = None
    """Events whose default severity is lower are skipped; None skips none."""
    is_default: bool = False
    stages: Stages = NO_STAGES

    @property
    def is_conditional(self) -> bool:
        """True if the rule may skip an event of its types."""
        return self.when is not None or self.projects is not None

    def matches_unknown(self, event_type: str) -> bool:
        """True if the rule is for ``event_type``, a type that this version does not know."""
        return any(matches_unknown(glob, event_type) for glob in self.unknown_globs)


class Verdict(StrEnum):
    """The decision of a rule about an event: it takes it, or the first reason against it."""

    MATCH = "match"
    OTHER_TYPE = "other_type"
    OTHER_PROJECT = "other_project"
    TOO_MILD = "too_mild"
    WHEN_FALSE = "when_false"
    SERVED = "served"
    """Rules before it have all its destinations, or the event is about these."""
    TAKEN = "taken"
    """It is a default, and a rule before it has taken the event."""
    NOBODY = "nobody"
    """A rule before it has taken the event for nobody."""


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """The verdict of a rule on an event.

    ``recipients`` are those of its destinations that no rule before it has. ``error``: its ``when`` raised this,
    so it counts as true.
    """

    rule: EffectiveRule
    verdict: Verdict
    recipients: tuple[str, ...] = ()
    error: str | None = None


def resolve_rules(config: Config) -> tuple[EffectiveRule, ...]:
    """All rules of the config, in the order in which they are applied."""
    destinations = [instance for instance in config.instances.values() if instance.delivers]
    configured = [_from_config(rule) for rule in config.rules]
    implied = [_from_instance(instance) for instance in destinations if instance.common.events is not None]
    rules = [*configured, *implied]
    if not any(rule.destinations for rule in rules):
        rules += _defaults(destinations)
    if destinations:
        all_names = tuple(instance.name for instance in destinations)
        rules.append(
            EffectiveRule(
                AGENT_RULE, AGENT_WARNING_TYPES, all_names, min_severity=Severity.WARNING, is_default=True
            )
        )
    return tuple(rules)


def _from_config(rule: RuleConfig) -> EffectiveRule:
    return EffectiveRule(
        rule.name,
        _known_types(rule.events),
        rule.notify,
        unknown_globs=tuple(filter(is_for_unknown, rule.events)),
        projects=rule.projects,
        when=rule.when,
        severity=rule.severity,
        mention=rule.mention,
        title=rule.title,
        body=rule.body,
        stages=_stages(rule),
    )


def _stages(rule: RuleConfig) -> Stages:
    return Stages(
        subject=rule.subject,
        settle=rule.settle,
        on=rule.on,
        confirm=rule.confirm or 1,
        remind_every=rule.remind_every or REMIND_EVERY_S,
        tell_end=rule.tell_end,
        held_back_by=rule.held_back_by or (),
        hold_at_most=rule.hold_at_most or HOLD_AT_MOST_S,
        escalate=rule.escalate,
        once_per=rule.once_per,
        cooldown=rule.cooldown,
        group=rule.group,
        throttle=rule.throttle,
        quiet=rule.quiet,
    )


def _from_instance(instance: InstanceConfig) -> EffectiveRule:
    """The rule of an instance that has ``events``; it has the name of the instance."""
    events = instance.common.events or ()
    return _instance_rule(instance, _known_types(events), tuple(filter(is_for_unknown, events)))


def _instance_rule(
    instance: InstanceConfig, types: frozenset[str], unknown_globs: tuple[str, ...] = ()
) -> EffectiveRule:
    settings = instance.common
    return EffectiveRule(
        instance.name,
        types,
        (instance.name,),
        unknown_globs=unknown_globs,
        projects=settings.projects,
        when=settings.when,
        severity=settings.severity,
        mention=settings.mention,
    )


def _defaults(destinations: Sequence[InstanceConfig]) -> Iterator[EffectiveRule]:
    """One rule for all destinations without ``projects``, ``when``, ``severity`` and ``mention``.

    Each destination with one of these keys gets a rule of its own.
    """
    with_settings = [instance for instance in destinations if _has_own_settings(instance.common)]
    for instance in with_settings:
        yield _instance_rule(instance, DEFAULT_TYPES)
    others = tuple(instance.name for instance in destinations if instance not in with_settings)
    if others:
        yield EffectiveRule(DEFAULT_RULE, DEFAULT_TYPES, others)


def _has_own_settings(settings: PluginConfig) -> bool:
    return any((settings.projects is not None, settings.when, settings.severity, settings.mention))


def _known_types(events: Sequence[str]) -> frozenset[str]:
    return frozenset[str]().union(*map(matching_types, events))
