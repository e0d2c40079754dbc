"""Configs for tests of rules, made in Python."""

from pathlib import Path
from typing import Any

from aintandem_notify.config import (
    Config,
    InstanceConfig,
    OrchestratorConfig,
    PluginConfig,
    ProjectConfig,
    RuleConfig,
)
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Notification
from aintandem_notify.rules import RoutedNotification, Router
from support.happenings import NOW, project_of, run_of


def destination(name: str, *, is_for_people: bool = True, **settings: Any) -> InstanceConfig:
    """An instance that delivers, as ``slack.team``."""
    return InstanceConfig(
        name,
        name.split(".")[0],
        True,
        PluginConfig(**settings),
        PluginConfig(**settings),
        is_for_people=is_for_people,
    )


def watcher(name: str, **settings: Any) -> InstanceConfig:
    """An instance that only watches."""
    return InstanceConfig(name, name.split(".")[0], False, PluginConfig(**settings), PluginConfig(**settings))


def rule(name: str, events: str, notify: str, **more: Any) -> RuleConfig:
    """A rule; ``events`` and ``notify`` are separated by spaces."""
    recipients = notify if notify == "nobody" else tuple(notify.split())
    return RuleConfig(name=name, events=tuple(events.split()), notify=recipients, **more)


def config(*parts: InstanceConfig | RuleConfig, console_url: str | None = None) -> Config:
    """A config of these instances and rules, in this order."""
    return Config(
        source=Path("/etc/notify/config.toml"),
        base_dir=Path("/etc/notify"),
        orchestrator=OrchestratorConfig(url="simulator", console_url=console_url),
        projects=(ProjectConfig(id="*"),),
        instances={part.name: part for part in parts if isinstance(part, InstanceConfig)},
        rules=tuple(part for part in parts if isinstance(part, RuleConfig)),
    )


SLACK, FILE, HOOK = destination("slack.team"), destination("file_log.audit"), destination("webhook.ops")


def routed(settings: Config, event: Event, **facts: Any) -> list[RoutedNotification]:
    return Router(settings).route(event, run_of(event, **facts), project_of(event), NOW)


def only(notifications: list[RoutedNotification]) -> Notification:
    [single] = notifications
    return single.notification
