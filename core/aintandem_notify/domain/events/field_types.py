"""The kinds of field that events consist of, each declared once for both ways of reading an event.

msgspec reads the type and its ``Meta``; it takes values in their correct form alone. pydantic reads the other
annotations; it also takes a value in another form, as long as its meaning is clear. An optional field in a wrong
form must not cost the event.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final

from msgspec import Meta
from pydantic import BeforeValidator, ConfigDict, GetCoreSchemaHandler, StringConstraints, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from aintandem_notify.foundation.untrusted_json import replace_surrogates


@dataclass(frozen=True, slots=True)
class ConvertInvalid:
    """Annotates a field: a value that its type does not accept becomes ``convert(value)``."""

    convert: Callable[[object], object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        fallback = core_schema.no_info_plain_validator_function(self.convert)
        return core_schema.union_schema([handler(source), fallback], mode="left_to_right")


@dataclass(frozen=True, slots=True)
class _Aware:
    """Annotates a time that needs a zone."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.datetime_schema(tz_constraint="aware")


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
MAX_TYPE_CHARACTERS: Final = 128
"""Most characters of an unknown type; types are counted and logged one by one, so they must stay short."""

Moment = Annotated[datetime, Meta(tz=True), _Aware()]
Id = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_ID_CHARACTERS),
    StringConstraints(min_length=1, max_length=MAX_ID_CHARACTERS),
]
TypeName = Annotated[str, Meta(max_length=MAX_TYPE_CHARACTERS), StringConstraints(max_length=MAX_TYPE_CHARACTERS)]
Text = Annotated[str, ConvertInvalid(_json_text)]
OptionalText = Annotated[str | None, ConvertInvalid(_json_text)]
_Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
OptionalNumber = Annotated[_Finite | None, ConvertInvalid(_nothing)]
OptionalInt = Annotated[int | None, ConvertInvalid(_whole_part)]
OptionalObject = Annotated[dict[str, Any] | None, ConvertInvalid(_nothing)]
Flag = Annotated[bool, ConvertInvalid(_false)]
LocalText = Annotated[str, BeforeValidator(_mend)]
"""A text of the agent's own: a file name or an error in it may hold bytes that are no valid text."""

WIRE_KINDS: Final = frozenset(
    {Any, str | None, Moment, Id, TypeName, Text, OptionalText, OptionalNumber, OptionalInt, OptionalObject, Flag}
)
"""The kinds of field of which msgspec takes no value that pydantic would take in another way."""

_EXACT_TYPES: Final[dict[object, frozenset[type]]] = {
    Text: frozenset({str}),
    OptionalText: frozenset({str, type(None)}),
    OptionalNumber: frozenset({type(None)}),
    OptionalInt: frozenset({int, type(None)}),
    OptionalObject: frozenset({dict, type(None)}),
    Flag: frozenset({bool}),
}


def exact_types(hint: object) -> frozenset[type]:
    """The types whose values a field of this kind keeps as they are, so that they need no validation."""
    return _EXACT_TYPES.get(hint, frozenset())


@cache
def validator_of(hint: Any) -> Callable[[Any], Any]:
    """A function that reads a value in any form for a field of this kind. It raises pydantic's ValidationError."""
    config = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)
    # The validator itself: its adapter would add a fifth to the time.
    validate: Callable[[Any], Any] = TypeAdapter(hint, config=config).validator.validate_python
    return validate
