"""The kinds of value that a config is made of, beyond TOML's own: durations, rates, secrets, paths.

All are annotated types that pydantic validates, so that plugin authors use them in their own models. What
needs the config's surroundings (its folder, the environment, the language of rules) takes them from the
validation context, a ``Surroundings`` under the key ``"surroundings"``. Models that are made in Python, without
that context, take durations as seconds and check no rule language.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from aintandem_notify import log

_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])")
# What a variable is called by custom; anything else may be the secret itself, written in the wrong place.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")

LONGEST_DURATION: Final = 36_500 * 86_400.0
"""Seconds that a duration may have, a hundred years; ours, so that a date minus a duration stays a date."""


DURATION_PATTERN: Final = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
"""The form of a duration in the JSON Schema."""


class RuleLanguage(Protocol):
    """Says what is wrong with the texts of a rule; None for what is fine.

    Implemented above this row, so it comes in with the surroundings.
    """

    def event_glob_problem(self, glob: str) -> str | None:
        """For one entry of ``events``."""
        ...

    def expression_problem(self, text: str) -> str | None:
        """For ``when``."""
        ...

    def template_problem(self, text: str) -> str | None:
        """For ``title``, ``body`` and ``console_url``."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a config stands: relative paths start at ``base_dir``, ``{ env = … }`` looks into ``environ``.

    ``language`` checks globs, expressions and templates; None takes them as they are.
    """

    base_dir: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    language: RuleLanguage | None = None

    @classmethod
    def of(cls, info: ValidationInfo[Any]) -> Self:
        """The surroundings of the validation at hand; the working directory and our environment if none."""
        found = (info.context or {}).get("surroundings")
        return found if isinstance(found, cls) else cls()


def _in_config(info: ValidationInfo[Any]) -> bool:
    """Whether a config file is being read, as opposed to a model made in Python."""
    return isinstance((info.context or {}).get("surroundings"), Surroundings)


def parse_duration(value: object) -> float:
    """Seconds in ``"500ms"``, ``"10s"``, ``"15m"``, ``"2h"`` or ``"1d"``; raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"')
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST_DURATION:
        raise ValueError("this is longer than a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` as a config writes them, in the largest unit that is exact to the millisecond: ``"15m"``."""
    milliseconds = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(milliseconds, round(_UNITS[unit] * 1000))
        if count and not rest:
            return f"{count}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _duration(value: object, info: ValidationInfo[Any]) -> float:
    # In a config a number without a unit is refused; in Python seconds are the unit.
    if not _in_config(info) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return parse_duration(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["10s", "15m"]}),
]
"""A length of time, in seconds; written as ``"10s"``."""


def _longer_than_nothing(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("should be longer than 0s")
    return seconds


PositiveDuration = Annotated[Duration, AfterValidator(_longer_than_nothing)]
"""As ``Duration``, more than 0."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` in each ``seconds``; written as ``"1/s"``, ``"30/m"`` or ``"100/h"``."""

    count: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds between two, evenly spread."""
        return self.seconds / self.count

    @classmethod
    def parse(cls, value: object) -> Self:
        """Raises ValueError for what is no rate."""
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError('not a rate; write it as "1/s", "30/m" or "100/h"')
        return cls(int(match[1]), _UNITS[match[2]])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Rate) else cls.parse(value)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[1-9]\d*/[smh]$", "examples": ["1/s", "30/m"]}


class Secret:
    """A text that never shows itself; written inline, as ``{ env = "NAME" }`` or as ``{ file = "PATH" }``.

    Reading one announces it to the log, which keeps it out of every line. A file is read once, relative to
    the config, without its trailing line break.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        log.hide(value)

    def reveal(self) -> str:
        """The secret itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def read(cls, value: object, surroundings: Surroundings) -> Self:
        """Raises ValueError with a sentence that does not hold the value."""
        match value:
            case cls():
                return value
            case str():
                return cls._checked(value, "the secret is empty")
            case {"env": str(name), **others} if not others:
                return cls._from_variable(name, surroundings.environ)
            case {"file": str(name), **others} if not others:
                return cls._from_file(name, surroundings.base_dir)
            case _:
                raise ValueError('not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }')

    @classmethod
    def _from_variable(cls, name: str, environ: Mapping[str, str]) -> Self:
        called = f"the environment variable {name}" if _VARIABLE.fullmatch(name) else "the environment variable"
        if name not in environ:
            raise ValueError(f"{called} is not set")
        return cls._checked(environ[name], f"{called} is empty")

    @classmethod
    def _from_file(cls, name: str, base_dir: Path) -> Self:
        called = "the secret's file"
        try:
            path = base_dir / Path(name).expanduser()
            # A relative name is not repeated: it may be the secret itself, written in the wrong place.
            called += f" {path}" if name.startswith(("/", "~/")) else f" (relative to {base_dir})"
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home directory for "~"
            reason = error.strerror if isinstance(error, OSError) else "it is no file of UTF-8 text"
            raise ValueError(f"cannot read {called}: {reason}") from None
        return cls._checked(text.rstrip("\r\n"), f"{called} is empty")

    @classmethod
    def _checked(cls, text: str, if_empty: str) -> Self:
        if not text:
            raise ValueError(if_empty)
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: cls.read(value, Surroundings.of(info))
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        def table(key: str, description: str) -> JsonSchemaValue:
            return {
                "type": "object",
                "properties": {key: {"type": "string", "description": description}},
                "required": [key],
                "additionalProperties": False,
            }

        return {
            "anyOf": [
                {"type": "string"},
                table("env", "name of an environment variable"),
                table("file", "path of a file, relative to the config"),
            ]
        }


def _path(value: object, info: ValidationInfo[Any]) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError('not a path; write it as "folder/file"')
    try:
        return Surroundings.of(info).base_dir / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no home directory for ~") from None


FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
"""A path; a relative one starts at the config file's folder, ``~`` is the home directory."""


def _checked_by(check: str) -> AfterValidator:
    """A validator that asks the rule language's method ``check``."""

    def validate(text: str, info: ValidationInfo[Any]) -> str:
        language = Surroundings.of(info).language
        problem: str | None = None if language is None else getattr(language, check)(text)
        if problem is not None:
            raise ValueError(problem)
        return text

    return AfterValidator(validate)


EVENT_GLOB_FORMAT: Final = "event-glob"
"""What marks an event glob until the JSON Schema of the whole config is put together."""

EventGlob = Annotated[
    str, _checked_by("event_glob_problem"), WithJsonSchema({"type": "string", "format": EVENT_GLOB_FORMAT})
]
"""``"task_failed"``, ``"*_failed"`` or ``"task/*"``."""

Expression = Annotated[str, _checked_by("expression_problem")]
"""A Jinja2 expression over event, run and project."""

Template = Annotated[str, _checked_by("template_problem")]
"""A Jinja2 template over event, run and project."""
