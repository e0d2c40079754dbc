"""What every event has, and the kinds of field that events are made of.

The field kinds are tolerant: an optional field that arrives in a wrong form must not cost the event. What fits
is taken by pydantic itself, at its own speed; only what does not fit goes through a Python function.
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
    """What an event is about."""

    TASK = "task"
    WORKFLOW = "workflow"
    SANDBOX = "sandbox"
    CONNECTION = "connection"
    AGENT = "agent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConvertInvalid:
    """Annotates a field: what its type does not take becomes ``convert(value)``."""

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


def _mended(value: object) -> object:
    return replace_surrogates(value) if isinstance(value, str) else value


MAX_ID_LENGTH: Final = 512
"""Characters of an id."""
DOT_SEGMENTS: Final = frozenset({".", ".."})
"""As pieces of a path these are steps in it, also when they are quoted: no address holds one as an id."""
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
Text = Annotated[str, ConvertInvalid(_json_text)]
OptionalText = Annotated[str | None, ConvertInvalid(_json_text)]
OptionalNumber = Annotated[float | None, ConvertInvalid(_nothing)]
OptionalInt = Annotated[int | None, ConvertInvalid(_whole_part)]
OptionalObject = Annotated[dict[str, Any] | None, ConvertInvalid(_nothing)]
LocalText = Annotated[str, BeforeValidator(_mended)]
"""A text of our own making: a file name or an error in it may hold bytes that are no text."""

_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Event(BaseModel):
    """Something that happened.

    ``timestamp`` is the orchestrator's word for when, aware UTC. ``caught_up`` is true when the event was
    made from REST answers after a gap. Optional fields that arrive in a wrong form are None (numbers) or
    their JSON (texts): only what names the event must be right. ``wire()`` still holds what came.
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
    """The fields that say which event it is and what it is about, whatever its texts say."""

    type: str
    timestamp: AwareDatetime
    project_id: str | None = None
    caught_up: Annotated[bool, ConvertInvalid(_false)] = False

    def wire(self) -> dict[str, Any]:
        """The event as JSON values in the wire's camelCase: as it came, unknown fields included.

        Not a copy: others read the same object.
        """
        return self._wire

    @cached_property
    def _wire(self) -> dict[str, Any]:
        fields = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {"type": self.type} | fields

    @classmethod
    def from_wire(cls, wire: dict[str, Any], timestamp: datetime) -> Self:
        """The event in ``wire``, which is kept as it is; raises pydantic's ValidationError."""
        # The validator itself: what model_validate does around it costs a fifth of it.
        event: Self = cls.__pydantic_validator__.validate_python({**wire, "timestamp": timestamp})
        # What the cached property would work out. A private attribute would cost each event half as much
        # again as its validation does.
        event.__dict__["_wire"] = wire
        return event

    @cached_property
    def wire_json(self) -> str:
        """``wire()`` as JSON text, without spaces."""
        return to_json(self.wire()).decode()

    @cached_property
    def key(self) -> str:
        """32 hex digits that are equal for frames with equal content, whatever their spacing and key order."""
        return blake2b(_canonical(self.wire()).encode(), digest_size=16).hexdigest()

    @property
    def run_id(self) -> str | None:
        """The id of the task, workflow execution or sandbox; None for events that are about no run."""
        return None

    def map_values(self, change: Callable[[Any], Any], instead: Mapping[str, Any] | None = None) -> Self:
        """The same event in other words: every value goes through ``change`` but those of its ``identity``.

        Fields in ``instead`` get what it has for them. Key, type, ids and time stay, and nothing is validated
        anew, so whatever ``change`` makes of a text cannot make another event of it, or none.
        """
        told = self.model_copy()
        fields, given, raw = told.__dict__, instead or {}, self.wire()
        for name in type(self).model_fields.keys() - self.identity:
            fields[name] = given[name] if name in given else _changed(fields[name], change)
        told.__pydantic_extra__ = change(self.model_extra or {})
        names = _words(type(self))
        kept = {
            next((word for word in names if names[word] == name and word in raw), "") for name in self.identity
        }
        fields["_wire"] = {
            word: raw[word]
            if word in kept
            else given[names[word]]
            if names[word] in given
            else _changed(raw[word], change)
            for word in raw.keys() & names.keys()
        } | change({word: value for word, value in raw.items() if word not in names})
        fields["key"] = self.key
        fields.pop("wire_json", None)
        return told

    def without_texts(self) -> Self:
        """The same event, by its ``identity`` alone; what else its type needs is ``"?"``, or empty."""
        fields = type(self).model_fields
        wire: dict[str, Any] = {"type": self.type, "timestamp": self.timestamp.isoformat()}
        for name, field in fields.items():
            word = field.serialization_alias or to_camel(name)
            if name in self.identity - {"type", "timestamp"} and (value := getattr(self, name)):
                wire[word] = value
            elif field.is_required() and name not in self.identity:
                wire[word] = "?" if field.annotation is str else {}
        event = type(self).from_wire(wire, self.timestamp)
        event.__dict__["key"] = self.key
        return event


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` for what a field holds, which may be more than JSON values."""
    match value:
        case BaseModel():
            told = value.model_copy()
            told.__dict__.update({name: _changed(one, change) for name, one in value.__dict__.items()})
            told.__pydantic_extra__ = value.__pydantic_extra__ and change(value.__pydantic_extra__)
            return told
        case tuple():
            return tuple(change(list(value)))
        case str() | dict() | list():
            return change(value)
        case _:
            return value  # numbers and times, which are of their type


@cache
def _words(model: type[Event]) -> Mapping[str, str]:
    """What the wire may call the fields of the model, each with its name here; what counts first comes first."""
    words: dict[str, str] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or to_camel(name)]
        words |= {str(word): name for word in (*choices, name)}
    return words


class UnknownEvent(Event):
    """An event of a type that this version does not know; its fields are in ``model_extra``, in the wire's words.

    Example::

        match event:
            case UnknownEvent(type=kind, model_extra=fields):
                print(kind, fields)
    """

    # Longer ones are no names; types are counted and logged one by one, so they must stay small.
    type: Annotated[str, Field(max_length=128)]
