"""The JSON Schema of a config accepts exactly the configs that ``load`` accepts."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, create_model

from aintandem_notify.config import Config, json_schema
from aintandem_notify.config.models import TOP_LEVEL_KEYS
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.plugins import Catalog
from support.config_texts import CHAT, FILE, WATCHER, WHOLE, FakeType

SCHEMA = json_schema([WATCHER, CHAT, FILE])


def flaws(schema: Any, value: Any, root: Any, place: str = "") -> list[str]:
    """The violations of the schema in ``value``, for the part of JSON Schema that ours uses."""
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return flaws(target, value, root, place)
    if "anyOf" in schema and all(flaws(option, value, root, place) for option in schema["anyOf"]):
        return [f"{place}: none of the choices"]
    problems = []
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": (int, float),
    }
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{place}: no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        problems.append(f"{place}: not in enum")
    if "const" in schema and value != schema["const"]:
        problems.append(f"{place}: not the constant")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        problems.append(f"{place}: no match")
    if isinstance(value, dict):
        problems += [f"{place}: {key} is missing" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            allowed = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
            if allowed is False:
                problems.append(f"{place}.{key}: unknown")
            elif isinstance(allowed, dict):
                problems += flaws(allowed, item, root, f"{place}.{key}")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            problems.append(f"{place}: too short")
        for index, item in enumerate(value):
            problems += flaws(schema.get("items", {}), item, root, f"{place}[{index}]")
    return problems


def test_a_whole_config_follows_the_schema() -> None:
    document = tomllib.loads(WHOLE)
    del document["plugins"]["slack"]["later"]  # disabled, and wrong on purpose
    assert flaws(SCHEMA, document, SCHEMA) == []


def test_the_example_follows_the_schema_of_the_built_in_plugins() -> None:
    catalog = Catalog()
    folder = Path(__file__).parents[3]
    schema = json_schema([catalog.find(name, folder / "none") for name in catalog.names(folder / "none")])
    document = tomllib.loads((folder / "config.example.toml").read_text(encoding="utf-8"))
    assert flaws(schema, document, schema) == []


@pytest.mark.parametrize(
    ("addition", "flaw"),
    [
        ("[zebra]", ".zebra: unknown"),
        ("[log]\nlevel = 'x'", ".log.level: not in enum"),
        ("[connection]\nconnect_timeout = 10", ".connection.connect_timeout: no string"),
        ("[connection]\nconnect_timeout = '10'", ".connection.connect_timeout: no match"),
        ("[connection]\nreconnect_attempts = 'x'", ".connection.reconnect_attempts: none of the choices"),
        ("[plugins.zebra.x]", ".plugins.zebra: unknown"),
        ("[plugins.slack.x]\nwebhok_url = 'x'", ".plugins.slack.x.webhok_url: unknown"),
        ("[plugins.slack.x]\nbot_token = { evn = 'x' }", ".plugins.slack.x.bot_token: none of the choices"),
        ("[plugins.slack.x]\nrate = '1'", ".plugins.slack.x.rate: no match"),
        ("[plugins.file_log.x]", ".plugins.file_log.x: path is missing"),
        ("[[rules]]\nname = 'x'\nevents = []\nnotify = ['x']", ".rules[0].events: too short"),
        ("[[rules]]\nname = 'x'\nevents = ['*']", ".rules[0]: notify is missing"),
    ],
)
def test_the_schema_refuses_the_same_configs_as_load(addition: str, flaw: str) -> None:
    document = tomllib.loads('[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "p"\n' + addition)
    assert flaws(SCHEMA, document, SCHEMA) == [flaw]


def test_it_is_json_and_says_which_dialect_it_is() -> None:
    assert json.loads(json.dumps(SCHEMA))["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_every_table_is_there_and_described() -> None:
    assert set(SCHEMA["properties"]) == set(TOP_LEVEL_KEYS)
    assert set(SCHEMA["required"]) == {"orchestrator", "projects"}
    assert list(SCHEMA["properties"]["plugins"]["properties"]) == ["file_log", "prometheus", "slack"]
    undescribed = [
        f"{name}.{key}"
        for name in (
            "ConnectionConfig",
            "DeliveryConfig",
            "LogConfig",
            "OrchestratorConfig",
            "RuleConfig",
            "StoreConfig",
        )
        for key, schema in SCHEMA["definitions"][name]["properties"].items()
        if not schema.get("description")
    ]
    assert undescribed == []


def test_names_of_events_are_offered() -> None:
    assert SCHEMA["definitions"]["EventGlob"]["anyOf"][0]["enum"] == list(EVENT_TYPES)
    assert SCHEMA["definitions"]["RuleConfig"]["properties"]["events"]["items"] == {
        "$ref": "#/definitions/EventGlob"
    }


def test_defaults_are_written_as_a_config_writes_them() -> None:
    connection = SCHEMA["definitions"]["ConnectionConfig"]["properties"]
    assert {key: field.get("default") for key, field in connection.items()} == {
        "connect_timeout": "10s",
        "heartbeat_interval": "30s",
        "reconnect_initial_delay": "1s",
        "reconnect_max_delay": "30s",
        "reconnect_attempts": None,
        "catch_up_max": "1d",
        "discover_interval": "5m",
        "proxy": None,
        "no_proxy": [],
        "allow_addresses": [],
        "ca_file": None,
    }


def test_nothing_in_it_is_null_or_for_python_people_only() -> None:
    text = json.dumps(SCHEMA)
    assert '"null"' not in text
    assert "``" not in text


def test_the_top_level_keys_are_those_of_a_config() -> None:
    own = {"source", "base_dir", "instances"}
    assert (set(Config.__dataclass_fields__) - own) | {"plugins"} == set(TOP_LEVEL_KEYS)


@pytest.mark.parametrize(
    "field",
    [
        Field(10**5_000),
        Field(1, json_schema_extra={"examples": [{1, 2}]}),  # type: ignore[list-item]
        Field(1, json_schema_extra={"maximum": math.inf}),
    ],
)
def test_a_key_that_json_has_no_form_for_leaves_the_others_as_they_are(field: Any) -> None:
    odd = FakeType("odd", create_model("Odd", __base__=PluginConfig, key=(int, field)))
    schema = json.loads(json.dumps(json_schema([odd, CHAT]), allow_nan=False))
    tables = schema["properties"]["plugins"]["properties"]
    assert tables["odd"]["additionalProperties"]["type"] == "object"
    assert "webhook_url" in tables["slack"]["additionalProperties"]["properties"]
