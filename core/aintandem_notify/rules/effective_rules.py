"""The rules that result from a config: those written down, those that instances imply, and the defaults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.models import Config, InstanceConfig, RuleConfig
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.domain.events import EVENT_TYPES, Family
from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.runs import TERMINAL_TYPES
from aintandem_notify.rules.default_texts import DEFAULT_TEXTS
from aintandem_notify.rules.globs import is_for_unknown, matches_unknown, matching_types

DEFAULT_RULE: Final = "default"
"""The name of the rule for destinations when the config has no rule at all."""
AGENT_RULE: Final = "agent"
"""The name of the rule that brings the agent's own trouble to every destination."""

# A sandbox that stops is routine, although it ends a run.
DEFAULT_TYPES: Final = TERMINAL_TYPES - {"sandbox_stopped"}
"""What every destination gets when the config has no rule at all: completed, failed, cancelled, error."""

AGENT_TROUBLE: Final = frozenset(
    name
    for name, model in EVENT_TYPES.items()
    if model.family is Family.AGENT and DEFAULT_TEXTS[name].severity.rank >= Severity.WARNING.rank
)
"""The agent's own events that go to every destination unless a rule names them."""


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """A rule with its globs resolved: ``types`` are known ones, ``unknown`` globs for those that are not."""

    name: str
    types: frozenset[str]
    destinations: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    projects: tuple[str, ...] | None = None
    when: str | None = None
    severity: Severity | None = None
    mention: tuple[str, ...] = ()
    title: str | None = None
    body: str | None = None
    least: Severity | None = None
    """Events that matter less by themselves are passed over."""

    @property
    def conditional(self) -> bool:
        """Whether it may pass over an event of its types."""
        return self.when is not None or self.projects is not None

    def concerns_unknown(self, event_type: str) -> bool:
        """Whether it is for this type, which is not a known one."""
        return any(matches_unknown(glob, event_type) for glob in self.unknown)


def plan(config: Config) -> tuple[PlannedRule, ...]:
    """Every rule in the order in which they are asked."""
    destinations = [instance for instance in config.instances.values() if instance.delivers]
    written = [_written(rule) for rule in config.rules]
    implied = [_implied(instance) for instance in destinations if instance.common.events is not None]
    rules = [*written, *implied] or list(_defaults(destinations))
    named = frozenset[str]().union(*(rule.types for rule in rules))
    trouble = AGENT_TROUBLE - named
    if trouble and destinations:
        everybody = tuple(instance.name for instance in destinations)
        rules.append(PlannedRule(AGENT_RULE, trouble, everybody, least=Severity.WARNING))
    return tuple(rules)


def _written(rule: RuleConfig) -> PlannedRule:
    return PlannedRule(
        rule.name,
        _known(rule.events),
        rule.notify,
        unknown=tuple(filter(is_for_unknown, rule.events)),
        projects=rule.projects,
        when=rule.when,
        severity=rule.severity,
        mention=rule.mention,
        title=rule.title,
        body=rule.body,
    )


def _implied(instance: InstanceConfig) -> PlannedRule:
    """The rule of an instance that has ``events``, named after it."""
    events = instance.common.events or ()
    return _own(instance, _known(events), tuple(filter(is_for_unknown, events)))


def _own(instance: InstanceConfig, types: frozenset[str], unknown: tuple[str, ...] = ()) -> PlannedRule:
    settings = instance.common
    return PlannedRule(
        instance.name,
        types,
        (instance.name,),
        unknown=unknown,
        projects=settings.projects,
        when=settings.when,
        severity=settings.severity,
        mention=settings.mention,
    )


def _defaults(destinations: Sequence[InstanceConfig]) -> Iterator[PlannedRule]:
    """One rule for all destinations; those that say more about what they want have one of their own."""
    special = [instance for instance in destinations if _is_special(instance.common)]
    for instance in special:
        yield _own(instance, DEFAULT_TYPES)
    plain = tuple(instance.name for instance in destinations if instance not in special)
    if plain:
        yield PlannedRule(DEFAULT_RULE, DEFAULT_TYPES, plain)


def _is_special(settings: PluginConfig) -> bool:
    return any((settings.projects is not None, settings.when, settings.severity, settings.mention))


def _known(events: Sequence[str]) -> frozenset[str]:
    return frozenset[str]().union(*map(matching_types, events))
