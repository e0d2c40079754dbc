"""The JSON Schema of a whole config, for editors that complete and check TOML (``#:schema``).

Generated from the models, including the keys of each plugin type, so that it always agrees with ``load``.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from aintandem_notify.config.models import (
    OPTIONAL_TABLES,
    OrchestratorConfig,
    ProjectConfig,
)
from aintandem_notify.config.plugin_tables.catalog import PluginType
from aintandem_notify.config.rule_config import QuietConfig, RuleConfig, Table
from aintandem_notify.config.types.secret import is_secret
from aintandem_notify.config.types.values import (
    DURATION_PATTERN,
    EVENT_GLOB_FORMAT,
    Rate,
    format_duration,
    format_rate,
)
from aintandem_notify.config.watch_config import WatchConfig
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.foundation.signals import is_ctrl_c

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""The dialect that TOML editors support best (Taplo, Even Better TOML)."""

_NAME: Final = "^[A-Za-z0-9_-]+$"

# The names are an enum, because editors complete those. Any other text is allowed too, for globs.
_EVENT_GLOB: Final = {
    "description": "an event type, or a glob over types (*_failed) or families (task/*)",
    "anyOf": [{"enum": list(EVENT_TYPES)}, {"type": "string", "minLength": 1}],
    "examples": ["task_failed", "*_failed", "task/*"],
}


_OPTIONAL: Final[dict[str, Any]] = {
    name: (model, Field(default_factory=model)) for name, model in OPTIONAL_TABLES.items()
}
_Document = create_model(
    "_Document",
    __base__=Table,
    __doc__="The configuration of aintandem-notify.",
    plugins_dir=(str, Field("plugins", description="the folder of one-file plugins, relative to the config file")),
    orchestrator=OrchestratorConfig,
    projects=(list[ProjectConfig], Field(min_length=1)),
    rules=(list[RuleConfig], Field(default_factory=list)),
    watches=(list[WatchConfig], Field(default_factory=list)),
    quiet=(
        dict[str, QuietConfig],
        Field(default_factory=dict, description="hours in which notifications wait, by names you choose"),
    ),
    **_OPTIONAL,
)


class _Generator(GenerateJsonSchema):
    """pydantic's generator, without details that only matter in Python."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Durations are written as text; None, secrets and infinity are left out."""
        result = super().default_schema(schema)
        default = result.get("default")
        if isinstance(default, float) and not math.isfinite(default):
            default = None
        if result.get("pattern") == DURATION_PATTERN and isinstance(default, int | float):
            result["default"] = format_duration(default)
        elif _holds_secret(schema) or not isinstance(default, str | int | float | list):
            result.pop("default", None)
        return result

    def encode_default(self, dft: Any) -> Any:
        """The default as JSON; None if it cannot be shown, as an object of a plugin's own class."""
        if isinstance(dft, Rate):
            return format_rate(dft)
        try:
            return super().encode_default(dft)
        except Exception:  # noqa: BLE001  # code of a plugin's own class
            return None

    def handle_invalid_for_json_schema(self, _schema: core_schema.CoreSchema, _error_info: str) -> JsonSchemaValue:
        """A type that JSON Schema lacks allows any value."""
        return {}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """TOML has no null: an optional key is left out."""
        return self.generate_inner(schema["schema"])


def _holds_secret(schema: Mapping[str, Any]) -> bool:
    """True if a value of this core schema may be a secret, whose default must not be shown."""
    within = [schema.get("schema"), *(schema.get("choices") or ())]
    return is_secret(schema) or any(_holds_secret(inner) for inner in within if isinstance(inner, Mapping))


def json_schema(types: Iterable[PluginType]) -> dict[str, Any]:
    """The schema of a config that can use these plugin types."""
    definitions: dict[str, Any] = {"EventGlob": _EVENT_GLOB}
    document = _schema_of(_Document, "", definitions)
    plugins = {
        plugin_type.name: {
            "type": "object",
            "description": f"instances of the plugin {plugin_type.name}, by names you choose",
            "propertyNames": {"pattern": _NAME},
            "additionalProperties": _instance_schema(plugin_type, definitions),
        }
        for plugin_type in sorted(types, key=lambda plugin_type: plugin_type.name)
    }
    document["properties"]["plugins"] = {
        "type": "object",
        "description": "the destinations and other plugins: a table [plugins.TYPE.NAME] for each instance",
        "properties": plugins,
        "additionalProperties": False,
    }
    return {"$schema": DIALECT, "title": "aintandem-notify", **document, "definitions": definitions}


def _instance_schema(plugin_type: PluginType, definitions: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    try:
        schema = _schema_of(plugin_type.config_model, f"{plugin_type.name}.", own)
        # A default, or something that the model adds, may not be JSON.
        schema, own = json.loads(json.dumps([schema, own], allow_nan=False))
        definitions |= own
    except BaseException as error:  # code of the plugin's own classes
        if is_ctrl_c(error):
            raise
        schema = {"type": "object"}  # any key, since they are unknown
    return {**schema, "description": f"an instance of the plugin {plugin_type.name}"}


def _schema_of(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of ``model``; its definitions are added to ``definitions``, with ``prefix`` in their names."""
    schema = model.model_json_schema(schema_generator=_Generator, ref_template=f"#/definitions/{prefix}{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}{name}"] = _polished(definition)
    polished: dict[str, Any] = _polished(schema)
    return polished


def _polished(schema: Any) -> Any:
    """The schema without pydantic's generated titles, and with the first paragraph of docstrings only."""
    if isinstance(schema, list):
        return [_polished(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("format") == EVENT_GLOB_FORMAT:
        return {"$ref": "#/definitions/EventGlob"}
    polished = {
        key: {name: _polished(item) for name, item in value.items()} if key == "properties" else _polished(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
    if isinstance(description := polished.get("description"), str):
        polished["description"] = " ".join(description.partition("\n\n")[0].replace("``", "").split())
    return polished
