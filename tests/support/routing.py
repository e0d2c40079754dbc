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
    return RuleConfig(name=name, events=tuple(events.split()), notify=tuple(notify.split()), **more)


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
