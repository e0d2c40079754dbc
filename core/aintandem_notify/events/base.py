"""What every event has, and the kinds of field that events are made of.

The field kinds are tolerant: an optional field that arrives in a wrong form must not cost the event. What fits
is taken by pydantic itself, at its own speed; only what does not fit goes through a Python function.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema, to_json


class Family(StrEnum):
    """What an event is about."""

    TASK = "task"
    WORKFLOW = "workflow"
    SANDBOX = "sandbox"
    CONNECTION = "connection"
    AGENT = "agent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Otherwise:
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


def mend_surrogates(text: str) -> str:
    """``text`` with halves of characters that stand alone replaced by U+FFFD, so that it can be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mended(value: object) -> object:
    return mend_surrogates(value) if isinstance(value, str) else value


LONGEST_ID: Final = 512
"""Characters of an id."""
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Text = Annotated[str, Otherwise(_json_text)]
OptionalText = Annotated[str | None, Otherwise(_json_text)]
OptionalNumber = Annotated[float | None, Otherwise(_nothing)]
OptionalWhole = Annotated[int | None, Otherwise(_whole_part)]
OptionalObject = Annotated[dict[str, Any] | None, Otherwise(_nothing)]
OwnText = Annotated[str, BeforeValidator(_mended)]
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

    type: str
    timestamp: AwareDatetime
    project_id: str | None = None
    caught_up: Annotated[bool, Otherwise(_false)] = False

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


class UnknownEvent(Event):
    """An event of a type that this version does not know; its fields are in ``model_extra``, in the wire's words.

    Example::

        match event:
            case UnknownEvent(type=kind, model_extra=fields):
                print(kind, fields)
    """

    # Longer ones are no names; types are counted and logged one by one, so they must stay small.
    type: Annotated[str, Field(max_length=128)]
