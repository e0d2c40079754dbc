"""Configs as texts, a catalog of fake plugin types, and the problems of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, field_validator

from aintandem_notify.config import Config, FilePath, PluginConfig, PluginType, Secret, load
from aintandem_notify.errors import ConfigError, PluginError
from aintandem_notify.rules import JinjaRuleLanguage


class ChatConfig(PluginConfig):
    """The config of a plugin like slack."""

    webhook_url: Secret | None = None
    bot_token: Secret | None = None
    channel: str | None = None
    lines: int = Field(5, ge=1, le=50)
    colours: dict[str, str] = Field(default_factory=dict)
    targets: str | list[str] = "all"

    @field_validator("channel")
    @classmethod
    def _name(cls, channel: str | None) -> str | None:
        if channel is not None and not channel.startswith("#"):
            raise ValueError(f"{channel!r} does not begin with #")
        return channel


class FileConfig(PluginConfig):
    """The config of a plugin like file_log."""

    path: FilePath


class WatcherConfig(PluginConfig):
    """The config of a plugin without deliver."""

    port: int = 9100


@dataclass(frozen=True)
class FakeType:
    """A plugin type without a plugin."""

    name: str
    config_model: type[PluginConfig]
    delivers: bool = True
    is_for_people: bool = True

    def source_location(self, cls: type, attribute: str | None = None) -> str:
        """As if the class were in a file."""
        return f"plugins/{self.name}.py"

    def raised_at(self, error: BaseException) -> str:
        """Unknown."""
        return ""


CHAT = FakeType("slack", ChatConfig)
FILE = FakeType("file_log", FileConfig)
WATCHER = FakeType("prometheus", WatcherConfig, delivers=False)


@dataclass
class FakeCatalog:
    """Knows these types; ``requested`` has the names asked for."""

    types: Sequence[FakeType] = (CHAT, FILE, WATCHER)
    broken: Mapping[str, str] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)

    def names(self, plugins_dir: Path) -> Sequence[str]:
        return [*(known.name for known in self.types), *self.broken]

    def find(self, name: str, plugins_dir: Path) -> PluginType:
        self.requested.append(name)
        if name in self.broken:
            raise PluginError(name, self.broken[name])
        return next(known for known in self.types if known.name == name)


MINIMAL = """\
[orchestrator]
url = "simulator"
[[projects]]
id = "p1"
"""
"""The shortest valid config."""

WHOLE = """\
plugins_dir = "mine"
[orchestrator]
url = "http://localhost:9900/"
username = "admin"
password = { env = "AINTANDEM_PASSWORD" }
console_url = "https://console.example/projects/{{ project.id }}"
[[projects]]
id = "project-123"
name = "Sales pipeline"
[[projects]]
id = "sales-*"
[plugins.slack.team]
webhook_url = { env = "SLACK_WEBHOOK_URL" }
rate = "1/s"
max_age = "1d"
fallback = "file_log.audit"
fallback_after = "5m"
digest_over = "never"
[plugins.slack.me]
events = ["task_completed", "task_failed"]
severity = "critical"
[plugins.slack.later]
enabled = false
webhok_url = "left out as if its table were not there"
[plugins.file_log.audit]
path = "notifications.jsonl"
[plugins.prometheus.all]
events = ["*", "connection/*"]
projects = ["sales-*"]
[[rules]]
name = "failures"
events = ["task_failed", "workflow_execution_failed", "sandbox_error"]
projects = ["project-123"]
when = "run.duration is none or run.duration > 60"
notify = ["slack.team", "file_log.audit"]
severity = "error"
mention = ["here", "U123"]
title = "{{ run.name }} failed"
body = "{{ event.error }}"
[connection]
connect_timeout = "5s"
heartbeat_interval = "1m"
reconnect_initial_delay = "500ms"
reconnect_max_delay = "2m"
reconnect_attempts = 10
catch_up_max = "1h"
discover_interval = "1m"
proxy = "http://proxy:3128"
no_proxy = ["localhost", ".internal.example"]
allow_addresses = ["169.254.10.0/24"]
ca_file = "ca.pem"
[store]
url = "sqlite:///state.db"
[delivery]
drain_timeout = "30s"
max_age = "1d"
[agent]
heartbeat_url = { env = "HEARTBEAT_URL" }
heartbeat_interval = "30s"
[control]
listen = "[::1]:9901"
[log]
level = "debug"
format = "json"
"""
"""A config with every table and key."""

ENVIRON = {
    "AINTANDEM_PASSWORD": "pass word",
    "SLACK_WEBHOOK_URL": "https://hooks.example/x",
    "HEARTBEAT_URL": "https://hc.example/ping/1",
}
"""The environment that ``WHOLE`` needs, beside a folder ``mine``."""


def load_text(
    folder: Path, text: str, environ: Mapping[str, str] | None = None, catalog: FakeCatalog | None = None
) -> Config:
    """The config in ``text``, as if it were in ``folder``."""
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_file(path, environ, catalog)


def load_file(path: Path, environ: Mapping[str, str] | None = None, catalog: FakeCatalog | None = None) -> Config:
    """The config in the file, checked with the real rule language."""
    return load(path, catalog=catalog or FakeCatalog(), language=JinjaRuleLanguage(), environ=environ or {})


def problems(
    folder: Path, text: str, environ: Mapping[str, str] | None = None, catalog: FakeCatalog | None = None
) -> list[str]:
    """The problems of ``text``, each as ``14: key: message``; empty if it is valid."""
    try:
        load_text(folder, text, environ, catalog)
    except ConfigError as error:
        return [problem.describe("").lstrip(":") for problem in error.problems]
    return []
