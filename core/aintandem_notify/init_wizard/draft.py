"""What was answered, and the configuration that comes of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aintandem_notify.config.types.addresses import SIMULATOR
from aintandem_notify.rules import formats

SECRETS: Final = "secrets"
"""The folder of secret files, beside the config."""
LONGEST_COMMENT: Final = 80
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class DraftInstance:
    """A plugin to use: ``keys`` stand in the config, ``secrets`` in files of their own."""

    type: str
    name: str
    keys: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As ``slack.team``."""
        return f"{self.type}.{self.name}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration to be. ``projects`` are ids or globs with the name that people know, empty for none.

    ``token`` stands in place of ``username`` and ``password``.
    """

    url: str
    username: str = ""
    password: str = ""
    projects: Sequence[tuple[str, str]] = ()
    instances: Sequence[DraftInstance] = ()
    token: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the simulator in this package is meant."""
        return self.url == SIMULATOR

    def document(self) -> dict[str, Any]:
        """The configuration as values, its secrets inline."""
        login = {} if self.token or self.embedded else {"username": self.username}
        plugins: dict[str, dict[str, Any]] = {}
        for one in self.instances:
            plugins.setdefault(one.type, {})[one.name] = {**one.keys, **one.secrets}
        return {
            "orchestrator": {"url": self.url, **login, **self._login_secret()},
            "projects": [{"id": project} for project, _ in self.projects],
            "plugins": plugins,
        }

    def secret_files(self, stem: str) -> dict[str, str]:
        """What goes into which file, by its path beside the config, whose name without ``.toml`` is ``stem``."""
        files = {_secret_file(stem, key): value for key, value in self._login_secret().items()}
        for one in self.instances:
            for key, value in one.secrets.items():
                files[_secret_file(stem, f"{one.full_name}.{key}")] = value
        return files

    def _login_secret(self) -> dict[str, str]:
        if self.embedded:
            return {}
        return {"token": self.token} if self.token else {"password": self.password}

    def text(self, stem: str) -> str:
        """The config file, its secrets in the files of ``secret_files``."""
        return "\n".join([*self._head(stem), "", *self._projects(), "", *self._plugins(stem), *self._rules(), ""])

    def _head(self, stem: str) -> Iterator[str]:
        yield "# A configuration of aintandem-notify, made by `aintandem-notify init`. With this file:"
        yield "#"
        yield "#     aintandem-notify check --connect FILE    # is it right, and does all answer?"
        yield "#     aintandem-notify run FILE                # watch and notify, until Ctrl-C"
        yield "#     aintandem-notify tail FILE               # look on in this terminal"
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
        yield '# console_url = "https://console.example/projects/{{ project.id }}"   # what notifications link to'

    def _projects(self) -> Iterator[str]:
        for project, name in self.projects:
            yield "[[projects]]"
            comment = formats.one_line(name, LONGEST_COMMENT)
            yield f"id = {toml_string(project)}" + (f"    # {comment}" if comment and name != project else "")
            yield ""
        yield "# [[projects]]"
        yield '# id = "sales-*"    # a glob watches every project that matches, also those to come'

    def _plugins(self, stem: str) -> Iterator[str]:
        for one in self.instances:
            yield f"[plugins.{one.type}.{one.name}]"
            for key, value in one.keys.items():
                yield f"{key} = {toml_string(value)}"
            for key in one.secrets:
                yield f"{key} = {_file(_secret_file(stem, f'{one.full_name}.{key}'))}"
            yield ""

    def _rules(self) -> Iterator[str]:
        destination = self.instances[0].full_name if self.instances else "console.terminal"
        if not self.instances:
            yield "# [plugins.console.terminal]"
            yield ""
        yield "# Without rules every plugin hears of what ends, well or not. Rules make it finer:"
        yield "#"
        yield "# [[rules]]"
        yield '# name = "long failures"'
        yield '# events = ["task_failed", "workflow_execution_failed", "sandbox_error"]'
        yield '# when = "run.duration is none or run.duration > 60"    # Jinja2; seconds'
        yield f"# notify = [{toml_string(destination)}]"


def _secret_file(stem: str, name: str) -> str:
    """Two configs in one folder have their own files."""
    return f"{SECRETS}/{name}" if stem == "config" else f"{SECRETS}/{stem}.{name}"


def _file(path: str) -> str:
    return f"{{ file = {toml_string(path)} }}"


def toml_string(text: str) -> str:
    """``text`` as a TOML string, whatever is in it but halves of characters, which no file of UTF-8 can hold."""
    return '"' + "".join(_ESCAPES.get(one) or _escaped(one) for one in text) + '"'


def _escaped(one: str) -> str:
    return one if one.isprintable() else f"\\U{ord(one):08x}"
