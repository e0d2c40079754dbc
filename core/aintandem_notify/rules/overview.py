"""What the rules come to, for people: the routing as a table, and what is probably not meant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.models import Config
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.rules.default_texts import DEFAULT_TEXTS, UNKNOWN_TEXT
from aintandem_notify.rules.effective_rules import AGENT_RULE, PlannedRule
from aintandem_notify.rules.globs import project_matcher

FREQUENT_TYPES: Final = frozenset({"output", "step_progress"})
"""Types of which one run can have thousands."""
READ_BY_PEOPLE: Final = frozenset({"slack", "desktop_notify"})
"""Plugin types that interrupt somebody."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where events of one type go by one rule; ``projects`` and ``when`` as in the config, None for always."""

    event_type: str
    rule: str
    destinations: tuple[str, ...]
    severity: Severity
    projects: tuple[str, ...] | None = None
    when: str | None = None


def routes(plan: Sequence[PlannedRule]) -> list[Route]:
    """A row for each type and rule, in the order of the event types; without what an earlier rule takes away."""
    found = [route for event_type in EVENT_TYPES for route in _routes_of(event_type, plan)]
    unknown = [
        Route(glob, rule.name, rule.destinations, rule.severity or UNKNOWN_TEXT.severity, rule.projects, rule.when)
        for rule in plan
        for glob in rule.unknown
    ]
    return found + unknown


def _routes_of(event_type: str, plan: Sequence[PlannedRule]) -> Iterator[Route]:
    taken: set[str] = set()
    for rule in plan:
        free = tuple(name for name in rule.destinations if name not in taken)
        if event_type not in rule.types or not free:
            continue
        severity = rule.severity or DEFAULT_TEXTS[event_type].severity
        yield Route(event_type, rule.name, free, severity, rule.projects, rule.when)
        if not rule.conditional:
            taken.update(free)


def warnings(config: Config, plan: Sequence[PlannedRule]) -> list[str]:
    """One sentence for each thing that is probably not meant."""
    destinations = [name for name, instance in config.instances.items() if instance.delivers]
    if not destinations:
        return ["there is no destination: nobody will be told anything; add a table like [plugins.console.me]"]
    table = routes(plan)
    return [
        *_floods(config, table),
        *_strangers(config, plan),
        *_idle_rules(table, plan),
        *_idle_destinations(config, destinations, table),
    ]


def _floods(config: Config, table: Sequence[Route]) -> Iterator[str]:
    for route in table:
        for name in route.destinations:
            if route.event_type in FREQUENT_TYPES and config.instances[name].type in READ_BY_PEOPLE:
                yield (
                    f"rule {route.rule} sends every {route.event_type} event to {name}; "
                    "one task can have thousands of them"
                )


def _strangers(config: Config, plan: Sequence[PlannedRule]) -> Iterator[str]:
    """Rules for projects that the config does not watch, as far as it says itself which these are."""
    if any(project.is_glob for project in config.projects):
        return
    watched = [Project(id=entry.id, name=entry.name or entry.id) for entry in config.projects]
    for rule in plan:
        if rule.projects is not None and not any(map(project_matcher(rule.projects), watched)):
            wanted = ", ".join(rule.projects)
            yield f"rule {rule.name} is for {wanted} only, and no project here has such an id or name"


def _idle_rules(table: Sequence[Route], plan: Sequence[PlannedRule]) -> Iterator[str]:
    busy = {route.rule for route in table}
    for rule in plan:
        if rule.name not in busy:
            yield f"rule {rule.name} never sends anything; the rules before it take all of its events"


def _idle_destinations(config: Config, destinations: Sequence[str], table: Sequence[Route]) -> Iterator[str]:
    served = {name for route in table if route.rule != AGENT_RULE for name in route.destinations}
    takes_over = {instance.common.fallback for instance in config.instances.values()}
    for name in destinations:
        if name not in served and name not in takes_over:
            yield f"{name} gets nothing but the agent's own trouble; no rule names it, and it has no events"
