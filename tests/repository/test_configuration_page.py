"""docs/configuration.md agrees with the models."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aintandem_notify.config import PluginConfig, json_schema
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.rules import JinjaRuleLanguage
from aintandem_notify.rules.default_texts import DEFAULT_TEXTS
from aintandem_notify.rules.scope import NAMES
from support.config_texts import load_text

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def rows(section: str) -> list[list[str]]:
    """Return the cells of the section's tables, without the head lines."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("| ").split(" | ")] for line in lines]


def schema_of(section: str) -> dict[str, Any]:
    class Type:
        name = "x"
        config_model = PluginConfig
        delivers = True
        is_for_people = True

        def source_location(self, cls: type, attribute: str | None = None) -> str:
            return ""

        def raised_at(self, error: BaseException) -> str:
            """Unknown."""
            return ""

    schema = json_schema([Type()])
    if section == "Top of the file":
        tables = {*(re.sub(r"\W", "", other.partition(".")[0]) for other in TABLES), "plugins"}
        return {"properties": {key: item for key, item in schema["properties"].items() if key not in tables}}
    if section.startswith("`[plugins"):
        instance: dict[str, Any] = schema["properties"]["plugins"]["properties"]["x"]["additionalProperties"]
        return instance
    table = schema["properties"][section.strip("`[]").partition(".")[0]]
    table = table.get("items") or table.get("additionalProperties") or table
    definition: dict[str, Any] = schema["definitions"][table["$ref"].rsplit("/", 1)[1]]
    return definition


TABLES = [
    "Top of the file",
    "`[orchestrator]`",
    "`[[projects]]`",
    "`[plugins.TYPE.NAME]`",
    "`[[rules]]`",
    "`[[watches]]`",
    "`[quiet.NAME]`",
    "`[connection]`",
    "`[store]`",
    "`[delivery]`",
    "`[agent]`",
    "`[health]`",
    "`[episodes]`",
    "`[control]`",
    "`[log]`",
]


def default_of(schema: dict[str, Any], key: str) -> str:
    if key in schema.get("required", ()):
        return "required"
    if key == "reconnect_attempts":  # None in Python, where TOML has no word for it
        return '"unlimited"'
    field = schema["properties"][key]
    return json.dumps(field["default"]) if "default" in field else "none"


@pytest.mark.parametrize("section", TABLES)
def test_every_key_is_on_the_page_with_its_default(section: str) -> None:
    schema = schema_of(section)
    assert {key: default for key, _, default, _ in rows(section)} == {
        key: default_of(schema, key) for key in schema["properties"]
    }


def test_every_event_type_is_on_the_page_with_its_family_and_severity() -> None:
    on_page = re.findall(r"^\| (\w+) \| `(\w+)` \| (\w+) \|", SECTIONS["Events"], re.MULTILINE)
    assert on_page == [(model.family, name, DEFAULT_TEXTS[name].severity) for name, model in EVENT_TYPES.items()]


@pytest.mark.parametrize("owner", NAMES)
def test_every_name_of_conditions_and_texts_is_on_the_page(owner: str) -> None:
    [cells] = [cells for cells in rows("Conditions and texts") if cells[0] == owner]
    assert NAMES[owner] <= set(re.findall(r"`(\w+)`", f"`{cells[1]}`"))


def test_the_examples_are_right(tmp_path: Path) -> None:
    environ = {"AINTANDEM_PASSWORD": "pass word", "SLACK_WEBHOOK_URL": "https://hooks.example/x"}
    config, fallback, rule, stages, trouble, watches, texts = BLOCKS
    assert load_text(tmp_path, config, environ).instances
    with_rule = f"{config}[plugins.file_log.ops]\npath = 'x'\n{rule.replace('webhook.ops', 'file_log.ops')}"
    assert load_text(tmp_path, with_rule, environ).rules
    assert load_text(tmp_path, f"{config}{watches}", environ).watches
    night = '[quiet.night]\nfrom = "22:00"\nto = "07:00"\ntz = "Europe/Berlin"\n'
    assert load_text(tmp_path, f"{config}{stages}{night}", environ).rules
    lead = "[plugins.file_log.lead]\npath = 'x'\n"
    assert load_text(tmp_path, config + lead + trouble.replace("slack.lead", "file_log.lead"), environ).rules
    ops = "[plugins.file_log.ops]\npath = 'x'\n"
    plain = config[: config.index("[plugins")] + fallback.replace("webhook.ops", "file_log.ops") + ops
    assert load_text(tmp_path, plain, environ).instances["slack.team"].settings.fallback == "file_log.ops"
    language = JinjaRuleLanguage()
    checks = {
        "when": language.expression_problem,
        "title": language.template_problem,
        "body": language.template_problem,
    }
    for line in texts.splitlines():
        [(key, text)] = tomllib.loads(line).items()
        assert checks[key](text) is None, line
