"""Shows the effective rules to people: the routing as a table, and warnings about probable mistakes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.findings import Finding, Place
from aintandem_notify.config.models import Config
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.rules.default_texts import DEFAULT_TEXTS, UNKNOWN_TEXT
from aintandem_notify.rules.effective_rules import AGENT_RULE, EffectiveRule
from aintandem_notify.rules.globs import project_matcher
from aintandem_notify.rules.templates.templating import condition_misreads_duration, template_misreads_duration

FREQUENT_TYPES: Final = frozenset({"output", "step_progress"})
"""Types of which one run can produce thousands."""

_MISREAD: Final = (
    "event.duration is the number that the orchestrator sent, often milliseconds; write run.duration, which is "
    "in seconds"
)


@dataclass(frozen=True, slots=True)
class Route:
    """The destinations of one event type by one rule; ``projects`` and ``when`` are as in the config.

    None means that they do not restrict the rule. No destinations: nobody is told, and no later rule is asked.
    """

    event_type: str
    rule: str
    destinations: tuple[str, ...]
    severity: Severity
    projects: tuple[str, ...] | None = None
    when: str | None = None


def routes(rules: Sequence[EffectiveRule]) -> list[Route]:
    """A row for each event type and rule, ordered by type; without destinations that an earlier rule serves."""
    known = [route for event_type in EVENT_TYPES for route in _routes_of(event_type, rules)]
    unknown = [
        Route(glob, rule.name, rule.destinations, rule.severity or UNKNOWN_TEXT.severity, rule.projects, rule.when)
        for rule in rules
        for glob in rule.unknown_globs
    ]
    return known + unknown


def _routes_of(event_type: str, rules: Sequence[EffectiveRule]) -> Iterator[Route]:
    served: set[str] = set()
    for rule in rules:
        recipients = tuple(name for name in rule.destinations if name not in served)
        if event_type not in rule.types or (rule.destinations and not recipients) or (rule.is_default and served):
            continue
        severity = rule.severity or DEFAULT_TEXTS[event_type].severity
        yield Route(event_type, rule.name, recipients, severity, rule.projects, rule.when)
        if not rule.is_conditional:
            served.update(recipients)
            if not rule.destinations:
                return


def warnings(config: Config, rules: Sequence[EffectiveRule]) -> list[str]:
    """One sentence for each probable mistake."""
    destinations = [name for name, instance in config.instances.items() if instance.delivers]
    if not destinations:
        return ["there is no destination: nobody will be notified; add a table like [plugins.console.me]"]
    table = routes(rules)
    return [
        *_frequent_events(config, table),
        *_unwatched_projects(config, rules),
        *_rules_without_effect(table, rules),
        *_destinations_without_rule(config, destinations, table),
    ]


def misread_durations(config: Config) -> list[Finding]:
    """A finding for each condition or text that takes ``event.duration`` for a number of seconds."""
    texts: list[tuple[Place, str | None, Callable[[str], bool]]] = []
    for index, rule in enumerate(config.rules):
        place = ("rules", index)
        texts += [((*place, "when"), rule.when, condition_misreads_duration)]
        texts += [((*place, key), getattr(rule, key), template_misreads_duration) for key in ("title", "body")]
        texts += [
            ((*place, "mention", entry), text, template_misreads_duration)
            for entry, text in enumerate(rule.mention)
        ]
    for instance in config.instances.values():
        texts += [((*instance.place, "when"), instance.common.when, condition_misreads_duration)]
    return [Finding(place, _MISREAD) for place, text, misreads in texts if text is not None and misreads(text)]


def _frequent_events(config: Config, table: Sequence[Route]) -> Iterator[str]:
    for route in table:
        for name in route.destinations:
            if route.event_type in FREQUENT_TYPES and config.instances[name].is_for_people:
                yield (
                    f"rule {route.rule} sends every {route.event_type} event to {name}; "
                    "one task can have thousands of them"
                )


def _unwatched_projects(config: Config, rules: Sequence[EffectiveRule]) -> Iterator[str]:
    """Rules for projects that the config does not watch; none if a glob decides which ones it watches."""
    if any(project.is_glob for project in config.projects):
        return
    watched = [Project(id=entry.id, name=entry.name or entry.id) for entry in config.projects]
    for rule in rules:
        if rule.projects is not None and not any(map(project_matcher(rule.projects), watched)):
            patterns = ", ".join(rule.projects)
            yield f"rule {rule.name} is for {patterns} only, and no project here has such an id or name"


def _rules_without_effect(table: Sequence[Route], rules: Sequence[EffectiveRule]) -> Iterator[str]:
    used = {route.rule for route in table}
    for rule in rules:
        if rule.name not in used and not rule.is_default:
            yield f"rule {rule.name} never sends anything; the rules before it take all of its events"


def _destinations_without_rule(
    config: Config, destinations: Sequence[str], table: Sequence[Route]
) -> Iterator[str]:
    served = {name for route in table if route.rule != AGENT_RULE for name in route.destinations}
    served |= {name for rule in config.rules for step in rule.escalate for name in step.notify}
    served |= {name for watch in config.watches for name in watch.notify or ()}
    fallbacks = {instance.common.fallback for instance in config.instances.values()}
    for name in destinations:
        if name not in served and name not in fallbacks:
            yield f"{name} gets only the agent's own warnings and errors; no rule names it, and events is not set"
