"""The base class of all events, and the kinds of field that events consist of.

The field kinds are tolerant: an optional field in a wrong form must not cost the event. Pydantic validates a
correct value at full speed. Only an incorrect value goes through a Python function.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, cached_property
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema, to_json

from aintandem_notify.foundation.untrusted_json import replace_surrogates


class Family(StrEnum):
    """The kind of thing that an event is about."""

    TASK = "task"
    WORKFLOW = "workflow"
    SANDBOX = "sandbox"
    CONNECTION = "connection"
    AGENT = "agent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConvertInvalid:
    """Annotates a field: a value that its type does not accept becomes ``convert(value)``."""

    convert: Callable[[object], object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        fallback = core_schema.no_info_plain_validator_function(self.convert)
        return core_schema.union_schema([handler(source), fallback], mode="left_to_right")


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _whole_part(value: object) -> int | None:
    return int(value) if isinstance(value, float) and math.isfinite(value) else None


def _nothing(_value: object) -> None:
    return None


def _false(_value: object) -> bool:
    return False


def _mend(value: object) -> object:
    return replace_surrogates(value) if isinstance(value, str) else value


MAX_ID_CHARACTERS: Final = 512
"""Most characters of an id."""
DOT_SEGMENTS: Final = frozenset({".", ".."})
"""Segments of a URL path that mean a step in it, even when quoted: an id with such a value has no URL."""
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Text = Annotated[str, ConvertInvalid(_json_text)]
OptionalText = Annotated[str | None, ConvertInvalid(_json_text)]
OptionalNumber = Annotated[float | None, ConvertInvalid(_nothing)]
OptionalInt = Annotated[int | None, ConvertInvalid(_whole_part)]
OptionalObject = Annotated[dict[str, Any] | None, ConvertInvalid(_nothing)]
LocalText = Annotated[str, BeforeValidator(_mend)]
"""A text of the agent's own: a file name or an error in it may hold bytes that are no valid text."""

_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Event(BaseModel):
    """Something that happened.

    ``timestamp`` is the orchestrator's time of the event, aware UTC. ``caught_up`` is true if the event was made
    from REST responses after a gap. An optional field that arrives in a wrong form is None (numbers) or its JSON
    (texts); only the identity must be valid. ``wire()`` still holds the original value.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    family: ClassVar[Family] = Family.UNKNOWN
    identity: ClassVar[frozenset[str]] = frozenset({"type", "timestamp", "project_id", "caught_up"})
    """The fields that identify the event and its subject, independent of its texts."""

    type: str
    timestamp: AwareDatetime
    project_id: str | None = None
    caught_up: Annotated[bool, ConvertInvalid(_false)] = False

    def wire(self) -> dict[str, Any]:
        """The event as JSON values in the wire's camelCase: as it came, unknown fields included.

        Not a copy: do not change it.
        """
        return self._wire

    @cached_property
    def _wire(self) -> dict[str, Any]:
        fields = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {"type": self.type} | fields

    @classmethod
    def from_wire(cls, wire: dict[str, Any], timestamp: datetime) -> Self:
        """The event in ``wire``, which becomes its wire form unchanged. Raises pydantic's ValidationError."""
        # The validator itself: model_validate adds a fifth to its time.
        event: Self = cls.__pydantic_validator__.validate_python({**wire, "timestamp": timestamp})
        # The value of the cached property. A private attribute would add half of the validation's time to each
        # event.
        event.__dict__["_wire"] = wire
        return event

    @cached_property
    def wire_json(self) -> str:
        """``wire()`` as JSON text, without spaces."""
        return to_json(self.wire()).decode()

    @cached_property
    def key(self) -> str:
        """32 hex digits, equal for frames with equal content, independent of their spacing and key order."""
        return blake2b(_canonical(self.wire()).encode(), digest_size=16).hexdigest()

    @property
    def run_id(self) -> str | None:
        """The id of the task, workflow execution or sandbox; None for events about no run."""
        return None

    def map_values(self, change: Callable[[Any], Any], replacements: Mapping[str, Any] | None = None) -> Self:
        """The same event with every value passed through ``change``, except those of its ``identity``.

        Fields in ``replacements`` get the value that it has for them. Key, type, ids and time stay, and nothing is
        validated again. So the result is always the same event, even if ``change`` returns an invalid value.
        """
        copy = self.model_copy()
        fields, replaced, raw = copy.__dict__, replacements or {}, self.wire()
        for name in type(self).model_fields.keys() - self.identity:
            fields[name] = replaced[name] if name in replaced else _map_value(fields[name], change)
        copy.__pydantic_extra__ = change(self.model_extra or {})
        names = _wire_names(type(self))
        identity = {
            next((alias for alias in names if names[alias] == name and alias in raw), "") for name in self.identity
        }
        fields["_wire"] = {
            alias: raw[alias]
            if alias in identity
            else replaced[names[alias]]
            if names[alias] in replaced
            else _map_value(raw[alias], change)
            for alias in raw.keys() & names.keys()
        } | change({alias: value for alias, value in raw.items() if alias not in names})
        fields["key"] = self.key
        fields.pop("wire_json", None)
        return copy

    def without_texts(self) -> Self:
        """The same event with its ``identity`` alone; other required fields are ``"?"`` or empty."""
        fields = type(self).model_fields
        wire: dict[str, Any] = {"type": self.type, "timestamp": self.timestamp.isoformat()}
        for name, field in fields.items():
            alias = field.serialization_alias or to_camel(name)
            if name in self.identity - {"type", "timestamp"} and (value := getattr(self, name)):
                wire[alias] = value
            elif field.is_required() and name not in self.identity:
                wire[alias] = "?" if field.annotation is str else {}
        event = type(self).from_wire(wire, self.timestamp)
        event.__dict__["key"] = self.key
        return event


def _map_value(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` for the value of a field, which may be a model or a tuple and not only a JSON value."""
    match value:
        case BaseModel():
            copy = value.model_copy()
            copy.__dict__.update({name: _map_value(item, change) for name, item in value.__dict__.items()})
            copy.__pydantic_extra__ = value.__pydantic_extra__ and change(value.__pydantic_extra__)
            return copy
        case tuple():
            return tuple(change(list(value)))
        case str() | dict() | list():
            return change(value)
        case _:
            return value  # numbers and times stay as they are


@cache
def _wire_names(model: type[Event]) -> Mapping[str, str]:
    """The possible names of the model's fields on the wire, each with its Python name; preferred names first."""
    names: dict[str, str] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or to_camel(name)]
        names |= {str(choice): name for choice in (*choices, name)}
    return names


class UnknownEvent(Event):
    """An event of a type that this version does not know; its fields are in ``model_extra``, under their wire
    names.

    Example::

        match event:
            case UnknownEvent(type=kind, model_extra=fields):
                print(kind, fields)
    """

    # Types are counted and logged one by one, so they must stay short.
    type: Annotated[str, Field(max_length=128)]
