"""The base of events and their parts: immutable values that remember their origin.

A ``Record`` is a msgspec Struct. Its constructor validates and mends, and takes the names of the wire, too. Beside
its fields it remembers the frame that it was read from, or the values that it was made from. These are no fields:
a copy with other values must not carry the old ones along, and the wire cannot set them.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from functools import cache
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeVar, cast, dataclass_transform, get_type_hints

from msgspec import NODEFAULT, Struct, StructMeta, convert, json, structs, to_builtins
from msgspec import ValidationError as MsgspecValidationError
from msgspec import field as msgspec_field
from pydantic import GetCoreSchemaHandler
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    ValidationError,
    core_schema,
)

from aintandem_notify.domain.events.field_types import WIRE_KINDS, exact_types, validator_of

T = TypeVar("T", bound="Record")
decode: Final = json.Decoder().decode
"""The JSON values of a frame that was read already."""


class RecordField(NamedTuple):
    """A field of a record: its names on the wire, the preferred one first, the last one that of Python.

    ``validate`` reads a value in any form; the values of the types in ``exact`` need no validation. ``default``
    means nothing if the field is ``required``.
    """

    name: str
    names: tuple[str, ...]
    hint: Any
    required: bool
    default: Any
    exact: frozenset[type]
    validate: Callable[[Any], Any]


@cache
def record_fields(model: "type[Record]") -> tuple[RecordField, ...]:
    """The fields of a record class, those of its bases first."""
    declared = {field.name: field for field in structs.fields(model)}
    hints = get_type_hints(model, include_extras=True)
    return tuple(
        RecordField(
            name,
            (declared[name].encode_name, *model.other_names.get(name, ()), name),
            hint,
            required=declared[name].required,
            default=_default(declared[name]),
            exact=exact_types(hint),
            validate=validator_of(hint),
        )
        for name, hint in hints.items()
        if name in declared
    )


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


@cache
def names_on_wire(model: "type[Record]") -> Mapping[str, str]:
    """The possible names of the fields on the wire, each with its Python name; preferred names first."""
    return {name: field.name for field in record_fields(model) for name in field.names}


@cache
def field_names(model: "type[Record]") -> frozenset[str]:
    """The names of the fields in Python."""
    return frozenset(field.name for field in record_fields(model))


class _RecordType(StructMeta):
    """The type of record classes. msgspec makes records past it; every other caller gets its validation."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> "_RecordType":
        if "tag" in options:
            namespace["type"] = options["tag"]
        # msgspec inherits every option but this one.
        return super().__new__(mcs, name, bases, namespace, kw_only=True, **options)

    def __call__(cls, /, **values: Any) -> Any:
        return make(cast("type[Record]", cls), values)


class _Origin:
    """The slots beside the fields: the frame (bytes), and everything that is made from it or instead of it."""

    __slots__ = ("_frame", "_memo")
    _frame: bytes
    _memo: dict[str, Any]


# A record is frozen, so its slots are set by their descriptors.
set_frame: Final[Callable[["Record", bytes], None]] = _Origin.__dict__["_frame"].__set__
set_memo: Final[Callable[["Record", dict[str, Any]], None]] = _Origin.__dict__["_memo"].__set__


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec_field,))
class Record(
    _Origin,
    Struct,
    metaclass=_RecordType,
    frozen=True,
    eq=False,
    rename="camel",
    forbid_unknown_fields=True,
    gc=False,  # JSON values refer to nothing that refers back to them, so there is no cycle to look for
):
    """An immutable value with typed fields; fields that it does not know are in ``model_extra``.

    The constructor takes fields by their names in Python or on the wire, and raises pydantic's ValidationError.
    """

    other_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """More names that a field may have on the wire."""

    @property
    def model_extra(self) -> dict[str, Any]:
        """The fields that it does not know, under their wire names."""
        extra: dict[str, Any] = self.memo.get("extra", {})
        return extra

    @property
    def frame(self) -> bytes | None:
        """The frame that it was read from, if all its fields are known and in their usual form."""
        return getattr(self, "_frame", None)

    @property
    def memo(self) -> dict[str, Any]:
        """Values that were made from the record, or that it was made from, by their names."""
        memo: dict[str, Any] | None = getattr(self, "_memo", None)
        if memo is None:
            memo = {}
            set_memo(self, memo)
        return memo

    def dump(self) -> dict[str, Any]:
        """The given fields that are not None, as JSON values, in order, under their wire names."""
        given = self._given()
        dumped = {
            field.names[0]: _json_value(value)
            for field in record_fields(type(self))
            if not given.isdisjoint(field.names) and (value := getattr(self, field.name)) is not None
        }
        return dumped | self.model_extra

    def _given(self) -> Set[str]:
        """Names of the given fields. If it remembers no origin: of those that differ from their default."""
        fields = record_fields(type(self))
        if "given" in self.memo:
            given: Set[str] = self.memo["given"]
            return given
        if self.frame is not None:
            source: dict[str, Any] = decode(self.frame)
            return source.keys()
        return {field.name for field in fields if field.required or getattr(self, field.name) != field.default}

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy. Values of ``update`` take the place of its own; they are not validated."""
        if not update:
            return self.copy_with({}, self.frame, dict(self.memo))
        known = {name: update[name] for name in field_names(type(self)) & update.keys()}
        extra = self.model_extra | {name: update[name] for name in update.keys() - known.keys()}
        return self.copy_with(known, None, {"given": self._given() | known.keys(), "extra": extra})

    def detached(self) -> Self:
        """A copy that shares no list or dictionary with it."""
        own = {
            field.name: value.detached() if isinstance(value, Record) else deepcopy(value)
            for field in record_fields(type(self))
            if isinstance(value := getattr(self, field.name), dict | list | Record)
        }
        memo = {name: value for name, value in self.memo.items() if name != "wire" or self.frame is None}
        # A deep copy of the texts and names beside the dictionaries would cost more than all the rest.
        fresh = {name: deepcopy(value) if isinstance(value, dict) else value for name, value in memo.items()}
        return self.copy_with(own, self.frame, fresh)

    def copy_with(self, values: Mapping[str, Any], frame: bytes | None, memo: dict[str, Any]) -> Self:
        """A copy with other ``values`` and another origin."""
        copy = structs.replace(self, **values)
        set_memo(copy, memo)
        if frame is not None:
            set_frame(copy, frame)
        return copy

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.detached()

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in record_fields(type(self))}
        return _restore, (type(self), values, self.frame, self.memo)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Record) and self.dump() == other.dump()

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._from_any, serialization=core_schema.plain_serializer_function_ser_schema(cls.dump)
        )

    @classmethod
    def _from_any(cls, value: object) -> Self:
        match value:
            case cls():
                return value
            case Mapping():
                return cls(**value)
            case _:
                raise ValueError(f"{cls.__name__} is an object")


def _json_value(value: Any) -> Any:
    match value:
        case Record():
            return value.dump()
        case tuple():
            return [_json_value(item) for item in value]
        case _:
            return to_builtins(value)


def make(model: type[T], values: Mapping[str, Any]) -> T:
    """The record of these values, in any form and under any of their names. Raises pydantic's ValidationError."""
    valid: dict[str, Any] = {}
    errors = list(_check_tag(model, values))
    chosen, extra = _choose_names(model, values)
    for field in record_fields(model):
        name = chosen.get(field.name)
        if name is None:
            if field.required:
                errors.append(InitErrorDetails(type="missing", loc=(field.names[0],), input=values))
            continue
        value = values[name]
        if type(value) in field.exact or field.hint is Any:
            valid[field.name] = value
            continue
        try:
            valid[field.name] = field.validate(value)
        except ValidationError as error:
            errors += _located(error, name)
    if errors:
        raise ValidationError.from_exception_data(model.__name__, errors)
    record: T = StructMeta.__call__(model, **valid)
    set_memo(record, {"given": frozenset(valid), "extra": extra})
    return record


def convert_json(model: type[T], values: Mapping[str, Any]) -> T | None:
    """As ``make``, several times as fast; None if a known field is not in its usual form."""
    usual, others = _usual_names(model)
    extra = {name: value for name, value in values.items() if name not in usual}
    if not others.isdisjoint(extra):
        return None
    known = {name: value for name, value in values.items() if name in usual} if extra else values
    try:
        record: T = convert(known, model)
    except MsgspecValidationError:
        return None
    set_memo(record, {"given": frozenset(known), "extra": extra})
    return record


@cache
def _usual_names(model: type[Record]) -> tuple[frozenset[str], frozenset[str]]:
    """The preferred names of the fields on the wire, and all others.

    The names of fields that mend a value of their own type are all among the others.
    """
    usual = {field.names[0] for field in record_fields(model) if field.hint in WIRE_KINDS}
    others = names_on_wire(model).keys() - usual
    return frozenset(usual | ({"type"} - others)), frozenset(others)


def _choose_names(model: type[Record], values: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """By field: the preferred one of its names that have a value. Beside it, the values under all other names."""
    chosen: dict[str, str] = {}
    extra: dict[str, Any] = {}
    names = names_on_wire(model)
    for name, value in values.items():
        field = names.get(name)
        if field is None:
            if name != "type" or not isinstance(getattr(model, "type", None), str):
                extra[name] = value
        elif (other := chosen.setdefault(field, name)) != name:
            preferred = next(option for option in names if option in (name, other))
            chosen[field] = preferred
            rest = name if preferred == other else other
            extra[rest] = values[rest]
    return chosen, extra


def _check_tag(model: type[Record], values: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    tag = getattr(model, "type", None)
    if isinstance(tag, str) and (given := values.get("type", tag)) != tag:
        kind = PydanticCustomError("literal_error", "Input should be '{expected}'", {"expected": tag})
        yield InitErrorDetails(type=kind, loc=("type",), input=given)


def _located(error: ValidationError, name: str) -> Iterator[InitErrorDetails]:
    for detail in error.errors(include_url=False):
        kind = PydanticCustomError(detail["type"], "{message}", {"message": detail["msg"]})
        yield InitErrorDetails(type=kind, loc=(name, *detail["loc"]), input=detail["input"])


def _restore(model: type[T], values: Mapping[str, Any], frame: bytes | None, memo: dict[str, Any]) -> T:
    record: T = StructMeta.__call__(model, **values)
    return record.copy_with({}, frame, memo)
