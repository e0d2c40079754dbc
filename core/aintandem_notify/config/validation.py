"""Validates tables with pydantic and turns its errors into sentences for the operator, without any value.

Each ``Finding`` has its place in the document; ``line_numbers`` finds the line.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aintandem_notify.config.findings import Finding, Place, did_you_mean, nearest, toml_type
from aintandem_notify.config.models import TOP_LEVEL_KEYS
from aintandem_notify.config.types.context import ValidationContext
from aintandem_notify.foundation.signals import is_ctrl_c
from aintandem_notify.log import describe_error

M = TypeVar("M", bound=BaseModel)

# Shorter texts are no secrets, and removing them would make a sentence unreadable.
_MIN_CUT_CHARACTERS: Final = 4

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "path_type": "a text",
    "none_required": "left out",
}
"""pydantic's error types about the type of a value, and the expected type in words."""

_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than": "should be more than {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be less than {lt}",
    "less_than_equal": "should be at most {le}",
    "multiple_of": "should be a multiple of {multiple_of}",
    "string_too_long": "should have at most {max_length} characters",
    "too_long": "should have at most {max_length} entries",
    "string_pattern_mismatch": "should match the pattern {pattern}",
}


def validate(
    model: type[M],
    raw: object,
    place: Place,
    context: ValidationContext,
    *,
    trusted: Iterable[str] | None = None,
    locate: Callable[[BaseException], str] = lambda _error: "",
) -> tuple[M | None, list[Finding]]:
    """``raw`` as ``model``, or None and the findings if it is invalid.

    ``trusted`` are the keys whose validators are ours; None for all. Other validators may raise anything and may
    repeat the value in their messages, so it is cut out. ``locate`` returns the source line in the plugin of an
    error that its validator raised.
    """
    location = ""
    if not isinstance(raw, Mapping):
        return None, [Finding(place, f"should be a table, not {toml_type(raw)}")]
    try:
        return model.model_validate(raw, context={"config": context}), []
    except ValidationError as error:
        trusted_keys = None if trusted is None else frozenset(trusted)
        try:
            details = error.errors(include_url=False, include_input=False)
            return None, _findings(model, raw, place, details, trusted_keys)
        except BaseException as unreadable:  # the error of a plugin's own validator cannot be read
            if trusted is None or is_ctrl_c(unreadable):
                raise
            reason = describe_error(unreadable)
    except BaseException as error:  # a plugin's own validator; sys.exit too
        if trusted is None or is_ctrl_c(error):
            raise
        reason = _without_values(describe_error(error), raw)
        location = locate(error)
    sentence = f"the plugin's own check of this table is broken: {reason}"
    return None, [Finding(place, f"{location}: {sentence}" if location else sentence)]


def _findings(
    model: type[BaseModel],
    raw: Mapping[str, Any],
    place: Place,
    details: Sequence[ErrorDetails],
    trusted: frozenset[str] | None,
) -> list[Finding]:
    by_place: dict[Place, list[ErrorDetails]] = defaultdict(list)
    for detail in details:
        local = _place_in(raw, detail)
        if not _is_consequence(detail, _value_at(raw, local)):
            by_place[local].append(detail)
    # A misspelt key is one mistake, not two: the key that was probably intended is not reported as missing.
    intended = {
        _intended_key(model, local) for local, group in by_place.items() if _is_type(group, "extra_forbidden")
    }
    return [
        Finding(place + local, _describe_group(model, raw, local, group, trusted))
        for local, group in by_place.items()
        if not (_is_type(group, "missing") and local in intended)
    ]


def _is_type(group: Sequence[ErrorDetails], kind: str) -> bool:
    return group[0]["type"] == kind


def _is_consequence(detail: ErrorDetails, value: object) -> bool:
    """True if a list is too short only because its entries are wrong, which is reported already."""
    return detail["type"] == "too_short" and isinstance(value, list) and len(value) >= detail["ctx"]["min_length"]


def _intended_key(model: type[BaseModel], local: Place) -> Place:
    key = nearest(str(local[-1]), _keys_at(model, local[:-1]))
    return (*local[:-1], key or "")


def _place_in(raw: object, detail: ErrorDetails) -> Place:
    """The place of the error in ``raw``. pydantic's own path also names validators and members of unions."""
    place: Place = ()
    value: Any = raw
    for part in detail["loc"]:
        if _has(value, part):
            value = value[part]
        elif not (detail["type"] == "missing" and part == detail["loc"][-1]):
            continue
        place = (*place, part)
    return place


def _has(value: object, part: object) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _keys_at(model: type[BaseModel], place: Place) -> tuple[str, ...]:
    """The keys that a table at ``place`` inside ``model`` may have; empty if they are unknown."""
    current: type[BaseModel] | None = model
    for part in place:
        if current is None:
            return ()
        if isinstance(part, str):
            field = _fields(current).get(part)
            current = None if field is None else _model_within(field.annotation)
    return () if current is None else tuple(_fields(current))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that a config writes: ``from`` is no name in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_within(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_within(part))), None)


def _describe_group(
    model: type[BaseModel],
    raw: object,
    local: Place,
    group: Sequence[ErrorDetails],
    trusted: frozenset[str] | None,
) -> str:
    if _is_type(group, "missing"):
        return "is missing"
    if _is_type(group, "extra_forbidden"):
        if local[-1] in TOP_LEVEL_KEYS:
            return "unknown key; it belongs to the top of the file"
        return "unknown key" + did_you_mean(str(local[-1]), _keys_at(model, local[:-1]))
    value = _value_at(raw, local)
    expected = [_EXPECTED[detail["type"]] for detail in group if detail["type"] in _EXPECTED]
    if len(expected) == len(group):
        hint = "; write it in [ ]" if expected == ["a list"] and isinstance(value, str) else ""
        is_fraction = isinstance(value, float) and "a whole number" in expected
        actual = "a fraction" if is_fraction else toml_type(value)
        return f"should be {' or '.join(dict.fromkeys(expected))}, not {actual}{hint}"
    ours = trusted is None or (bool(local) and local[0] in trusted)
    sentences = dict.fromkeys(_describe_detail(detail, value, ours=ours) for detail in group)
    return ", or ".join(sentences)


def _describe_detail(detail: ErrorDetails, value: object, *, ours: bool) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _EXPECTED:
        return f"should be {_EXPECTED[kind]}, not {toml_type(value)}"
    if kind in ("literal_error", "enum"):
        names = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        choice = " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part) if names else "another"
        return f"should be {choice}" + (did_you_mean(value, names) if isinstance(value, str) else "")
    if kind in ("too_short", "string_too_short"):
        minimum = context.get("min_length", 1)
        return "should not be empty" if minimum == 1 else f"should be longer; the minimum is {minimum}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    text = str(context["error"]) if "error" in context else detail["msg"].replace("Input should", "should")
    return text if ours else _without_values(text, value)


def _value_at(raw: Any, local: Place) -> Any:
    for part in local:
        raw = raw[part] if _has(raw, part) else None
    return raw


def _without_values(text: str, value: object) -> str:
    """``text`` without any text of ``value``, except names of variables and files."""
    # A validator may have quoted the value, which writes a line break as two characters.
    forms = {form for leaf in _texts_in(value) for form in (leaf, repr(leaf)[1:-1], leaf.strip())}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _MIN_CUT_CHARACTERS:
            text = text.replace(form, "…")
    return text


def _texts_in(value: object) -> Iterable[str]:
    match value:
        case Mapping() if len(value) == 1 and not {"env", "file"}.isdisjoint(value):
            return
        case Mapping():
            for item in value.values():
                yield from _texts_in(item)
        case list() | tuple():
            for item in value:
                yield from _texts_in(item)
        case _:
            yield str(value)
