"""Validates the ``[plugins.<type>.<name>]`` tables, each with the model of its plugin type.

The types come from a catalog, which imports them. A type that cannot be imported is a problem of its own tables;
the others are read all the same.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from aintandem_notify.config.findings import Finding, Place, did_you_mean, toml_type
from aintandem_notify.config.models import InstanceConfig
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.plugin_tables.catalog import PluginCatalog, PluginType
from aintandem_notify.config.plugin_tables.defaults import apply_defaults, read_defaults
from aintandem_notify.config.types.values import ValidationContext
from aintandem_notify.config.validation import validate
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.signals import is_ctrl_c
from aintandem_notify.log import describe_error

# Names appear as "slack.team" in rules, logs and the store.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True)
class PluginTables:
    """The result of reading all plugin tables: the valid instances, and the findings about the others.

    All mappings are by instance name. ``enabled`` has the valid and enabled instances. ``declared`` has every
    table, true if it is enabled; ``delivers`` those of known types, true for a destination. ``tables`` has the
    tables as written. ``defaults`` has the common keys with a default of the plugin's own, and the source
    line of each.
    """

    enabled: dict[str, InstanceConfig] = field(default_factory=dict)
    declared: dict[str, bool] = field(default_factory=dict)
    delivers: dict[str, bool] = field(default_factory=dict)
    tables: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: dict[str, Mapping[str, str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def value(self, name: str, key: str) -> object:
        """The value in the instance's table, or its plugin's own default for a common key; else None."""
        if key in self.tables[name]:
            return self.tables[name][key]
        return getattr(self.enabled[name].common, key) if key in self.defaults.get(name, {}) else None


def read_plugin_tables(
    raw: object, context: ValidationContext, catalog: PluginCatalog, plugins_dir: Path
) -> PluginTables:
    """Read every instance under ``[plugins]``; imports the plugin types."""
    result = PluginTables()
    if not isinstance(raw, Mapping):
        result.findings.append(Finding(("plugins",), f"should be a table, not {toml_type(raw)}"))
        return result
    for type_name, tables in raw.items():
        keys = partial(_keys_of, type_name, catalog, plugins_dir)
        named = dict(_named_tables(type_name, tables, keys, result.findings))
        result.declared.update({f"{type_name}.{name}": _is_enabled(table) for name, table in named.items()})
        enabled = {name: table for name, table in named.items() if _is_enabled(table)}
        if enabled:
            _read_type(type_name, enabled, context, catalog, plugins_dir, result)
    return result


def _is_enabled(table: Mapping[str, Any]) -> bool:
    return table.get("enabled", True) is not False


def _named_tables(
    type_name: str, tables: object, keys: Callable[[], Container[str]], findings: list[Finding]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    place = ("plugins", type_name)
    if not isinstance(tables, Mapping):
        findings.append(
            Finding(place, f"should be a table, not {toml_type(tables)}; write [plugins.{type_name}.NAME]")
        )
        return
    if not tables or any(
        not isinstance(value, Mapping) or (_is_secret(value) and name in keys()) for name, value in tables.items()
    ):
        example = f"[plugins.{type_name}.team]"
        findings.append(
            Finding(place, f"the instance has no name; write {example}, where team is a name you choose")
        )
        return
    for name, table in tables.items():
        if _NAME.fullmatch(name):
            yield name, table
        else:
            findings.append(
                Finding((*place, name), "an instance's name has only letters, digits, - and _; choose another")
            )


def _is_secret(value: Mapping[str, Any]) -> bool:
    """True for ``{ env = "X" }`` and ``{ file = "x" }``: a secret, which is the value of a key and not a table."""
    return len(value) == 1 and not {"env", "file"}.isdisjoint(value)


def _keys_of(type_name: str, catalog: PluginCatalog, plugins_dir: Path) -> Container[str]:
    """The keys that an instance may have; none if the plugin cannot be imported."""
    plugin_type = _find_type(type_name, catalog, plugins_dir)
    return () if isinstance(plugin_type, str) else plugin_type.config_model.model_fields


def _read_type(
    type_name: str,
    tables: Mapping[str, Mapping[str, Any]],
    context: ValidationContext,
    catalog: PluginCatalog,
    plugins_dir: Path,
    result: PluginTables,
) -> None:
    plugin_type = _find_type(type_name, catalog, plugins_dir)
    if isinstance(plugin_type, str):
        result.findings.append(Finding(("plugins", type_name, next(iter(tables))), plugin_type))
        return
    reported: set[str] = set()
    for name, table in tables.items():
        full_name, place = f"{type_name}.{name}", ("plugins", type_name, name)
        result.delivers[full_name] = plugin_type.delivers
        result.tables[full_name] = table
        parsed = read_settings(plugin_type, table, place, context)
        # A mistake in the plugin affects all its instances and is reported once.
        new_problems = [Finding(place, text) for text in parsed.plugin_problems if text not in reported]
        result.findings += parsed.findings + new_problems
        reported.update(parsed.plugin_problems)
        if parsed.settings is not None and parsed.common is not None:
            config = InstanceConfig(
                full_name,
                type_name,
                plugin_type.delivers,
                parsed.settings,
                parsed.common,
                is_for_people=plugin_type.is_for_people,
            )
            result.enabled[full_name] = config
            result.defaults[full_name] = {
                key: plugin_type.source_location(plugin_type.config_model, key)
                for key, reserved in PluginConfig.model_fields.items()
                if key not in table and getattr(parsed.common, key) != reserved.default
            }


@dataclass(slots=True)
class ParsedSettings:
    """The settings of one instance; None if there are findings or plugin problems.

    ``settings`` is the plugin's own model, ``common`` ours with the common keys. ``findings`` are mistakes in the
    table, ``plugin_problems`` mistakes in the plugin itself.
    """

    settings: PluginConfig | None = None
    common: PluginConfig | None = None
    findings: list[Finding] = field(default_factory=list)
    plugin_problems: list[str] = field(default_factory=list)


def read_settings(
    plugin_type: PluginType, table: Mapping[str, Any], place: Place, context: ValidationContext
) -> ParsedSettings:
    """Read ``table``, with the plugin's defaults for missing keys. Raises nothing but KeyboardInterrupt."""
    parsed = ParsedSettings()
    try:
        settings = _validate_table(plugin_type, table, place, context, parsed)
        if settings is not None:
            _complete(plugin_type, settings, context, parsed)
    except BaseException as error:  # code of the plugin's own model
        if is_ctrl_c(error):
            raise
        problem = f"its settings cannot be read: {describe_error(error)}"
        parsed.plugin_problems.append(": ".join(part for part in (plugin_type.raised_at(error), problem) if part))
    return parsed


def _validate_table(
    plugin_type: PluginType,
    table: Mapping[str, Any],
    place: Place,
    context: ValidationContext,
    parsed: ParsedSettings,
) -> PluginConfig | None:
    """The validated table; None if it added findings or plugin problems to ``parsed``."""
    model = plugin_type.config_model
    texts, invalid = read_defaults(model, table, context)
    settings, findings = validate(
        model,
        {**texts, **table},
        place,
        context,
        trusted=PluginConfig.model_fields,
        locate=plugin_type.raised_at,
    )
    of_defaults = [finding for finding in findings if _key_of(finding, place) in texts.keys() - table.keys()]
    parsed.findings = [finding for finding in findings if finding not in of_defaults]
    parsed.plugin_problems = [default.describe(plugin_type) for default in invalid]
    parsed.plugin_problems += [
        _plugin_problem(plugin_type, str(_key_of(finding, place)), finding.message) for finding in of_defaults
    ]
    if settings is None or parsed.plugin_problems:
        return None
    if not issubclass(type(settings), PluginConfig):
        parsed.plugin_problems.append(
            _plugin_problem(plugin_type, "", f"a validator returned something other than a {model.__name__}")
        )
        return None
    settings.model_fields_set.difference_update(texts.keys() - table.keys())
    return settings


def _complete(
    plugin_type: PluginType, settings: PluginConfig, context: ValidationContext, parsed: ParsedSettings
) -> None:
    """Convert the defaults in ``settings``, copy the common keys, and put both into ``parsed``."""
    parsed.plugin_problems = [default.describe(plugin_type) for default in apply_defaults(settings, context)]
    parsed.common, problems = _common_settings(settings, context)
    parsed.plugin_problems += [
        _plugin_problem(plugin_type, key, problem) for key, problem in problems if not parsed.plugin_problems
    ]
    parsed.settings = None if parsed.plugin_problems else settings


def _key_of(finding: Finding, place: Place) -> str | int | None:
    """The key of the instance's table that the finding is about; None if it is about the whole table."""
    return finding.place[len(place)] if len(finding.place) > len(place) else None


def _plugin_problem(plugin_type: PluginType, key: str, problem: str) -> str:
    return ": ".join(
        part for part in (plugin_type.source_location(plugin_type.config_model, key or None), key, problem) if part
    )


def _common_settings(
    settings: PluginConfig, context: ValidationContext
) -> tuple[PluginConfig | None, list[tuple[str, str]]]:
    """The common keys in a model of ours, and the keys that the plugin's model made invalid, with the problem."""
    values = {name: getattr(settings, name) for name in PluginConfig.model_fields}
    common, findings = validate(PluginConfig, values, (), replace(context, in_python=True))
    return common, [(finding.key, finding.message) for finding in findings]


def _find_type(type_name: str, catalog: PluginCatalog, plugins_dir: Path) -> PluginType | str:
    """The plugin type, or the reason why it cannot be imported."""
    names = catalog.names(plugins_dir)
    if type_name not in names:
        known = ", ".join(sorted(names))
        return f"no plugin called {type_name}{did_you_mean(type_name, names) or f'; there are {known}'}"
    try:
        return catalog.find(type_name, plugins_dir)
    except PluginError as error:
        return error.reason
