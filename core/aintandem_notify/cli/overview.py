"""Renders a valid configuration for ``check``: the projects, the plugins and the routing of events. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from aintandem_notify.cli.tables import hanging_lines, table_lines
from aintandem_notify.config import Config, ProjectConfig
from aintandem_notify.domain.notification import Severity
from aintandem_notify.log import redact
from aintandem_notify.rules import Route
from aintandem_notify.rules.effective_rules import AGENT_RULE, DEFAULT_RULE, NO_STAGES, resolve_rules
from aintandem_notify.stages.descriptions import quiet_destinations, when_told
from aintandem_notify.watches.descriptions import watch_words

BUILTIN_RULES: Final[Mapping[str, str]] = {
    DEFAULT_RULE: "every end, as there are no rules",
    AGENT_RULE: "the agent's own trouble",
}
"""Descriptions of the built-in rules, which are in no config."""


def config_lines(config: Config, width: int | None = None) -> Iterator[str]:
    """Returns the lines with the orchestrator, the projects and the instances."""
    orchestrator = config.orchestrator
    url = "the embedded simulator" if orchestrator.embedded else redact(orchestrator.url)
    rows = [
        ("orchestrator", url),
        ("projects", ", ".join(map(_project_text, config.projects))),
        ("plugins", ", ".join(config.instances) or "none"),
    ]
    rows += [("quiet hours", f"{name}: {words}") for name, words in quiet_destinations(config)]
    rows += [("watch", f"{redact(name)}: {words}") for name, words in watch_words(config)]
    yield from table_lines(rows, width)


def _project_text(project: ProjectConfig) -> str:
    if project.is_glob:
        return f"all that match {project.id}"
    return f"{project.name} ({project.id})" if project.name else project.id


class _Group(NamedTuple):
    """The common values of routes that are shown together."""

    rule: str
    destinations: tuple[str, ...]
    projects: tuple[str, ...] | None
    when: str | None


def routing_lines(config: Config, routes: Sequence[Route], width: int | None = None) -> Iterator[str]:
    """Returns a paragraph per rule and set of destinations, in file order; events by severity, worst first."""
    groups: dict[_Group, dict[Severity, list[str]]] = {}
    for route in routes:
        group = _Group(route.rule, route.destinations, route.projects, route.when)
        groups.setdefault(group, {}).setdefault(route.severity, []).append(route.event_type)
    stages = {rule.name: rule.stages for rule in resolve_rules(config)}
    order = {rule.name: number for number, rule in enumerate(config.rules)}
    for group in sorted(groups, key=lambda group: order.get(group.rule, len(order))):
        rule = group.rule if group.rule in order else BUILTIN_RULES.get(group.rule, group.rule)
        recipients = ", ".join(group.destinations) or "nobody, and no rule behind it is asked"
        yield from hanging_lines(f"{rule}: ", f"to {recipients}", width)
        if group.projects:
            yield from hanging_lines("  only in projects  ", ", ".join(group.projects), width)
        if group.when:
            yield from hanging_lines("  only when  ", " ".join(group.when.split()), width)
        if words := when_told(stages.get(group.rule, NO_STAGES), config.quiet):
            yield from hanging_lines("  told  ", words, width)
        worst_first = sorted(groups[group].items(), key=lambda item: -item[0].rank)
        yield from table_lines([(f"  {severity}", ", ".join(types)) for severity, types in worst_first], width)
