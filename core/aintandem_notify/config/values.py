"""The kinds of value that a config is made of, beyond TOML's own: durations, rates, secrets, paths.

All are annotated types that pydantic validates, so that plugin authors use them in their own models. What
needs the config's surroundings (its folder, the environment) takes them from the validation context, a
``Surroundings`` under the key ``"surroundings"``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
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
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_RATE: Final = re.compile(r"([1-9]\d*)/([smh])")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a config stands: relative paths start at ``base_dir``, ``{ env = … }`` looks into ``environ``."""

    base_dir: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @classmethod
    def of(cls, info: ValidationInfo[Any]) -> Self:
        """The surroundings of the validation at hand; the working directory and our environment if none."""
        found = (info.context or {}).get("surroundings")
        return found if isinstance(found, cls) else cls()


def parse_duration(value: object) -> float:
    """Seconds in ``"500ms"``, ``"10s"``, ``"15m"``, ``"2h"`` or ``"1d"``; raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"')
    return float(match[1]) * _UNITS[match[2]]


def _duration(value: object) -> float:
    # A default written in Python is a float of seconds already; a config can only bring text or a number,
    # and a number without a unit is refused.
    return parse_duration(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["10s", "15m"]}),
]
"""A length of time, in seconds; written as ``"10s"``. Defaults are given in seconds and not validated."""


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
                if name not in surroundings.environ:
                    raise ValueError(f"the environment variable {name} is not set")
                return cls._checked(surroundings.environ[name], f"the environment variable {name} is empty")
            case {"file": str(name), **others} if not others:
                path = surroundings.base_dir / Path(name).expanduser()
                try:
                    text = path.read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                    raise ValueError(f"cannot read the secret's file {path}: {reason}") from None
                return cls._checked(text.rstrip("\r\n"), f"the secret's file {path} is empty")
            case _:
                raise ValueError('not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }')

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
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("not a path")
    return Surroundings.of(info).base_dir / Path(value).expanduser()


FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
"""A path; a relative one starts at the config file's folder, ``~`` is the home directory."""
