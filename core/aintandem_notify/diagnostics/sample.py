"""Builds a made-up notification for one destination, as its rules would build a real one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from aintandem_notify.config import Config, RuleConfig
from aintandem_notify.domain.events import EVENT_TYPES, Family
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.samples import SAMPLE_FIELDS, sample_event, sample_run
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.rules import Router, formats
from aintandem_notify.rules.effective_rules import EffectiveRule, resolve_rules
from aintandem_notify.rules.globs import project_matcher

TITLE_PREFIX: Final = "Test: "
"""The beginning of the title, so that nobody takes it for a real problem."""

OTHER_INSTANCE: Final = "example"
"""The instance in made-up events of the agent.

No instance can have this name, and none is notified about itself.
"""

MAX_ROW_CHARACTERS: Final = 100
"""Characters of one part that are printed."""

USUAL_TYPE: Final = "task_failed"
"""The type of event if nobody chooses one and the rule is for it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A made-up notification for ``destination``. ``texts`` is a sentence that says whose texts it has."""

    destination: str
    notification: Notification
    texts: str

    def rows(self) -> Iterator[tuple[str, str]]:
        """Name and text of each part that the rule may set, on one line each; without those that are empty."""
        notification = self.notification
        parts = (
            ("title", notification.title),
            ("body", notification.body),
            ("severity", notification.severity.value),
            ("mentions", ", ".join(notification.mentions)),
        )
        return ((name, formats.one_line(text, MAX_ROW_CHARACTERS)) for name, text in parts if text.strip())


def choose_sample(
    config: Config, destination: str, now: datetime, *, event_type: str | None = None, rule_name: str | None = None
) -> Sample:
    """The sample with the texts of the rule ``rule_name``, else of the first rule that names ``destination``.

    Conditions and projects of the rule do not count: a sample is about no real run. Without ``event_type``, it is
    about one that the rule is for. Raises ConfigError for unknown names, for a destination that takes no
    notifications, and for a rule that would not send it this event.
    """
    _require_destination(config, destination)
    if event_type is not None:
        _require_known("event type", event_type, list(EVENT_TYPES), config)
    rules = _rules_naming(config, destination)
    rule = _chosen_rule(config, rules, destination, event_type, rule_name)
    event_type = event_type or _type_for(rule)
    notification = build_sample(config, destination, event_type, now, rule)
    return Sample(destination, notification, _whose_texts(config, rules, rule, destination, event_type))


def build_sample(
    config: Config, destination: str, event_type: str, now: datetime, rule: EffectiveRule | None = None
) -> Notification:
    """A made-up notification for ``destination`` with the texts of ``rule``, or the default texts without one."""
    where: Project | None = _project(config, rule)
    about: dict[str, Any] = {"projectId": where.id} if where is not None else {}
    if EVENT_TYPES[event_type].family is Family.AGENT and "projectId" not in SAMPLE_FIELDS[event_type]:
        where, about = None, {"instance": OTHER_INSTANCE} if "instance" in SAMPLE_FIELDS[event_type] else {}
    if event_type in ("agent_recovered", "silence_ending"):  # these name their recipients
        about = {**about, "recipients": [destination]}
    event = sample_event(event_type, timestamp=now, **about)
    sending = RuleConfig(name="test", events=(event_type,), notify=(destination,))
    if rule is not None:
        own = {"severity": rule.severity, "mention": rule.mention, "title": rule.title, "body": rule.body}
        sending = sending.model_copy(update={"name": rule.name, **own})
    router = Router(replace(config, rules=(sending,)))
    routes = router.route(event, sample_run(event), where, now)
    # The event may also be routed to other instances.
    notification = next(routed.notification for routed in routes if destination in routed.destinations)
    return notification.model_copy(update={"title": TITLE_PREFIX + notification.title})


def _require_known(kind: str, name: str, known: Sequence[str], config: Config) -> None:
    """Raises ConfigError with the nearest name, or all, unless ``name`` is in ``known``."""
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"
        raise _error(config, f"no {kind} is called {name}; {hint}")


def _require_destination(config: Config, name: str) -> None:
    instance = config.instances.get(name)
    if instance is not None and not instance.delivers:
        raise _error(
            config,
            f"{name} takes no notifications: its plugin has no deliver, and only watches the events. Start the"
            f" agent, and look at it with: aintandem-notify plugins show {name}",
        )
    _require_known("destination", name, [each.name for each in config.instances.values() if each.delivers], config)


def _rules_naming(config: Config, destination: str) -> list[EffectiveRule]:
    """The rules that name ``destination``, in their order; also the one that its own keys make, but no default."""
    names = {rule.name for rule in config.rules} | set(config.instances)
    return [rule for rule in resolve_rules(config) if destination in rule.destinations and rule.name in names]


def _chosen_rule(
    config: Config, rules: Sequence[EffectiveRule], destination: str, event_type: str | None, name: str | None
) -> EffectiveRule | None:
    """The rule of this name, else the first one for the event; None if none sends it to ``destination``."""
    if name is None:
        return next((rule for rule in rules if event_type is None or event_type in rule.types), None)
    own_names = [rule.name for rule in config.rules]
    _require_known("rule", name, [*own_names, *(rule.name for rule in rules)], config)
    chosen = next((rule for rule in rules if rule.name == name), None)
    if chosen is None:
        names = ", ".join(rule.name for rule in rules) or "none does"
        raise _error(config, f'the rule "{name}" does not name {destination}; rules that do: {names}')
    if event_type is not None and event_type not in chosen.types:
        raise _error(
            config, f'the rule "{name}" is not for {event_type}; leave --event out, or choose another rule'
        )
    return chosen


def _type_for(rule: EffectiveRule | None) -> str:
    if rule is None or USUAL_TYPE in rule.types:
        return USUAL_TYPE
    # A rule may be for types only that this version does not know.
    return next((event_type for event_type in EVENT_TYPES if event_type in rule.types), USUAL_TYPE)


def _project(config: Config, rule: EffectiveRule | None) -> Project:
    """A project of the config, if possible one that the rule is for."""
    projects = [
        Project(id=entry.id, name=entry.name or entry.id) for entry in config.projects if not entry.is_glob
    ]
    is_match = project_matcher(None if rule is None else rule.projects)
    example = Project(id="project-123", name="project-123")
    return next(filter(is_match, projects), projects[0] if projects else example)


def _whose_texts(
    config: Config, rules: Sequence[EffectiveRule], rule: EffectiveRule | None, destination: str, event_type: str
) -> str:
    start = f"The event is {event_type}, and the texts are"
    if rule is None:
        verb = f"sends {destination} this event" if rules else f"names {destination}"
        reason = f"no rule of the config {verb}"
        if not config.rules and not rules:
            reason = "the config has no rules"
        return f"{start} the default ones, as {reason}."
    is_plain = (rule.title, rule.body, rule.severity, rule.mention) == (None, None, None, ())
    name = f'the rule "{rule.name}"'
    text = f"{start} the default ones, as {name} has none of its own." if is_plain else f"{start} those of {name}."
    others = ", ".join(other.name for other in rules if other is not rule)
    return f"{text} Other rules that name {destination}: {others} (choose one with --rule)." if others else text


def _error(config: Config, message: str) -> ConfigError:
    return ConfigError([Problem(message)], str(config.source))
