"""The value types of a config beyond TOML's own: durations, rates, paths, event globs, templates.

All are types that pydantic validates, so plugin authors can use them in their own models. Some need the config's
folder, environment or rule language; they take these from a ``ValidationContext``, under the key ``"config"`` of
pydantic's context. Models made in Python, without that context, take durations as seconds and check no rule
language. Secrets have a module of their own.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

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

from aintandem_notify.config.types.context import RuleLanguage, ValidationContext, in_config
from aintandem_notify.config.types.secret import Secret

__all__ = [
    "DURATION_PATTERN",
    "EVENT_GLOB_FORMAT",
    "MAX_DURATION_S",
    "Duration",
    "EventGlob",
    "Expression",
    "FilePath",
    "PositiveDuration",
    "Rate",
    "RuleLanguage",
    "Secret",
    "Template",
    "ValidationContext",
    "format_duration",
    "format_rate",
    "parse_duration",
]

_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])")

MAX_DURATION_S: Final = 36_500 * 86_400.0
"""Seconds of the longest duration, a hundred years; our limit, so that a date minus a duration is valid."""


DURATION_PATTERN: Final = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
"""The pattern of a duration in the JSON Schema."""


def parse_duration(value: object) -> float:
    """Seconds in ``"500ms"``, ``"10s"``, ``"15m"``, ``"2h"`` or ``"1d"``; raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"')
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > MAX_DURATION_S:
        raise ValueError("this is longer than a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` as written in a config, in the largest unit that is exact to the millisecond: ``"15m"``."""
    milliseconds = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        count, remainder = divmod(milliseconds, round(_UNITS[unit] * 1000))
        if count and not remainder:
            return f"{count}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _read_duration(value: object, info: ValidationInfo[Any]) -> float:
    # In a config a number without a unit is refused; in Python seconds are the unit.
    if not in_config(info) and isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= MAX_DURATION_S:  # NaN fails this, too
            raise ValueError("should be from 0 seconds to a hundred years")
        return float(value)
    return parse_duration(value)


Duration = Annotated[
    float,
    BeforeValidator(_read_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["10s", "15m"]}),
]
"""A length of time, in seconds; written as ``"10s"``."""


def _require_positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("should be longer than 0s")
    return seconds


PositiveDuration = Annotated[Duration, AfterValidator(_require_positive)]
"""As ``Duration``, more than 0."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` in each ``seconds``; written as ``"1/s"``, ``"30/m"`` or ``"100/h"``."""

    count: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds from one to the next, if they are evenly spread."""
        return self.seconds / self.count

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse ``"30/m"``; raises ValueError if it is no rate."""
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError('not a rate; write it as "1/s", "30/m" or "100/h"')
        return cls(int(match[1]), _UNITS[match[2]])

    @classmethod
    def read(cls, value: object) -> Self:
        """As ``parse``; accepts also a valid rate made in Python."""
        if not isinstance(value, Rate):
            return cls.parse(value)
        count, seconds = value.count, value.seconds
        if (
            type(count) is not int
            or type(seconds) not in (int, float)
            or not (count > 0 and 0 < seconds < math.inf)
        ):
            raise ValueError("not a rate; its count and its seconds should be more than 0")
        return cls(count, float(seconds))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.read)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[1-9]\d*/[smh]$", "examples": ["1/s", "30/m"]}


def format_rate(rate: Rate) -> str | None:
    """``rate`` as written in a config, ``"30/m"``; None if its seconds are no unit."""
    unit = next((unit for unit in "smh" if _UNITS[unit] == rate.seconds), None)
    return unit and f"{rate.count}/{unit}"


def _read_path(value: object, info: ValidationInfo[Any]) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError('not a path; write it as "folder/file"')
    try:
        return ValidationContext.of(info).base_dir / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no home directory for ~") from None


FilePath = Annotated[Path, BeforeValidator(_read_path), WithJsonSchema({"type": "string"})]
"""A path; a relative one starts at the config file's folder, ``~`` is the home directory."""


def _checked_by(check: str) -> AfterValidator:
    """A validator that calls the rule language's method ``check``."""

    def validate(text: str, info: ValidationInfo[Any]) -> str:
        language = ValidationContext.of(info).language
        problem: str | None = None if language is None else getattr(language, check)(text)
        if problem is not None:
            raise ValueError(problem)
        return text

    return AfterValidator(validate)


EVENT_GLOB_FORMAT: Final = "event-glob"
"""Marks an event glob in a schema until the JSON Schema of the whole config is assembled."""

EventGlob = Annotated[
    str, _checked_by("event_glob_problem"), WithJsonSchema({"type": "string", "format": EVENT_GLOB_FORMAT})
]
"""``"task_failed"``, ``"*_failed"`` or ``"task/*"``."""

Expression = Annotated[str, _checked_by("expression_problem")]
"""A Jinja2 expression over event, run and project."""

Template = Annotated[str, _checked_by("template_problem")]
"""A Jinja2 template over event, run and project."""
