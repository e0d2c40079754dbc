"""Holds the answers and renders the configuration file from them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aintandem_notify.config.types.addresses import SIMULATOR
from aintandem_notify.init_wizard.presets import PRESETS, Preset, preset_lines, preset_tables
from aintandem_notify.init_wizard.toml_text import toml_string
from aintandem_notify.rules import formats

SECRETS: Final = "secrets"
"""The folder of secret files, beside the config."""
MAX_COMMENT: Final = 80
"""Characters of a project's name in a comment."""


@dataclass(frozen=True, slots=True)
class DraftInstance:
    """A plugin instance. ``keys`` are written into the config, ``secrets`` into separate files."""

    type: str
    name: str
    keys: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """The full name, as ``slack.team``."""
        return f"{self.type}.{self.name}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration that is not written yet. ``projects`` are pairs of an id or glob and a display name.

    The name may be empty. ``token`` replaces ``username`` and ``password``. ``time_zone`` is that of quiet hours.
    """

    url: str
    username: str = ""
    password: str = ""
    projects: Sequence[tuple[str, str]] = ()
    instances: Sequence[DraftInstance] = ()
    token: str = ""
    preset: Preset = PRESETS["ends"]
    time_zone: str = "UTC"

    @property
    def embedded(self) -> bool:
        """True if the URL means the embedded simulator."""
        return self.url == SIMULATOR

    def document(self) -> dict[str, Any]:
        """Returns the configuration as values, with its secrets inline."""
        login = {} if self.token or self.embedded else {"username": self.username}
        plugins: dict[str, dict[str, Any]] = {}
        for instance in self.instances:
            plugins.setdefault(instance.type, {})[instance.name] = {**instance.keys, **instance.secrets}
        return {
            "orchestrator": {"url": self.url, **login, **self._login_secret()},
            "projects": [{"id": project} for project, _ in self.projects],
            "plugins": plugins,
            **preset_tables(self.preset, self._destinations(), self.time_zone),
        }

    def _destinations(self) -> list[str]:
        return [instance.full_name for instance in self.instances]

    def secret_files(self, stem: str) -> dict[str, str]:
        """Returns the content of each secret file by its path relative to the config ``<stem>.toml``."""
        files = {_secret_file(stem, key): value for key, value in self._login_secret().items()}
        for instance in self.instances:
            for key, value in instance.secrets.items():
                files[_secret_file(stem, f"{instance.full_name}.{key}")] = value
        return files

    def _login_secret(self) -> dict[str, str]:
        if self.embedded:
            return {}
        return {"token": self.token} if self.token else {"password": self.password}

    def text(self, stem: str) -> str:
        """Returns the text of the config file; its secrets are references to ``secret_files``."""
        return "\n".join([*self._head(stem), "", *self._projects(), "", *self._plugins(stem), *self._preset(), ""])

    def _head(self, stem: str) -> Iterator[str]:
        yield "# A configuration of aintandem-notify, made by `aintandem-notify init`. With this file:"
        yield "#"
        yield "#     aintandem-notify check --connect FILE    # is it valid, and does everything answer?"
        yield "#     aintandem-notify run FILE                # watch and notify, until Ctrl-C"
        yield "#     aintandem-notify tail FILE               # show the events in this terminal"
        yield ""
        yield "[orchestrator]"
        if self.embedded:
            yield f"url = {toml_string(SIMULATOR)}    # made-up events; put your server's address here, as below"
            yield '# url = "http://localhost:9900"'
            yield '# username = "admin"'
            yield '# password = { env = "AINTANDEM_PASSWORD" }'
        else:
            yield f"url = {toml_string(self.url)}"
            if not self.token:
                yield f"username = {toml_string(self.username)}"
            for key in self._login_secret():
                yield f"{key} = {_file(_secret_file(stem, key))}"
        yield '# console_url = "https://console.example/projects/{{ project.id }}"   # the link in notifications'

    def _projects(self) -> Iterator[str]:
        for project, name in self.projects:
            yield "[[projects]]"
            comment = formats.one_line(name, MAX_COMMENT)
            yield f"id = {toml_string(project)}" + (f"    # {comment}" if comment and name != project else "")
            yield ""
        yield "# [[projects]]"
        yield '# id = "sales-*"    # a glob watches every project that matches, also those to come'

    def _plugins(self, stem: str) -> Iterator[str]:
        for instance in self.instances:
            yield f"[plugins.{instance.type}.{instance.name}]"
            for key, value in instance.keys.items():
                yield f"{key} = {toml_string(value)}"
            for key in instance.secrets:
                yield f"{key} = {_file(_secret_file(stem, f'{instance.full_name}.{key}'))}"
            yield ""

    def _preset(self) -> Iterator[str]:
        if not self.instances:
            yield "# [plugins.console.terminal]"
            yield ""
        yield from preset_lines(self.preset, self._destinations(), self.time_zone)


def _secret_file(stem: str, name: str) -> str:
    """Returns the path of a secret file. Two configs in one folder have different ones."""
    return f"{SECRETS}/{name}" if stem == "config" else f"{SECRETS}/{stem}.{name}"


def _file(path: str) -> str:
    return f"{{ file = {toml_string(path)} }}"
