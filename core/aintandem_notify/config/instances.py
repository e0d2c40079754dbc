"""The ``[plugins.<type>.<name>]`` tables: each is validated with the model of its plugin type.

The types come from a catalog, which imports them; a type that cannot be had is a problem of its tables, and
the others are read all the same.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from aintandem_notify.config.catalog import PluginCatalog, PluginType
from aintandem_notify.config.findings import Finding, did_you_mean, kind_of
from aintandem_notify.config.models import InstanceConfig
from aintandem_notify.config.plugin import PluginConfig
from aintandem_notify.config.problems import validate
from aintandem_notify.config.values import Surroundings
from aintandem_notify.errors import PluginError

# Names appear as "slack.team" in rules, logs and the store.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True)
class Instances:
    """What the plugin tables say: the valid and enabled instances, and what is wrong with the others.

    ``declared`` holds the name of every table with whether it is enabled; ``delivers`` what is known about
    being a destination; ``tables`` what was written.
    """

    enabled: dict[str, InstanceConfig] = field(default_factory=dict)
    declared: dict[str, bool] = field(default_factory=dict)
    delivers: dict[str, bool] = field(default_factory=dict)
    tables: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_instances(
    raw: object, surroundings: Surroundings, catalog: PluginCatalog, plugins_dir: Path
) -> Instances:
    """Every instance under ``[plugins]``, imported types included."""
    result = Instances()
    if not isinstance(raw, Mapping):
        result.findings.append(Finding(("plugins",), f"should be a table, not {kind_of(raw)}"))
        return result
    for type_name, tables in raw.items():
        keys = partial(_keys_of, type_name, catalog, plugins_dir)
        named = dict(_named_tables(type_name, tables, keys, result.findings))
        result.declared.update({f"{type_name}.{name}": _is_enabled(table) for name, table in named.items()})
        wanted = {name: table for name, table in named.items() if _is_enabled(table)}
        if wanted:
            _read_type(type_name, wanted, surroundings, catalog, plugins_dir, result)
    return result


def _is_enabled(table: Mapping[str, Any]) -> bool:
    return table.get("enabled", True) is not False


def _named_tables(
    type_name: str, tables: object, keys: Callable[[], Container[str]], findings: list[Finding]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    place = ("plugins", type_name)
    if not isinstance(tables, Mapping):
        findings.append(
            Finding(place, f"should be a table, not {kind_of(tables)}; write [plugins.{type_name}.NAME]")
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
    """Whether it reads like ``{ env = "X" }`` or ``{ file = "x" }``: the value of a key, if there is one."""
    return len(value) == 1 and not {"env", "file"}.isdisjoint(value)


def _keys_of(type_name: str, catalog: PluginCatalog, plugins_dir: Path) -> Container[str]:
    """The keys that an instance may have; none if the plugin cannot be had."""
    found = _find(type_name, catalog, plugins_dir)
    return () if isinstance(found, str) else found.config_model.model_fields


def _read_type(
    type_name: str,
    tables: Mapping[str, Mapping[str, Any]],
    surroundings: Surroundings,
    catalog: PluginCatalog,
    plugins_dir: Path,
    result: Instances,
) -> None:
    found = _find(type_name, catalog, plugins_dir)
    if isinstance(found, str):
        result.findings.append(Finding(("plugins", type_name, next(iter(tables))), found))
        return
    for name, table in tables.items():
        full_name = f"{type_name}.{name}"
        settings, findings = validate(
            found.config_model,
            table,
            ("plugins", type_name, name),
            surroundings,
            trusted=PluginConfig.model_fields,
        )
        result.findings += findings
        result.delivers[full_name] = found.delivers
        result.tables[full_name] = table
        if settings is not None:
            result.enabled[full_name] = InstanceConfig(full_name, type_name, found.delivers, settings)


def _find(type_name: str, catalog: PluginCatalog, plugins_dir: Path) -> PluginType | str:
    """The plugin type, or why it cannot be had."""
    names = catalog.names(plugins_dir)
    if type_name not in names:
        known = ", ".join(sorted(names))
        return f"no plugin called {type_name}{did_you_mean(type_name, names) or f'; there are {known}'}"
    try:
        return catalog.find(type_name, plugins_dir)
    except PluginError as error:
        return error.reason
