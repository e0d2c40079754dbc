"""The values of a notification by which ``once_per`` and ``group`` decide."""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

from aintandem_notify.config.rule_config import GROUP_WORDS
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.log import get_logger
from aintandem_notify.rules import formats
from aintandem_notify.rules.effective_rules import EffectiveRule, Stages
from aintandem_notify.rules.facts import event_field
from aintandem_notify.rules.scope import Scope, scope
from aintandem_notify.rules.templates.templating import Render, compile_template

MAX_VALUE_CHARACTERS: Final = 100
"""Characters of a value as people see it. The whole value decides."""

_SEPARATOR: Final = "\x1f"
_ID_OR_NUMBER: Final = re.compile(r"\b(?=\w*\d)[\w-]{6,}\b|\d+")
_MAX_ERROR_CHARACTERS: Final = 500

_log: Final = get_logger("rules")


def blank_numbers(error: str) -> str:
    """The error's beginning with a ``#`` for each number and each id, so that equal kinds of errors are equal."""
    return _ID_OR_NUMBER.sub("#", error[:_MAX_ERROR_CHARACTERS])


def _task(notification: Notification) -> str:
    run = notification.run
    return run.name if run is not None and run.kind is Family.TASK else ""


def _sandbox(notification: Notification) -> str:
    run = notification.run
    return run.name if run is not None and run.kind is Family.SANDBOX else ""


def _project(notification: Notification) -> str:
    project = notification.project
    return project.name if project is not None else notification.event.project_id or ""


_WORDS: Final[Mapping[str, Callable[[Notification], str]]] = {
    "project": _project,
    "task": _task,
    "workflow": lambda notification: (notification.run.workflow_id or "") if notification.run is not None else "",
    "sandbox": _sandbox,
    "rule": lambda notification: notification.rule,
    "type": lambda notification: notification.event.type,
    "severity": lambda notification: notification.severity.value,
    "error": lambda notification: blank_numbers(formats.as_text(event_field(notification.event, "error"))),
}
assert tuple(_WORDS) == GROUP_WORDS  # noqa: S101


class StageValues:
    """Renders the values of one rule."""

    def __init__(self, rule: EffectiveRule) -> None:
        self._rule = rule.name
        self._stages: Stages = rule.stages
        self._subject = None if rule.stages.subject is None else compile_template(rule.stages.subject)
        self._once_per = None if rule.stages.once_per is None else compile_template(rule.stages.once_per)
        by = () if rule.stages.group is None else rule.stages.group.by
        self._group = tuple(_WORDS[entry] if entry in _WORDS else _from_template(entry) for entry in by)
        self._logged: set[str] = set()

    def once_value(self, notification: Notification) -> str | None:
        """The value of ``once_per``; None if the stage is not asked, also because the template raises."""
        try:
            return self._render_once(notification)
        except Exception as error:  # noqa: BLE001  # a template may raise anything
            self._log_once("once_per", error)
            return None

    def group_value(self, notification: Notification) -> str | None:
        """The values of the group; None if the stage is not asked, also because a template raises."""
        try:
            return self._render_group(notification)
        except Exception as error:  # noqa: BLE001
            self._log_once("group", error)
            return None

    def subject_value(self, event: Event, run: Run | None, project: Project | None) -> str | None:
        """The value of ``subject``; None if the rule has none, also because the template raises."""
        if self._subject is None:
            return None
        try:
            return self._subject(scope(event, run, project)) or None
        except Exception as error:  # noqa: BLE001  # a template may raise anything
            self._log_once("subject", error)
            return None

    def once_error(self, notification: Notification) -> str | None:
        """The error that ``once_per`` raises; None if it raises none."""
        return _error_of(self._render_once, notification)

    def group_error(self, notification: Notification) -> str | None:
        """The error that a template of the group raises; None if none does."""
        return _error_of(self._render_group, notification)

    def _render_once(self, notification: Notification) -> str | None:
        if self._once_per is None:
            return None if self._stages.cooldown is None else ""
        return _hashed((self._once_per(_scope(notification)),))

    def _render_group(self, notification: Notification) -> str | None:
        return _hashed([value(notification) for value in self._group]) if self._group else None

    def _log_once(self, stage: str, error: Exception) -> None:
        if stage not in self._logged:
            self._logged.add(stage)
            _log.warning(
                "a rule raised an exception",
                rule=self._rule,
                part=stage,
                reason=_describe(error),
                so=_CONSEQUENCES[stage],
            )


_CONSEQUENCES: Final = {
    "once_per": "it tells at once",
    "group": "it tells at once",
    "subject": "the name of the run is the subject",
}


def _error_of(render: Callable[[Notification], object], notification: Notification) -> str | None:
    try:
        render(notification)
    except Exception as error:  # noqa: BLE001  # a template may raise anything
        return _describe(error)
    return None


def _describe(error: Exception) -> str:
    return formats.one_line(f"{type(error).__name__}: {error}", MAX_VALUE_CHARACTERS)


def _from_template(text: str) -> Callable[[Notification], str]:
    render: Render = compile_template(text)
    return lambda notification: render(_scope(notification))


def _scope(notification: Notification) -> Scope:
    return scope(notification.event, notification.run, notification.project)


def _hashed(values: "list[str] | tuple[str, ...]") -> str:
    """The values for people, cut and without secrets, and a hash of the whole values."""
    digest = blake2b(_SEPARATOR.join(values).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{_SEPARATOR.join(formats.one_line(value, MAX_VALUE_CHARACTERS) for value in values)}#{digest}"


def label(value: str) -> str:
    """The values for people, as ``Sales pipeline, train``."""
    return ", ".join(filter(None, value.rpartition("#")[0].split(_SEPARATOR)))
