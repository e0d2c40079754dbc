"""Validates the defaults of a plugin's model, which apply where the config has no value.

pydantic takes a default as it is. Here a text is read as in the config (``rate: Rate | None = "1/s"``), any other
value must fit the type of its key, and numbers are seconds, as everywhere in Python. A validator of the model, and
not of a key's type, sees only written values, as in pydantic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.plugin_tables.catalog import PluginType
from aintandem_notify.config.types.context import ValidationContext
from aintandem_notify.config.validation import validate
from aintandem_notify.log import describe_error, safe_text

MAX_DEPTH: Final = 10
"""Levels of nested models whose defaults are applied."""


@dataclass(frozen=True, slots=True)
class InvalidDefault:
    """A default that does not fit its key; ``model`` is the class that sets it."""

    model: type[BaseModel]
    key: str
    problem: str

    def describe(self, plugin_type: PluginType) -> str:
        """One line with the source line in the plugin: ``plugins/beep.py:9: rate: not a rate; …``"""
        location = plugin_type.source_location(self.model, self.key)
        return ": ".join(part for part in (location, self.key, self.problem) if part)


def read_defaults(
    model: type[PluginConfig], table: Mapping[str, Any], context: ValidationContext
) -> tuple[dict[str, str], list[InvalidDefault]]:
    """Returns the text defaults that are read as if written in ``table``, by key, and the invalid defaults.

    A text default is a text that becomes another type: a rate, a duration, a secret.
    """
    texts: dict[str, str] = {}
    invalid: list[InvalidDefault] = []
    for name, field in model.model_fields.items():
        if (
            _is_common_default(name, field)
            or field.is_required()
            or field.default_factory
            or _is_written(name, field, table)
        ):
            continue
        value, problem = _coerce_default(model, name, field.default, context)
        if problem is not None:
            invalid.append(InvalidDefault(model, name, problem))
        elif type(field.default) is str and type(value) is not str:
            texts[_key(name, field)] = field.default
    return texts, invalid


def apply_defaults(settings: BaseModel, context: ValidationContext, depth: int = 0) -> list[InvalidDefault]:
    """Convert the defaults in ``settings`` and its nested models to their types; returns the invalid ones."""
    invalid: list[InvalidDefault] = []
    model = type(settings)
    for name, field in model.model_fields.items():
        value = settings.__dict__[name]
        if name not in settings.model_fields_set and not _is_common_default(name, field):
            value, problem = _coerce_default(model, name, value, context)
            if problem is not None:
                invalid.append(InvalidDefault(model, name, problem))
                continue
            settings.__dict__[name] = value
        if depth < MAX_DEPTH:
            for inner in _models_in(value):
                invalid += apply_defaults(inner, context, depth + 1)
    return invalid


def _is_common_default(name: str, field: FieldInfo) -> bool:
    """True if the key is a common one and has the default of every instance."""
    reserved = PluginConfig.model_fields.get(name)
    return reserved is not None and field.default is reserved.default and field.default_factory is None


def _key(name: str, field: FieldInfo) -> str:
    """The name of the key in the config."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


def _is_written(name: str, field: FieldInfo, table: Mapping[str, Any]) -> bool:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return name in table or any(isinstance(choice, str) and choice in table for choice in choices)


def _coerce_default(
    model: type[BaseModel], name: str, value: object, context: ValidationContext
) -> tuple[Any, str | None]:
    """``value`` converted to the type of its key, and None; or ``value`` as it is, and the problem."""
    try:
        single_field = _single_field_model(model, name)
    except Exception as error:  # noqa: BLE001  # a plugin's own type that pydantic cannot build alone
        return value, f"its type cannot be used: {describe_error(error)}"
    in_python = replace(context, in_python=True)
    validated, findings = validate(
        single_field, {"value": value}, (), in_python, trusted=PluginConfig.model_fields
    )
    if validated is None:
        problems = (finding.message.replace("not this", f"not {_python_type(value)}") for finding in findings)
        return value, "; ".join(dict.fromkeys(problems))
    return validated.__dict__["value"], None


@lru_cache(maxsize=1024)
def _single_field_model(model: type[BaseModel], name: str) -> type[BaseModel]:
    """A model with one key ``value``, of the type of the field ``name`` of ``model``."""
    annotation = model.model_fields[name].rebuild_annotation()
    fields: dict[str, Any] = {"value": (annotation, ...)}
    return create_model("SingleField", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)


def _models_in(value: object) -> Iterator[BaseModel]:
    match value:
        case BaseModel():
            yield value
        case list() | tuple():
            yield from (item for item in value if isinstance(item, BaseModel))
        case dict():
            yield from (item for item in value.values() if isinstance(item, BaseModel))


def _python_type(value: object) -> str:
    return (
        "None"
        if value is None
        else f"a value of type {safe_text(type.__getattribute__(type(value), '__name__'), 40)}"
    )
