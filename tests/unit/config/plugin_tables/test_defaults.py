"""The defaults that a plugin's model gives its keys: read as in the config, or refused with file and line."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aintandem_notify.api import Rate, Severity
from aintandem_notify.config import InstanceConfig
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins.config_loading import config_schema, load
from support.nasty import plugins as nasty

CONFIG = 'orchestrator.url = "simulator"\n[[projects]]\nid = "*"\n[plugins.x.y]\n'
HEAD = """\
from typing import Any
from pydantic import AliasChoices, BaseModel, Field, field_validator, model_validator
from aintandem_notify.api import Duration, FilePath, Plugin, PluginConfig, Rate, Secret, Severity, hookimpl
"""
PLUGIN = """
class Odd(Plugin[Config]):
    @hookimpl
    def deliver(self, notification): ...
"""
LINE = HEAD.count("\n") + 3

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def as_a_command() -> Iterator[None]:
    """Ctrl+C is handled elsewhere, as in the command: a KeyboardInterrupt is the plugin's."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes ``plugins/x.py`` and a config with one instance of it; returns the config's path."""

    def write_both(source: str, table: str = "") -> Path:
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / "x.py").write_text(source)
        path = tmp_path / "config.toml"
        path.write_text(CONFIG + table)
        return path

    return write_both


def model(*lines: str, before: str = "") -> str:
    """A plugin whose config has these lines."""
    return HEAD + before + "\nclass Config(PluginConfig):\n" + "".join(f"    {line}\n" for line in lines) + PLUGIN


def instance(config: Path) -> InstanceConfig:
    """The only instance of a valid config."""
    return load(config).config.instances["x.y"]


def refusal(config: Path) -> str:
    """The problems of a config, without the file and line of the config itself."""
    with pytest.raises(ConfigError) as caught:
        load(config)
    return str(caught.value).replace(f"{config}:4: plugins.x.y: ", "")


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('rate: Rate | None = "1/s"', "rate", Rate(1, 1.0)),
        ('rate: Rate = "30/m"', "rate", Rate(30, 60.0)),
        ("rate: Rate | None = Rate(2, 1)", "rate", Rate(2, 1.0)),
        ('max_age: Duration | None = "1h"', "max_age", 3600.0),
        ('max_age: Duration = "1h"', "max_age", 3600.0),
        ("max_age: Duration | None = 60", "max_age", 60.0),
        ('severity: Severity | None = "error"', "severity", Severity.ERROR),
        ('severity: Severity = "error"', "severity", Severity.ERROR),
        ('timeout: Duration = "5s"', "timeout", 5.0),
        ("timeout: Duration = 5", "timeout", 5.0),
        ("timeout: Duration = Field(default_factory=lambda: 7.5)", "timeout", 7.5),
        ('timeout: Duration = Field(default_factory=lambda: "7s")', "timeout", 7.0),
        ("mention: tuple[str, ...] = ['@ops']", "mention", ("@ops",)),
    ],
)
def test_a_default_of_a_common_key_counts_as_in_the_config(
    write: Write, line: str, key: str, value: object
) -> None:
    loaded = instance(write(model(line)))
    assert type(loaded.common) is PluginConfig
    for settings in (loaded.settings, loaded.common):
        assert getattr(settings, key) == value
        assert type(getattr(settings, key)) is type(value)
    assert key not in loaded.settings.model_fields_set


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('own: Duration = "1h"', 3600.0),
        ("own: tuple[Duration, ...] = (1, 2.5)", (1.0, 2.5)),
        ('own: tuple[Duration, ...] = ("1s", 2.5)', (1.0, 2.5)),
        ('own: list[Duration] = Field(default_factory=lambda: ["1m"])', [60.0]),
        ('own: Severity = "error"', Severity.ERROR),
        ('own: str | None = Field("text", alias="from")', "text"),
        ('own: Rate = Field("1/s", validation_alias=AliasChoices("old", "older"))', Rate(1, 1.0)),
        ("own: Any = None", None),
        ("own: str = ''", ""),
    ],
)
def test_a_default_of_an_own_key_is_read_too(write: Write, line: str, value: object) -> None:
    settings: Any = instance(write(model(line))).settings
    assert settings.own == value


def test_secrets_and_files_are_read_where_the_config_stands(write: Write, tmp_path: Path) -> None:
    config = write(model('token: Secret = "defaultcanary0123"', 'path: FilePath = "x.txt"'))
    settings: Any = instance(config).settings
    assert settings.token.reveal() == "defaultcanary0123"
    assert settings.path == tmp_path / "x.txt"
    assert "defaultcanary" not in json.dumps(config_schema(tmp_path / "plugins"))


def test_the_config_overrides_a_default_and_its_numbers_need_a_unit(write: Write) -> None:
    source = model('rate: Rate | None = "1/s"', "own: Duration = 5.0", 'token: Secret = { "env": "NOT_SET" }')
    settings: Any = instance(write(source, 'rate = "2/s"\nown = "1m"\ntoken = "written"\n')).settings
    assert (settings.rate, settings.own) == (Rate(2, 1.0), 60.0)
    assert "plugins.x.y.own: not a duration" in refusal(write(source, 'own = 5\ntoken = "written"\n'))
    assert refusal(write(source)) == (
        f"plugins/x.py:{LINE + 2}: token: the environment variable NOT_SET is not set"
    )


def test_validators_of_the_model_see_converted_defaults(write: Write) -> None:
    source = model(
        'rate: Rate | None = "1/s"',
        'url: str = ""',
        "interval: float = 0.0",
        "@field_validator('url')",
        "@classmethod",
        "def is_https(cls, url):",
        "    assert url.startswith('https://')",
        "    return url",
        "@model_validator(mode='after')",
        "def count(self):",
        "    self.__dict__['interval'] = self.rate.interval",
        "    return self",
    )
    settings: Any = instance(write(source)).settings
    assert (settings.interval, settings.url) == (1.0, "")
    assert "plugins.x.y.url" in refusal(write(source, 'url = "http://x"\n'))


def test_models_within_have_defaults_as_well(write: Write) -> None:
    inner = "class Retry(BaseModel):\n    pause: Duration = '5s'\n    most: int = 3\n"
    settings: Any = instance(write(model("retry: Retry = Retry()", before=inner))).settings
    assert settings.retry.pause == 5.0
    source = model("retry: Retry = Retry()", before=inner.replace("'5s'", "'soon'"))
    assert refusal(write(source)).startswith(f"plugins/x.py:{HEAD.count(chr(10)) + 2}: pause: not a duration")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('rate: Rate | None = "often"', "rate: not a rate; write it as"),
        ("rate: Rate | None = Rate(0, 1.0)", "rate: not a rate; its count and its seconds should be more than 0"),
        ("rate: Rate | None = Rate('3', None)", "rate: not a rate; its count and its seconds should be more"),
        ("max_age: Duration | None = -1.0", "max_age: should be from 0 seconds to a hundred years"),
        ("max_age: Duration | None = float('inf')", "max_age: should be from 0 seconds to a hundred years"),
        ("max_age: Duration | None = 10**400", "max_age: should be from 0 seconds to a hundred years"),
        ('severity: Severity | None = "loud"', "severity: should be info, success, warning, error or critical"),
        ("timeout: Duration = 0.0", "timeout: should be longer than 0s"),
        ("timeout: float = 5.0", "Config.timeout is a reserved key; its type cannot change"),
        ("timeout: Any = None", "Config.timeout is a reserved key; its type cannot change"),
        ("digest_over: int | None = 0", "Config.digest_over is a reserved key; its type cannot change"),
        ("events: tuple[str, ...] = ('x',)", "Config.events is a reserved key; its type cannot change"),
        ("when: str | None = '{{'", "Config.when is a reserved key; its type cannot change"),
        ("fallback: str | None = 'no.such'", "fallback: no destination called no.such"),
        ("fallback: str | None = 'x.y'", "fallback: x.y cannot take over from itself"),
        ("own: int = None", "own: should be a whole number, not None"),
        ("own: int = object()", "own: should be a whole number, not a value of type object"),
        ("own: int = Field(0, ge=1)", "own: should be at least 1"),
        ("own: 'Undefined' = 1", "Config: the type 'Undefined' is not defined"),
        ("own: list[int] = Field(default_factory=lambda: 'junk')", "own: should be a list, not a text"),
    ],
)
def test_a_wrong_default_is_refused_where_it_stands(write: Write, line: str, problem: str) -> None:
    text = refusal(write(model(line)))
    place = LINE - 1 if "Undefined" in line else LINE
    assert text.startswith(f"plugins/x.py:{place}: {problem}")
    assert "\n" not in text


def test_an_invalid_default_is_reported_once_for_all_instances_beside_other_mistakes(write: Write) -> None:
    config = write(
        model('rate: Rate | None = "often"'), 'unknown = 1\n[plugins.x.z]\nrate = "1/s"\n[plugins.x.w]\n'
    )
    text = refusal(config)
    assert text.count("not a rate") == 1
    assert text.count("unknown key") == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["more: int = Field(default_factory=lambda: 1 / 0)"], "ZeroDivisionError: division by zero"),
        (
            ["@field_validator('own', mode='before')", "@classmethod", "def no(cls, value): raise SystemExit(3)"],
            "SystemExit: 3",
        ),
        (["@model_validator(mode='after')", "def no(self): raise BaseException('odd')"], "BaseException: odd"),
        (["@model_validator(mode='before')", "@classmethod", "def no(cls, data): return no(data)"], "NameError"),
    ],
)
def test_a_model_that_breaks_is_reported_with_its_line(write: Write, lines: list[str], problem: str) -> None:
    text = refusal(write(model("own: int", *lines), "own = 1\n"))
    assert text.startswith(f"plugins/x.py:{LINE + len(lines)}: the plugin's own check of this table is broken: ")
    assert problem in text


@pytest.mark.parametrize(
    "lines",
    [
        ["@model_validator(mode='wrap')", "@classmethod", "def junk(cls, data, handler): return 7"],
        ["@model_validator(mode='after')", "def junk(self): self.__dict__['timeout'] = 'soon'; return self"],
        ["@model_validator(mode='after')", "def junk(self): self.__dict__['rate'] = 3; return self"],
        ["def __getattribute__(self, name): raise RuntimeError(name)"],
        [
            "own: int",
            "@field_validator('own')",
            "@classmethod",
            "def no(cls, value):",
            "    raise type('E', (ValueError,), {'__str__': lambda self: 1 / 0})",
        ],
    ],
    ids=["not itself", "a wrong timeout", "a wrong rate", "no attributes", "an error without a text"],
)
def test_a_model_that_lies_is_refused(write: Write, lines: list[str]) -> None:
    assert refusal(write(model(*lines), "own = 1\n" if lines[0] == "own: int" else ""))


def test_settings_that_cannot_be_compared_are_others_at_a_reload(write: Write) -> None:
    source = model("def __eq__(self, other): raise SystemExit")
    config = write(source)
    assert instance(config) != instance(config)
    assert instance(write(model("own: int = 1"))) == instance(config.with_name("config.toml"))


def outcome(config: Path) -> str | None:
    """The problems of the config; None if it is valid."""
    try:
        load(config)
    except ConfigError as error:
        return str(error)
    return None


NOT_IN_HERE = ("starts a thread that never ends", "logs through logging")
"""State that would stay in the process of the tests."""


@pytest.mark.parametrize("name", [name for name in nasty.LOADING if name not in NOT_IN_HERE])
def test_no_module_or_class_ends_the_reading_of_the_config(
    write: Write, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(nasty.LOADING[name])
    if (text := outcome(config)) is not None:
        assert "plugins/x.py" in text
        assert "\n" not in text
    config_schema(config.parent / "plugins")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", nasty.DEFAULTS)
def test_no_default_ends_the_reading_of_the_config_or_the_schema(write: Write, name: str) -> None:
    config = write(nasty.DEFAULTS[name])
    if (text := outcome(config)) is not None:
        assert "plugins/x.py:" in text
        assert "\n" not in text
    schema = json.dumps(config_schema(config.parent / "plugins"), allow_nan=False)
    assert "canary" not in schema
