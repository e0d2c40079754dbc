"""Describes watches in words, and warns of those that cannot work."""

from collections.abc import Iterator
from typing import Final

from aintandem_notify.config.models import Config
from aintandem_notify.config.types.values import format_duration
from aintandem_notify.config.watch_config import WatchConfig, WatchKind, shortest_period
from aintandem_notify.domain.notification import Project
from aintandem_notify.rules.effective_rules import EffectiveRule, resolve_rules
from aintandem_notify.rules.globs import project_matcher

TROUBLE_TYPE: Final = {
    WatchKind.STALLED: "run_stalled",
    WatchKind.OVERDUE: "run_overdue",
    WatchKind.QUEUED: "run_waiting",
    WatchKind.PAUSED: "run_waiting",
    WatchKind.MISSING: "run_missing",
    WatchKind.TOO_FAST: "run_too_fast",
}
"""By kind of watch: the type of the trouble that it finds."""

_FAILURE_TYPES: Final = {
    "tasks": "task_failed",
    "workflows": "workflow_execution_failed",
    "sandboxes": "sandbox_error",
}


def watch_words(config: Config) -> Iterator[tuple[str, str]]:
    """Each watch with its words: ``tasks train-* that are silent for 15m; told to slack.lead``."""
    for watch in config.watches:
        projects = f" in projects {', '.join(watch.projects)}" if watch.projects else ""
        to = (
            "as a failure would be, unless a rule takes it"
            if watch.notify is None
            else f"to {', '.join(watch.notify)}"
        )
        yield watch.name, f"{_runs(watch)}{projects} {_condition(watch)}; told {to}"


def _runs(watch: WatchConfig) -> str:
    globs = {"tasks": watch.tasks, "workflows": watch.workflows, "sandboxes": watch.sandboxes}
    named = [f"{kind} {', '.join(patterns)}" for kind, patterns in globs.items() if patterns]
    if named:
        return " and ".join(named)
    match watch.kind:
        case WatchKind.STALLED:
            return "tasks and workflows"
        case WatchKind.PAUSED:
            return "workflows"
        case _:
            return "runs"


def _condition(watch: WatchConfig) -> str:
    parts: list[str] = []
    if watch.silent_for is not None:
        parts.append(f"are silent for {format_duration(watch.silent_for)}")
    if watch.no_progress_for is not None:
        parts.append(f"make no progress for {format_duration(watch.no_progress_for)}")
    if watch.running_for is not None:
        parts.append(f"run for {format_duration(watch.running_for)}")
    if (slower := watch.slower_than) is not None:
        parts.append(
            f"take {slower.times:g} times as long as {slower.quantile * 100:g} % of those before, "
            f"at least {format_duration(slower.at_least)}"
        )
    if watch.waiting_for is not None:
        again = "" if watch.remind_every is None else f", and again each {format_duration(watch.remind_every)}"
        parts.append(f"are {watch.kind} for {format_duration(watch.waiting_for)}{again}")
    if watch.faster_than is not None:
        parts.append(f"succeed in less than {format_duration(watch.faster_than)}")
    if watch.kind is WatchKind.MISSING:
        when = (
            f"each {format_duration(watch.every)}"
            if watch.every is not None
            else f"at {watch.cron} {watch.zone.key}"
        )
        parts.append(f"do not start {when}, {format_duration(watch.grace_s)} of grace")
    return "that " + " or ".join(parts)


def watch_warnings(config: Config) -> Iterator[str]:
    """One sentence for each watch that cannot work as written."""
    rules = resolve_rules(config)
    for watch in config.watches:
        if watch.notify is None and not _is_told(watch, rules):
            yield (
                f"watch {watch.name} tells nobody: it has no notify, and no rule takes "
                f"watch/{TROUBLE_TYPE[watch.kind]} or failures of its runs"
            )
        if watch.kind is WatchKind.MISSING and (period := shortest_period(watch)) and watch.grace_s > period:
            yield (
                f"watch {watch.name} has a grace of {format_duration(watch.grace_s)}, longer than the "
                f"{format_duration(period)} between two expected runs: a missing one is noticed after the next"
            )
        silent, stuck = watch.silent_for, watch.no_progress_for
        if silent is not None and stuck is not None and stuck <= silent:
            yield f"watch {watch.name}: silent_for has no effect, because no_progress_for is not longer"
        if watch.projects is not None and not _matches_a_project(watch.projects, config):
            yield (
                f"watch {watch.name} is for {', '.join(watch.projects)} only, and no project here has such an id "
                "or name"
            )


def _matches_a_project(globs: tuple[str, ...], config: Config) -> bool:
    if any(project.is_glob for project in config.projects):
        return True
    watched = (Project(id=entry.id, name=entry.name or entry.id) for entry in config.projects)
    return any(map(project_matcher(globs), watched))


def _is_told(watch: WatchConfig, rules: tuple[EffectiveRule, ...]) -> bool:
    failures = [
        event_type for key, event_type in _FAILURE_TYPES.items() if getattr(watch, key) is not None
    ] or list(_FAILURE_TYPES.values())
    own = _reaches_somebody(TROUBLE_TYPE[watch.kind], rules)
    return own if own is not None else any(_reaches_somebody(event_type, rules) for event_type in failures)


def _reaches_somebody(event_type: str, rules: tuple[EffectiveRule, ...]) -> bool | None:
    """True if a rule may tell somebody of the type; False if one keeps it from all; None if none takes it."""
    for rule in rules:
        if event_type in rule.types and rule.destinations:
            return True
        if event_type in rule.types and not rule.is_conditional:
            return False
    return None
