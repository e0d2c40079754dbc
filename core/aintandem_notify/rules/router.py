"""Applies the config's rules to events: gives notifications and their destinations.

Pure: needs no clock, store or socket. The rules of every known type are looked up once, so an event without a rule
costs only a dict lookup.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Final, TypeVar

from aintandem_notify.config.models import Config
from aintandem_notify.domain.event_redaction import EventContext, redact_event_context, strip_texts
from aintandem_notify.domain.events import (
    EVENT_TYPES,
    WATCH_TROUBLE_TYPES,
    AgentDegradedEvent,
    AgentEvent,
    AgentRecoveredEvent,
    Event,
    Family,
    RunArrivedEvent,
    RunMissingEvent,
    SilenceEndingEvent,
    WatchEvent,
)
from aintandem_notify.domain.notification import STORE_THREAD, Notification, Project, agent_thread
from aintandem_notify.domain.runs import Run
from aintandem_notify.log import get_logger, redact
from aintandem_notify.rules import default_texts, episode_words, formats
from aintandem_notify.rules.effective_rules import EffectiveRule, RuleTrace, Verdict, resolve_rules
from aintandem_notify.rules.episode_words import MAX_TITLE_CHARACTERS, EpisodeWord
from aintandem_notify.rules.globs import project_matcher
from aintandem_notify.rules.overview import Route, routes, warnings
from aintandem_notify.rules.scope import Scope, scope
from aintandem_notify.rules.templates.templating import (
    MAX_TEXT_CHARACTERS,
    Condition,
    MissingValue,
    Render,
    compile_address,
    compile_expression,
    compile_mention,
    compile_template,
    is_constant,
)
from aintandem_notify.rules.texts.made_up_failure import made_up_failure

HEALTH_RULE: Final = "health"
"""The name of the rule that sends the end of the agent's trouble to whoever got the notice of its begin."""

SILENCE_RULE: Final = "silence"
"""The name of the rule that sends the word before a silence ends to those from whom it holds something back."""

_WITH_RECIPIENTS: Final = (AgentRecoveredEvent, SilenceEndingEvent)
"""Events that name the destinations to which they go."""
_TYPES_WITH_RECIPIENTS: Final = {"agent_recovered": HEALTH_RULE, "silence_ending": SILENCE_RULE}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoutedNotification:
    """One rendered notification and the destinations that get it."""

    notification: Notification
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    """An effective rule with its condition and texts compiled."""

    definition: EffectiveRule
    is_for_project: Callable[[Project | None], bool]
    when: Condition | None
    title: Render | None
    body: Render | None
    mentions: tuple[Render, ...]

    def for_watches(self) -> "_CompiledRule":
        """The rule without the severity and the texts that it has for failures."""
        return replace(self, definition=replace(self.definition, severity=None), title=None, body=None)

    @classmethod
    def of(cls, definition: EffectiveRule) -> "_CompiledRule":
        return cls(
            definition,
            project_matcher(definition.projects),
            None if definition.when is None else compile_expression(definition.when),
            None if definition.title is None else compile_template(definition.title),
            None if definition.body is None else compile_template(definition.body),
            tuple(map(compile_mention, definition.mention)),
        )


@dataclass(frozen=True, slots=True)
class _AsFailure:
    """The rules that would be asked about the failure of a run; by default they have the events of watches."""

    rules: tuple[_CompiledRule, ...]
    failure: Event
    names: Scope

    def behind(self, name: str) -> "_AsFailure":
        """Those behind the rule ``name``; all if it is none of them."""
        names = [rule.definition.name for rule in self.rules]
        return replace(self, rules=self.rules[names.index(name) + 1 :]) if name in names else self

    def verdicts(
        self, project: Project | None, served: set[str], holds: Callable[[_CompiledRule, Scope], bool]
    ) -> Iterator[tuple[_CompiledRule, Verdict, tuple[str, ...]]]:
        """As ``_verdicts``."""
        return _verdicts(self.rules, self.failure, project, self.names, served, holds)


class Router:
    """Applies the rules of a valid config. Its only state is the set of errors that it has logged."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules = resolve_rules(config)
        self._compiled = rules = tuple(map(_CompiledRule.of, self._rules))
        self._by_name = {rule.definition.name: rule for rule in rules}
        self._by_type = {
            event_type: matching for event_type in EVENT_TYPES if (matching := _for_type(event_type, rules))
        }
        self._destinations = tuple(instance.name for instance in config.instances.values() if instance.delivers)
        self._own_rules = {
            event_type: _CompiledRule.of(EffectiveRule(name, frozenset(), self._destinations))
            for event_type, name in _TYPES_WITH_RECIPIENTS.items()
        }
        self._of_watches = {
            watch.name: _CompiledRule.of(EffectiveRule(watch.name, WATCH_TROUBLE_TYPES, watch.notify))
            for watch in config.watches
            if watch.notify is not None
        }
        self._for_unknown = tuple(rule for rule in rules if rule.definition.unknown_globs)
        console_url = config.orchestrator.console_url
        self._console_url = None if console_url is None else compile_address(console_url)
        self._logged: set[tuple[str, str]] = set()
        self._log = get_logger("rules")

    def may_notify(self, event_type: str) -> bool:
        """True if an event of this type can lead to a notification. If False, ``route`` gives none."""
        if event_type in _TYPES_WITH_RECIPIENTS or event_type in WATCH_TROUBLE_TYPES:
            return bool(self._destinations)
        return event_type in self._by_type or (
            bool(self._for_unknown)
            and any(
                rule.definition.destinations and rule.definition.matches_unknown(event_type)
                for rule in self._for_unknown
            )
        )

    def route(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        """The notifications for ``event``, at most one for each destination.

        ``run`` is the attempt as it is after the event; ``now`` becomes the notification's ``created_at``.
        A destination gets the notification of the first matching rule that names it. A matching rule without
        destinations ends the search.
        """
        return self._route(event, run, project, now, self._build_notification)

    def route_behind(
        self, rule: str, destination: str, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        """As ``route``, but asks only the rules behind ``rule``, and only about ``destination``."""
        return self._route(event, run, project, now, self._build_notification, behind=(rule, destination))

    def about_episode(
        self, word: EpisodeWord, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> Notification:
        """The word about an episode of a rule; ``event`` is the end, or the last trouble.

        An end has none of the rule's own texts: they are about failures.
        """
        rule = None if word.occasion.is_end else self._by_name.get(word.rule)
        if rule is None:
            rule = _CompiledRule.of(EffectiveRule(word.rule, frozenset(), ()))
        names = scope(event, run, project)
        return episode_words.about(word, self._build_notification(rule, (event, run, project), names, now))

    @property
    def destinations(self) -> tuple[str, ...]:
        """All destinations of the config."""
        return self._destinations

    def route_without_texts(
        self, event: Event, run: Run | None, project: Project | None, now: datetime
    ) -> list[RoutedNotification]:
        """As ``route``, but notifications have no text from outside and conditions are not evaluated.

        For an event for which ``route`` fails, or whose notification cannot be stored.
        """
        return self._route(event, run, project, now, _notification_without_texts, with_conditions=False)

    def _route(
        self,
        event: Event,
        run: Run | None,
        project: Project | None,
        now: datetime,
        build: "_BuildNotification",
        with_conditions: bool = True,
        behind: tuple[str, str] | None = None,
    ) -> list[RoutedNotification]:
        rules = self._rules_for(event)
        by_failure = self._as_failure(event, run, project)
        if not rules and not isinstance(event, _WITH_RECIPIENTS) and by_failure is None:
            return []
        names = scope(event, run, project)
        served = self._not_notified(event)
        if behind is not None:
            name, destination = behind
            rule_names = [rule.definition.name for rule in rules]
            rules = rules[rule_names.index(name) + 1 :] if name in rule_names else ()
            by_failure = None if by_failure is None else by_failure.behind(name)
            served.update(other for other in self._destinations if other != destination)
        holds = self._holds if with_conditions else _is_true
        verdicts = list(_verdicts(rules, event, project, names, served, holds))
        if by_failure is not None and not _is_taken(verdicts):
            verdicts += [
                (rule.for_watches(), verdict, recipients)
                for rule, verdict, recipients in by_failure.verdicts(project, served, holds)
            ]
        routed = [
            RoutedNotification(build(rule, (event, run, project), names, now), recipients)
            for rule, verdict, recipients in verdicts
            if verdict is Verdict.MATCH and recipients
        ]
        if isinstance(event, _WITH_RECIPIENTS):  # it goes to all of them
            recipients = tuple(name for name in self._destinations if name not in served)
            if recipients:
                context = (event, run, project)
                routed.append(
                    RoutedNotification(build(self._own_rules[event.type], context, names, now), recipients)
                )
        return routed

    def trace(self, event: Event, run: Run | None, project: Project | None) -> list[RuleTrace]:
        """The decision of each rule about ``event``, in their order, as ``route`` makes it."""
        errors: dict[str, str] = {}

        def holds(rule: _CompiledRule, names: Scope) -> bool:
            assert rule.when is not None  # noqa: S101  # the caller has looked
            try:
                return rule.when(names)
            except Exception as error:  # noqa: BLE001  # a template may raise anything
                errors[rule.definition.name] = _describe(error)
                return True

        names, served = scope(event, run, project), self._not_notified(event)
        of_watch = self._of_watch(event)
        for_event = (*of_watch, *(rule for rule in self._compiled if _is_for_type(rule, event)))
        found = list(_verdicts(for_event, event, project, names, served, holds))
        by_failure = self._as_failure(event, run, project)
        if by_failure is not None and not _is_taken(found):
            found += by_failure.verdicts(project, served, holds)
        verdicts = {id(rule): (verdict, recipients) for rule, verdict, recipients in found}
        return [
            RuleTrace(
                rule.definition,
                *verdicts.get(id(rule), (Verdict.OTHER_TYPE, ())),
                error=errors.get(rule.definition.name),
            )
            for rule in (*of_watch, *self._compiled)
        ]

    def routes_table(self) -> list[Route]:
        """The routing, for people: a row for each event type and rule."""
        return routes(self._rules)

    def warnings(self) -> list[str]:
        """One sentence for each probable mistake in the rules."""
        return warnings(self._config, self._rules)

    def _rules_for(self, event: Event) -> tuple[_CompiledRule, ...]:
        if event.family is Family.UNKNOWN:
            return tuple(rule for rule in self._for_unknown if _is_for_type(rule, event))
        return (*self._of_watch(event), *self._by_type.get(event.type, ()))

    def _of_watch(self, event: Event) -> tuple[_CompiledRule, ...]:
        """The rule that the ``notify`` of the event's watch makes."""
        if not isinstance(event, WatchEvent) or event.type not in WATCH_TROUBLE_TYPES:
            return ()
        rule = self._of_watches.get(event.watch)
        return () if rule is None else (rule,)

    def _as_failure(self, event: Event, run: Run | None, project: Project | None) -> "_AsFailure | None":
        """The rules for the failure of the run that the event of a watch is about; None for any other event."""
        if not isinstance(event, WatchEvent) or event.type not in WATCH_TROUBLE_TYPES:
            return None
        failure, failed_run = made_up_failure(event, run)
        rules = self._by_type.get(failure.type, ())
        return _AsFailure(rules, failure, scope(failure, failed_run, project)) if rules else None

    def _not_notified(self, event: Event) -> set[str]:
        """The destinations that must not get the event: those that it is about, or for an end all others."""
        match event:
            case AgentRecoveredEvent() | SilenceEndingEvent():
                return set(self._destinations) - set(event.recipients)
            case AgentDegradedEvent():
                return set(event.excluded)
            case AgentEvent():
                return {getattr(event, "instance", "")}
            case _:
                return set()

    def _holds(self, rule: _CompiledRule, names: Scope) -> bool:
        """True if the condition of the rule holds, and also if it raises.

        One notification too many is better than a missed failure.
        """
        assert rule.when is not None  # noqa: S101  # the caller has looked
        return self._evaluate(rule.when, names, rule.definition.name, "when", default=True)

    def _build_notification(
        self, rule: _CompiledRule, context: EventContext, names: Scope, now: datetime
    ) -> Notification:
        try:
            return self._render(rule, context, names, now)
        except Exception as error:  # noqa: BLE001  # the notification goes out, even without its text
            self._log_error(
                rule.definition.name, f"text of {context[0].type}", error, "it is sent without its text"
            )
            return _notification_without_texts(rule, context, names, now)

    def _render(self, rule: _CompiledRule, context: EventContext, names: Scope, now: datetime) -> Notification:
        definition = rule.definition
        shown_context = redact_event_context(context)
        if shown_context is not context:
            names = scope(*shown_context)  # a template that cuts a secret in half shows none of it
        event, run, project = shown_context
        title = self._text(rule.title, names, definition.name, "title") or ""
        body = self._text(rule.body, names, definition.name, "body")
        return Notification(
            id=_notification_id(event, definition.name),
            thread=_thread(event, run),
            severity=definition.severity or default_texts.severity(event),
            title=formats.one_line(title, MAX_TITLE_CHARACTERS) or default_texts.title(shown_context),
            body=default_texts.body(shown_context) if body is None else formats.cut_end(body, MAX_TEXT_CHARACTERS),
            fields=default_texts.fields(shown_context),
            url=self._url(names),
            mentions=self._mentions(rule, names),
            event=event,
            run=run,
            project=project,
            rule=definition.name,
            created_at=now,
        )

    def _text(self, render: Render | None, names: Scope, rule: str, part: str) -> str | None:
        """The rule's own text; None if it has none, or if rendering raised."""
        return None if render is None else self._evaluate(render, names, rule, part, default=None)

    def _mentions(self, rule: _CompiledRule, names: Scope) -> tuple[str, ...]:
        """The people to mention, without entries that are empty for this event."""
        if not rule.mentions:
            return ()  # the usual case
        name = rule.definition.name
        rendered = (self._evaluate(render, names, name, "mention", default="") for render in rule.mentions)
        return tuple(mention for mention in rendered if mention)

    def _url(self, names: Scope) -> str | None:
        """The link for people; None unless it renders to a web address and the event has every value in it."""
        if self._console_url is None:
            return None
        try:
            url = self._evaluate(self._console_url, names, "orchestrator", "console_url", default=None)
        except MissingValue:  # no project, as in the agent's own events: the link would be broken
            return None
        url = "" if url is None else redact(url.strip())
        return url if url.startswith(("http://", "https://")) and url.isprintable() and " " not in url else None

    def _evaluate(self, compiled: Callable[[Scope], T], names: Scope, rule: str, part: str, *, default: T) -> T:
        """The result of ``compiled``; ``default`` if it raises, which is logged once for each rule and part."""
        try:
            return compiled(names)
        except MissingValue:
            raise
        except Exception as error:  # noqa: BLE001  # a template may raise anything
            self._log_error(rule, part, error, _CONSEQUENCES[part])
            return default

    def _log_error(self, rule: str, part: str, error: Exception, consequence: str) -> None:
        if (rule, part) not in self._logged:
            self._logged.add((rule, part))
            reason = _describe(error)
            self._log.warning("a rule raised an exception", rule=rule, part=part, reason=reason, so=consequence)


def _for_type(event_type: str, rules: Sequence[_CompiledRule]) -> tuple[_CompiledRule, ...]:
    """The rules for a known type; none if nobody is told of it in any case.

    Events of watches that no rule takes go further, so a rule that keeps them from all matters.
    """
    matching = tuple(rule for rule in rules if event_type in rule.definition.types)
    is_told = event_type in WATCH_TROUBLE_TYPES or any(rule.definition.destinations for rule in matching)
    return matching if is_told else ()


def _is_for_type(rule: _CompiledRule, event: Event) -> bool:
    if event.family is Family.UNKNOWN:  # even if its type has the name of one of our own events
        return rule.definition.matches_unknown(event.type)
    return event.type in rule.definition.types


def _verdicts(
    rules: Sequence[_CompiledRule],
    event: Event,
    project: Project | None,
    names: Scope,
    served: set[str],
    holds: Callable[[_CompiledRule, Scope], bool],
) -> Iterator[tuple[_CompiledRule, Verdict, tuple[str, ...]]]:
    """The verdict of each of ``rules``, which are for the event's type, and its recipients if it matches.

    Adds these to ``served``. ``holds`` evaluates the condition of a rule that has one.
    """
    is_taken = is_for_nobody = False
    for rule in rules:
        definition = rule.definition
        recipients = tuple(name for name in definition.destinations if name not in served)
        if is_for_nobody:
            verdict = Verdict.NOBODY
        elif definition.is_default and is_taken:
            verdict = Verdict.TAKEN
        elif not recipients and definition.destinations:
            verdict = Verdict.SERVED
        elif not rule.is_for_project(project):
            verdict = Verdict.OTHER_PROJECT
        elif definition.min_severity is not None and (
            default_texts.severity(event).rank < definition.min_severity.rank
        ):
            verdict = Verdict.TOO_MILD
        elif rule.when is not None and not holds(rule, names):
            verdict = Verdict.WHEN_FALSE
        else:
            verdict = Verdict.MATCH
            is_taken, is_for_nobody = True, not recipients
            served.update(recipients)
        yield rule, verdict, recipients


def _is_taken(verdicts: Sequence[tuple[_CompiledRule, Verdict, tuple[str, ...]]]) -> bool:
    return any(verdict is Verdict.MATCH for _, verdict, _ in verdicts)


def _is_true(_rule: _CompiledRule, _names: Scope) -> bool:
    return True


def _describe(error: Exception) -> str:
    return formats.one_line(f"{type(error).__name__}: {error}", MAX_TITLE_CHARACTERS)


_BuildNotification = Callable[[_CompiledRule, EventContext, Scope, datetime], Notification]

_CONSEQUENCES: Final = {
    "when": "the rule counts as a match",
    "title": "the default title is used",
    "body": "the default body is used",
    "mention": "it mentions nobody",
    "console_url": "notifications have no link",
}


def _notification_without_texts(
    rule: _CompiledRule, context: EventContext, _names: Scope, now: datetime
) -> Notification:
    """A notification without any text from outside."""
    event, run, project = context
    return strip_texts(
        Notification(
            id=_notification_id(event, rule.definition.name),
            thread=_thread(event, run),
            severity=rule.definition.severity or default_texts.severity(event),
            title="",
            mentions=tuple(filter(is_constant, rule.definition.mention)),
            event=event,
            run=run,
            project=project,
            rule=rule.definition.name,
            created_at=now,
        )
    )


def _notification_id(event: Event, rule: str) -> str:
    """The same id for the same event and rule, so that an event received twice makes no second notification.

    It begins with the time, so that new entries of the store's indexes stand together. Among 200,000 of them,
    ids in no order cost twice the writes.
    """
    milliseconds = max(0, int(event.timestamp.timestamp() * 1000))
    return f"ntf_{milliseconds:012x}" + blake2b(f"{event.key}\n{rule}".encode(), digest_size=10).hexdigest()


def _thread(event: Event, run: Run | None) -> str:
    """The thread of the notification: notifications of one thread are sent in order.

    It is that of the run's attempt, else of the project, the watch, the instance, the store or the agent. So the
    agent's own events never wait behind those of runs.
    """
    if isinstance(event, RunMissingEvent | RunArrivedEvent):
        return f"watch/{event.project_id}/{event.watch}"
    if run is not None:
        return run.thread
    if event.family is Family.AGENT:
        if event.type == "store_degraded":
            return STORE_THREAD
        if isinstance(event, AgentDegradedEvent):
            return agent_thread(f"health/{event.key}")
        if isinstance(event, AgentRecoveredEvent):
            return agent_thread(f"health/{event.begun_by}")
        return agent_thread(getattr(event, "instance", "") or event.project_id)
    return f"project/{event.project_id}"
